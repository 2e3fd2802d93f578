"""The numbers of a profile that runs can tell, and a profile with them at other values.

The efficiencies move whole groups of coefficients, each as a factor on the start's times: `memory` on reading the
weights, `compute` on arithmetic with prompts' attention included, `context` on reading the KV cache. Memory and
arithmetic of a knot are joined by the fourth-power mean of a roofline, of which `token_memory_share` holds the parts.
No coefficient goes below its physical bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.fitting.knots import never_falling
from tokenfleet.envs.layers.llm import Bounds, ProfileSpec
from tokenfleet.envs.layers.llm.part import JOIN_POWER

MOST_TIMES = 20.0  # a factor beyond it is a mistake in the measurements (assumption)
Values = Mapping[str, float]


@dataclass(frozen=True)
class FittedNumber:
    """One number to fit.

    Attributes:
        doc: what the report calls it.
        unit: of the value that is shown and fitted.
        told_within: largest standard error at which runs count as telling it: what moves a decode step, a prompt or
            the watts of Llama 3.1 8B on an H100 by less than about a tenth (assumption).
        start: its value in a profile.
        least: the lowest that it can be.
        most: the highest.
    """

    doc: str
    unit: str
    told_within: float
    start: Callable[[ProfileSpec], float]
    least: Callable[[ProfileSpec, Bounds], float]
    most: float


def _one(profile: ProfileSpec) -> float:
    return 1.0


def _zero(*_: object) -> float:
    return 0.0


NUMBERS: dict[str, FittedNumber] = {
    "host_ms": FittedNumber("host_s", "ms", 0.75, lambda start: 1e3 * start.host_s, _zero, 1e3),
    "decode_us": FittedNumber("decode_s", "us", 15.0, lambda start: 1e6 * start.decode_s, _zero, 1e5),
    "context": FittedNumber(
        "context_s", "x start", 0.08, _one, lambda start, least: least.context_s / start.context_s, MOST_TIMES
    ),
    "compute": FittedNumber(
        "compute-bound part of token_s", "x start", 0.08, _one,
        lambda start, least: float(least.token_s[-1]) / start.token_s[-1], MOST_TIMES,
    ),
    "frontend_ms": FittedNumber("before the engine (HTTP, tokeniser)", "ms", 5.0, _zero, _zero, 1e4),
    "memory": FittedNumber(
        "memory-bound part of token_s", "x start", 0.05, _one,
        lambda start, least: float(least.token_s[0]) / start.token_s[0], MOST_TIMES,
    ),
    "power_factor": FittedNumber("power_factor", "", 0.08, lambda start: start.power_factor, lambda *_: 0.2, 5.0),
}  # fmt: skip


def start_values(start: ProfileSpec) -> dict[str, float]:
    """Every number as the start has it."""
    return {name: number.start(start) for name, number in NUMBERS.items()}


def profile_with(start: ProfileSpec, least: Bounds, values: Values) -> ProfileSpec:
    """The start with its numbers at some values, `frontend_ms` apart, which is in no profile.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> start = llm.load_profile("llama-3.1-8b", "h100-sxm", 1)
    >>> least = llm.bounds_s(gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b"), 1)
    >>> slow = profile_with(start, least, {**start_values(start), "compute": 2.0})
    >>> round(slow.token_s[-1] / start.token_s[-1], 3), round(slow.token_s[0] / start.token_s[0], 3)
    (2.0, 1.0)
    """
    memory, compute = values["memory"], values["compute"]
    share = np.array(start.token_memory_share)
    memory_part, compute_part = share * memory**JOIN_POWER, (1.0 - share) * compute**JOIN_POWER
    token_s = np.array(start.token_s) * (memory_part + compute_part) ** (1.0 / JOIN_POWER)
    return start.model_copy(
        update={
            "host_s": 1e-3 * values["host_ms"],
            "decode_s": 1e-6 * values["decode_us"],
            "context_s": max(start.context_s * values["context"], least.context_s),
            "mixed_context_s": start.mixed_context_s * values["context"],
            "token_s": tuple(never_falling(token_s, least.token_s).tolist()),
            "token_memory_share": tuple((memory_part / (memory_part + compute_part)).tolist()),
            "prefill_attention_s": max(start.prefill_attention_s * compute, least.prefill_attention_s),
            "power_factor": values["power_factor"],
        }
    )
