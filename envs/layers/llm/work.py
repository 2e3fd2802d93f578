"""Layer 4, joules of an iteration's tokens: what it costs to read weights, and what their arithmetic costs beside.

Arithmetic that makes no token is vain: rows that pad a routed expert's tile, unpacking weights of 4 bits, scaling
blocks of fp8. The costs below are fitted to watts of steps, each as a multiple of what useful FLOPs and plain bytes
cost. All arithmetic together can never draw more than that of bf16 at its peak rate,

    useful + vain <= joule_per_flop * peak_bf16_flops * boards * token_s

for vain arithmetic goes through the same units, and units of fp8 are those of bf16, split. So a FLOP in fp8 costs what
one in bf16 costs where an iteration waits for memory, and half of it at its peak. (H200 and B200 hold 0.92 and 0.76 of
their peak in fp8 under their rated limit, which twice the watts of bf16 at its peak would not let them.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.experts import expert_format
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.profile import KNOTS

Float64Array = NDArray[np.float64]
EXPERT_FLOP_COST = 4.75
"""Cost of a FLOP of a routed expert over one of a layer for all tokens: an expert has few rows at a time.

`EXPERT_FLOP_COST` and `UNPACKED_BYTE_FLOPS` are fitted to five mixtures of experts in bf16 and MXFP4 on H100 and B200,
by the laws of dense models for all else (`calibration.fit.power.experts`); without any one of the five they are 4.4 to
5.0 and 56 to 94.
"""
EXPERT_TILE_ROWS = 64
"""Rows that an expert computes at the least; beyond them a FLOP costs what it does elsewhere.

The power of two nearest what the times of fused kernels show (35 to 89, `experts.KERNELS`). Chosen by watts it would be
128, also without any one of five mixtures, and a mixture left out would be 6.8 % off instead of 7.3 %.
"""
UNPACKED_BYTE_FLOPS = 86.0
"""What a byte of routed experts costs where kernels unpack it, beside being read [FLOP/byte].

None where boards multiply weights of 4 bits as they are (assumption: such mixtures were measured on the H100 alone).
"""
FP8_EXPERT_BYTE_FLOPS = 197.0
"""The same of routed experts in fp8: two FLOPs for each of 98 rows, where kernels' times show tiles of 81.

Fitted to a mixture of 235B on four and eight H100; from four alone it is 191, from eight alone 202.
"""


def reading_j(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism) -> Float64Array:
    """Energy of reading the weights for a batch of each of `TOKEN_KNOTS`, once a part of a pipeline, `[J]` [J]."""
    parts = _parts(parallelism)
    return gpu.joule_per_byte * (parts * model.weight_bytes_read(KNOTS / parts, parallelism.data))


def useful_token_j(gpu: GpuSpec, model: ModelSpec) -> float:
    """Energy of the arithmetic of one token at the peak rate of its precision [J].

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> [round(1e3 * useful_token_j(gpu.load_gpu("h100-sxm"), llm.load_model(name))) for name in
    ...  ("llama-3.1-405b", "llama-3.1-405b-fp8")]
    [1244, 622]
    """
    rate_over_bf16 = gpu.peak_flops(model.arithmetic) / gpu.peak_bf16_flops
    return gpu.joule_per_flop * model.flops_per_token / rate_over_bf16


def vain_arithmetic_j(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism, token_s: Float64Array) -> Float64Array:
    """Energy of arithmetic beyond useful FLOPs at peak rate, `[J]` [J], within the module's bound.

    A dense model in bf16 has none.

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it.
        token_s: how long all layers but attention take for each of `TOKEN_KNOTS` tokens, at full clock, `[J]` [s].
    """
    parts, useful_j = _parts(parallelism), useful_token_j(gpu, model) * KNOTS
    tokens = KNOTS / parts
    padded_tokens = parts * np.minimum(tokens, EXPERT_TILE_ROWS * model.experts / model.experts_per_token)
    padding_j = gpu.joule_per_flop * ((EXPERT_FLOP_COST - 1.0) * model.expert_flops_per_token) * padded_tokens
    expert_bytes = parts * model.expert_bytes_read(tokens)
    beside_j = gpu.joule_per_flop * (_expert_byte_flops(gpu, model) * expert_bytes)
    below_peak_j = gpu.joule_per_flop * model.flops_per_token * KNOTS - useful_j
    most_j = parallelism.boards * gpu.joule_per_flop * gpu.peak_bf16_flops * token_s
    return np.asarray(np.clip(padding_j + beside_j + below_peak_j, 0.0, np.maximum(most_j - useful_j, 0.0)))


def _parts(parallelism: Parallelism) -> Float64Array:
    """Parts that a pipeline cuts a batch of each of `TOKEN_KNOTS` into, `[J]`."""
    return np.minimum(KNOTS, parallelism.pipeline)


def _expert_byte_flops(gpu: GpuSpec, model: ModelSpec) -> float:
    """What a byte of routed experts costs beside being read [FLOP/byte]."""
    by_format = {"unpacked": UNPACKED_BYTE_FLOPS, "fp8": FP8_EXPERT_BYTE_FLOPS}
    return by_format.get(expert_format(gpu, model), 0.0)
