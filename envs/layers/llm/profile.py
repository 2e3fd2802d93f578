"""Layer 4, profiles: the coefficients of an iteration of one model on one kind of GPU, and the least they can be.

References:
    S. Williams et al., "Roofline: an insightful visual performance model", CACM 2009, doi:10.1145/1498765.1498785.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, SpecError, UnitFraction

TOKEN_KNOTS = tuple(2**j for j in range(15))
"""Tokens of an iteration at which a profile states its time: 1, 2, 4 ... 16384; affine between them."""
KNOTS = np.array(TOKEN_KNOTS, dtype=np.float64)
DECODE_MEMORY_FRACTION = 0.85  # assumption, middle of the published 0.7 to 0.99

_KNOTS = Field(min_length=len(TOKEN_KNOTS), max_length=len(TOKEN_KNOTS))
TokenSeconds = Annotated[tuple[PositiveFloat, ...], _KNOTS]
TokenShares = Annotated[tuple[UnitFraction, ...], _KNOTS]
TokenJoules = Annotated[tuple[NonNegativeFloat, ...], _KNOTS]


class ProfileSpec(Spec):
    """How fast one model runs on one kind of GPU, at full clock; see `tokenfleet.envs.layers.llm.iteration`.

    Attributes:
        name: `<model>_<gpu>_tp<tensor_parallel>`, the name of the catalogue's file; behind it `_dp<data_parallel>`,
            `_ep<expert_parallel>` and `_pp<pipeline_parallel>` where they are not 1.
        model: catalogue name of the model.
        gpu: catalogue name of the GPU.
        tensor_parallel: GPUs that split every matrix.
        data_parallel: groups of such GPUs in a replica, each with all of attention and sequences of its own.
        expert_parallel: GPUs that routed experts are shared out among; 1 where all GPUs slice every expert.
        pipeline_parallel: stages, each of `tensor_parallel * data_parallel` GPUs with a share of the layers.
        host_s: an iteration's time on the host, which no GPU clock changes [s].
        token_s: time of an iteration that computes 1, 2, 4 ... 16384 tokens, decoded or prefilled, without attention:
            weights, matrix products, element-wise layers, collectives [s]; never falling.
        token_memory_share: share of each `token_s` that is bound by memory; the rest scales as prefill does.
        decode_s: time for each decoding sequence, beyond its token [s].
        context_s: time for each token of context of the decoding sequences [s].
        mixed_context_s: addition to `context_s` in an iteration that also prefills [s].
        prefill_attention_s: time for each (query, key) pair of prefill attention [s].
        decode_memory_fraction: m of memory-bound time and of decode; uncertain, so a scenario may draw it.
        prefill_memory_fraction: m of compute-bound time; the board's `compute_memory_fraction` where it is left out.
        work_j: joules of reading the weights that 1, 2, 4 ... 16384 tokens need, all GPUs together [J]; the GPU's
            joules per byte times the model's bytes where it is left out.
        power_factor: energy of work in this pair's serving runs, over that by the law of the GPU: kernels differ in
            their other work for each byte and FLOP, and boards of one kind differ by several per cent.
        origin: `measured` (serving runs and kernels), `kernels` (sum of measured kernels, no serving run) or `roofline`
            (sum of parts that others timed).
        fit_errors: name of a comparison with measurements -> mean absolute relative error.
        sources: where the numbers come from, assumptions marked as such.
    """

    name: Name
    model: Name
    gpu: Name
    tensor_parallel: PositiveInt
    data_parallel: PositiveInt = 1
    expert_parallel: PositiveInt = 1
    pipeline_parallel: PositiveInt = 1
    host_s: NonNegativeFloat
    token_s: TokenSeconds
    token_memory_share: TokenShares
    decode_s: NonNegativeFloat
    context_s: NonNegativeFloat
    mixed_context_s: NonNegativeFloat = 0.0
    prefill_attention_s: NonNegativeFloat
    decode_memory_fraction: UnitFraction = DECODE_MEMORY_FRACTION
    prefill_memory_fraction: UnitFraction | None = None
    work_j: TokenJoules | None = None
    power_factor: PositiveFloat = 1.0
    origin: Literal["measured", "kernels", "roofline"]
    fit_errors: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        falls = [TOKEN_KNOTS[j + 1] for j in range(len(TOKEN_KNOTS) - 1) if self.token_s[j + 1] < self.token_s[j]]
        if falls:
            raise SpecError([f"token_s must not fall with tokens (it does at {falls[0]} tokens)"])
        return self

    @property
    def parallelism(self) -> Parallelism:
        """How the GPUs of a replica share the model."""
        return Parallelism(self.tensor_parallel, self.data_parallel, self.expert_parallel, self.pipeline_parallel)


class Bounds(NamedTuple):
    """The least that the coefficients of a profile can be."""

    token_s: NDArray[np.float64]  # [J] at TOKEN_KNOTS
    context_s: float
    prefill_attention_s: float


def profile_name(model: str, gpu: str, parallelism: Parallelism | int) -> str:
    """The catalogue's name of a pair, a number of boards being tensor parallelism alone.

    >>> profile_name("llama-3.1-8b", "h100-sxm", 1), profile_name("deepseek-v3", "h200-sxm", Parallelism(1, 8, 8))
    ('llama-3.1-8b_h100-sxm_tp1', 'deepseek-v3_h200-sxm_tp1_dp8_ep8')
    """
    return f"{model}_{gpu}_{Parallelism.of(parallelism).label}"


def memory_and_compute_s(
    gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism | int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bytes over peak bandwidth and FLOPs over peak rate of an iteration without attention, `[J]` each [s].

    Each group of data parallelism reads what is not routed; experts and work are spread evenly over all boards.
    """
    shared, tokens = Parallelism.of(parallelism), KNOTS
    moved_bytes = model.weight_bytes_read(tokens, shared.data) + model.kv_bytes_per_token * tokens
    memory_s = moved_bytes / (shared.boards * gpu.memory_bandwidth_bytes_per_s)
    compute_s = model.flops_per_token * tokens / (shared.boards * gpu.peak_flops(model.arithmetic))
    return memory_s, compute_s


def bounds_s(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism | int) -> Bounds:
    """The least that each coefficient can be [s]: its FLOPs at peak rate or its bytes at peak bandwidth.

    Attention is bounded at bf16 rates, which is what kernels compute it in.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> bounds = bounds_s(gpu.load_gpu("h100-sxm"), llm.load_model("llama-3.1-8b"), 1)
    >>> round(1e3 * float(bounds.token_s[0]), 2)
    4.48
    """
    shared = Parallelism.of(parallelism)
    pair_s = model.attention_flops_per_pair / (shared.boards * gpu.peak_bf16_flops)
    kv_bytes = model.kv_bytes_per_token * model.kv_copies(shared.tensor)
    context_s = kv_bytes / (shared.boards * gpu.memory_bandwidth_bytes_per_s)
    return Bounds(np.maximum(*memory_and_compute_s(gpu, model, shared)), max(context_s, pair_s), pair_s)


def check_profile(profile: ProfileSpec, gpu: GpuSpec, model: ModelSpec) -> None:
    """Refuse a profile of another pair, or one that beats the physical bound.

    A bound on each coefficient is enough: `max(x, y)` of sums is at most the sum of each part's larger one.

    Raises:
        SpecError: names or degrees that do not agree, or one line per coefficient that is too small.
    """
    where = f"profile.{profile.name}"
    shared = profile.parallelism
    expected = profile_name(model.name, gpu.name, shared)
    if profile.name != expected or profile_name(profile.model, profile.gpu, shared) != expected:
        raise SpecError([f"{where}: name, model, gpu and degrees of parallelism must agree (expected {expected})"])
    least = bounds_s(gpu, model, shared)
    knots = zip(TOKEN_KNOTS, profile.token_s, least.token_s, strict=True)
    pairs = [
        ("context_s", profile.context_s, least.context_s),
        ("prefill_attention_s", profile.prefill_attention_s, least.prefill_attention_s),
        *((f"token_s at {tokens} tokens", knot_s, bound_s) for tokens, knot_s, bound_s in knots),
    ]
    problems = [
        f"{where}.{key}: faster than physics allows; at least {bound:.4g} s (got {value:.4g})"
        for key, value, bound in pairs
        if value < bound
    ]
    if problems:
        raise SpecError(problems)
