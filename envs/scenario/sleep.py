"""Depths of sleep: how long a replica takes to serve again, and what it draws until then."""

from __future__ import annotations

from tokenfleet.envs.spec import NonNegativeFloat, Spec

RESUME_FIXED_S, RESUME_BYTES_PER_S = 0.17, 12.7e9
"""Wake-up from level 1 of vLLM's sleep mode: the line through 0.26 s for Qwen3-0.6B (1.2 GB of weights) and 0.82 s for
Phi-3-vision (8.3 GB), both on one A100 with vLLM 0.11 (https://blog.vllm.ai/2025/10/26/sleep-mode.html). The line gives
5.0 s for Qwen3-Coder-30B-A3B (61 GB) on one board and 4.8 s for Qwen3-235B-A22B-FP8 on four; the source says 3 to 6 s
for large models."""


class StandbySpec(Spec):
    """A depth of sleep between awake and asleep: the server runs, and the weights are at hand.

    By default the weights stand in host memory, as in level 1 of vLLM's sleep mode, which keeps process, allocator and
    CUDA graphs. A replica wakes in `RESUME_FIXED_S` and the time to copy a board's share of the weights at
    `RESUME_BYTES_PER_S`.

    Attributes:
        wake_s: from standing by to serving [s]; 0 for weights that stay in GPU memory. By default from the bytes of the
            weights.
        board_w: draw of a board [W]; by default as its entry says for a board without a model (`asleep_w`), an
            assumption for a live process with empty memory.
        host_w_per_gpu: draw of the server, per GPU [W]; by default as when it serves (`facility.host_w_per_gpu`).
    """

    wake_s: NonNegativeFloat | None = None
    board_w: NonNegativeFloat | None = None
    host_w_per_gpu: NonNegativeFloat | None = None


class ColdSpec(Spec):
    """Sleep with the server switched off instead of suspended.

    Attributes:
        boot_s: from switched on to a running system, before the model is loaded [s]; 300 s is an assumption: servers of
            eight boards with terabytes of memory test themselves for minutes.
        host_w_per_gpu: draw of a server that is off, per GPU: its baseboard controller [W]; assumption.
    """

    boot_s: NonNegativeFloat = 300.0
    host_w_per_gpu: NonNegativeFloat = 3.0
