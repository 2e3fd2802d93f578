"""Layer 4, the model on its GPUs: what a model needs of a GPU, and how fast a replica of it runs.

A replica is one model on `tp` GPUs under continuous batching; `iteration.py` has the equations of an iteration's time
and energy, this module their coefficients. They are data (`catalog/profile/<model>_<gpu>_tp<n>.yaml`), fitted to
measurements by `python -m calibration.fit`; for a pair that nobody measured, a roofline takes their place. No profile
may beat physics.

References:
    S. Williams et al., "Roofline: an insightful visual performance model", CACM 2009, doi:10.1145/1498765.1498785.
    A. Grattafiori et al., "The Llama 3 Herd of Models", 2024, arXiv:2407.21783.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, catalog_names, load_entry
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, SpecError, UnitFraction

# Typical ratio of a measured coefficient to its physical bound: what a roofline profile assumes for a pair that nobody
# measured. Geometric means over the measured profiles of the catalogue; `python -m calibration.fit` prints them.
ROOFLINE_RATIOS = {"t0_s": 1.73, "decode_s": 3.77, "context_s": 1.15, "prefill_s": 1.52, "prefill_attention_s": 1.94}
DECODE_MEMORY_FRACTION = 0.85  # assumption, middle of the published 0.7 to 0.99
PREFILL_MEMORY_FRACTION = 0.1  # Perseus, A100, compute-bound: 0.09 to 0.12


class ModelSpec(Spec):
    """One language model, as the hardware sees it.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        parameters: all weights, in memory.
        active_parameters: weights that one token is multiplied with; without the input embedding (a lookup), and for a
            mixture of experts without the experts that a token skips.
        layers: transformer layers.
        attention_heads: query heads per layer.
        kv_heads: key-value heads per layer.
        head_dim: dimension of a head.
        bytes_per_parameter: 2 for bf16.
        kv_bytes_per_value: bytes of one number of the KV cache, 2 for bf16.
        wake_s: from asleep (no model loaded) to serving [s].
        max_context_tokens: longest context, prompt and output together [tokens].
        sources: where each number comes from, assumptions marked as such.
    """

    name: Name
    description: str = ""
    parameters: PositiveFloat
    active_parameters: PositiveFloat
    layers: PositiveInt
    attention_heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    bytes_per_parameter: PositiveFloat = 2.0
    kv_bytes_per_value: PositiveFloat = 2.0
    wake_s: PositiveFloat
    max_context_tokens: PositiveInt
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        problems = []
        if self.active_parameters > self.parameters:
            problems.append(f"active_parameters must not exceed parameters (got {self.active_parameters:g})")
        if self.attention_heads % self.kv_heads:
            problems.append(f"kv_heads must divide attention_heads, {self.attention_heads} (got {self.kv_heads})")
        if problems:
            raise SpecError(problems)
        return self

    @property
    def weight_bytes(self) -> float:
        """Memory that the weights take [bytes]."""
        return self.parameters * self.bytes_per_parameter

    @property
    def weight_bytes_read(self) -> float:
        """Weights that an iteration reads at the least [bytes]; exact for a dense model."""
        return self.active_parameters * self.bytes_per_parameter

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token of context [bytes]."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * self.kv_bytes_per_value

    @property
    def flops_per_token(self) -> float:
        """Arithmetic of one token outside attention [FLOP]."""
        return 2.0 * self.active_parameters

    @property
    def attention_flops_per_pair(self) -> float:
        """Arithmetic of one (query, key) pair, all layers and heads: QK^T and PV [FLOP]."""
        return 4.0 * self.layers * self.attention_heads * self.head_dim


class ProfileSpec(Spec):
    """How fast one model runs on one kind of GPU, at full clock; the coefficients of the module's equations.

    Attributes:
        name: `<model>_<gpu>_tp<tensor_parallel>`, the name of the catalogue's file.
        model: catalogue name of the model.
        gpu: catalogue name of the GPU.
        tensor_parallel: GPUs per replica.
        t0_s: time of an iteration whatever its batch: weights, launches, collectives, host [s].
        decode_s: for each decoding sequence [s].
        context_s: for each token of context of the decoding sequences [s].
        prefill_s: for each prefill token [s].
        prefill_attention_s: for each (query, key) pair of prefill attention [s].
        decode_memory_fraction: m of t0, decode and context time; uncertain, so a scenario may draw it.
        prefill_memory_fraction: m of prefill time.
        power_factor: what the boards drew in this pair's serving runs over what the law of the GPU says; boards of one
            kind, and what runs on them, differ by several per cent.
        origin: `measured` (serving runs and kernels), `kernels` (sum of measured kernels, no serving run) or `roofline`
            (bound times a typical ratio).
        fit_errors: name of a comparison with measurements -> mean absolute relative error.
        sources: where the numbers come from, assumptions marked as such.
    """

    name: Name
    model: Name
    gpu: Name
    tensor_parallel: PositiveInt
    t0_s: PositiveFloat
    decode_s: NonNegativeFloat
    context_s: NonNegativeFloat
    prefill_s: PositiveFloat
    prefill_attention_s: NonNegativeFloat
    decode_memory_fraction: UnitFraction = DECODE_MEMORY_FRACTION
    prefill_memory_fraction: UnitFraction = PREFILL_MEMORY_FRACTION
    power_factor: PositiveFloat = 1.0
    origin: Literal["measured", "kernels", "roofline"]
    fit_errors: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()


def load_model(name: str, search_paths: Sequence[PathLike] = ()) -> ModelSpec:
    """A model of the catalogue.

    Args:
        name: for example `llama-3.1-8b`.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name or an invalid file.

    >>> load_model("llama-3.1-70b").kv_bytes_per_token
    327680.0
    """
    return ModelSpec.parse(load_entry("model", name, search_paths), f"model.{name}")


def load_profile(model: str, gpu: str, tensor_parallel: int, search_paths: Sequence[PathLike] = ()) -> ProfileSpec:
    """The catalogue's profile of a model on a GPU, or a roofline where nobody measured the pair.

    Args:
        model: catalogue name of the model.
        gpu: catalogue name of the GPU.
        tensor_parallel: GPUs per replica.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name, an invalid file, or a profile that beats the physical bound.

    >>> load_profile("llama-3.1-8b", "h100-sxm", 1).origin
    'measured'
    """
    name = profile_name(model, gpu, tensor_parallel)
    gpu_spec, model_spec = load_gpu(gpu, search_paths), load_model(model, search_paths)
    if name not in catalog_names("profile", search_paths):
        return roofline_profile(gpu_spec, model_spec, tensor_parallel)
    profile = ProfileSpec.parse(load_entry("profile", name, search_paths), f"profile.{name}")
    check_profile(profile, gpu_spec, model_spec)
    return profile


def profile_name(model: str, gpu: str, tensor_parallel: int) -> str:
    """The catalogue's name of a pair: `llama-3.1-8b_h100-sxm_tp1`."""
    return f"{model}_{gpu}_tp{tensor_parallel}"


def coefficient_bounds_s(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int) -> dict[str, float]:
    """The least that each coefficient of a profile can be [s]: its FLOPs at peak rate or its bytes at peak bandwidth.

    >>> round(1e3 * coefficient_bounds_s(load_gpu("h100-sxm"), load_model("llama-3.1-8b"), 1)["t0_s"], 2)
    4.48
    """
    flops_per_s = tensor_parallel * gpu.peak_bf16_flops
    bytes_per_s = tensor_parallel * gpu.memory_bandwidth_bytes_per_s
    pair_s = model.attention_flops_per_pair / flops_per_s
    kv_token_s = model.kv_bytes_per_token / bytes_per_s
    token_s = max(model.flops_per_token / flops_per_s, kv_token_s)
    return {
        "t0_s": model.weight_bytes_read / bytes_per_s,
        "decode_s": token_s,
        "context_s": max(kv_token_s, pair_s),
        "prefill_s": token_s,
        "prefill_attention_s": pair_s,
    }


def check_profile(profile: ProfileSpec, gpu: GpuSpec, model: ModelSpec) -> None:
    """Refuse a profile that is not of this pair or that beats the physical bound.

    A bound on each coefficient is enough: `max(x, y)` of sums is at most the sum of each part's larger one.

    Raises:
        SpecError: one line per coefficient that is too small.
    """
    where = f"profile.{profile.name}"
    expected = profile_name(model.name, gpu.name, profile.tensor_parallel)
    if profile.name != expected or profile_name(profile.model, profile.gpu, profile.tensor_parallel) != expected:
        raise SpecError([f"{where}: name, model, gpu and tensor_parallel must agree (expected {expected})"])
    bounds_s = coefficient_bounds_s(gpu, model, profile.tensor_parallel)
    problems = [
        f"{where}.{key}: faster than physics allows; at least {bound_s:.4g} s (got {getattr(profile, key):.4g})"
        for key, bound_s in bounds_s.items()
        if getattr(profile, key) < bound_s
    ]
    if problems:
        raise SpecError(problems)


def roofline_profile(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int) -> ProfileSpec:
    """A profile for a pair that nobody measured: the physical bound times typical ratios of measured profiles.

    Args:
        gpu: the board.
        model: the model.
        tensor_parallel: GPUs per replica; must divide the attention heads.

    Raises:
        SpecError: the heads cannot be split over that many GPUs.

    >>> roofline_profile(load_gpu("b200-sxm"), load_model("llama-3.1-70b"), 8).origin
    'roofline'
    """
    if tensor_parallel < 1 or model.attention_heads % tensor_parallel:
        heads = model.attention_heads
        raise SpecError([f"tensor_parallel: must divide {model.name}'s {heads} heads (got {tensor_parallel})"])
    bounds_s = coefficient_bounds_s(gpu, model, tensor_parallel)
    return ProfileSpec(
        name=profile_name(model.name, gpu.name, tensor_parallel),
        model=model.name,
        gpu=gpu.name,
        tensor_parallel=tensor_parallel,
        origin="roofline",
        sources=("assumption: physical bound times the typical ratio of measured profiles (ROOFLINE_RATIOS)",),
        **{key: bound_s * ROOFLINE_RATIOS[key] for key, bound_s in bounds_s.items()},
    )


def kv_capacity_tokens(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, memory_utilisation: float = 0.9) -> int:
    """Tokens of KV cache that fit beside the weights [tokens].

    Args:
        gpu: the board.
        model: the model.
        tensor_parallel: GPUs per replica.
        memory_utilisation: share of device memory that the server may use; vLLM's default is 0.9. Activations come out
            of the rest here; in vLLM they come out of this share, so its figure is a few per cent lower.

    Raises:
        SpecError: the model does not fit; the message says how many GPUs it needs.

    >>> kv_capacity_tokens(load_gpu("h100-sxm"), load_model("llama-3.1-8b"), 1)
    464687
    """
    usable_bytes = gpu.memory_bytes * memory_utilisation
    needed_bytes = model.weight_bytes + model.kv_bytes_per_token
    if tensor_parallel * usable_bytes < needed_bytes:
        needed = math.ceil(needed_bytes / usable_bytes) if usable_bytes > 0 else 0
        fits = f"; it needs at least {needed}" if needed else ""
        size = f"{model.weight_bytes / 1e9:.1f} GB of weights"
        raise SpecError([f"{model.name} ({size}) does not fit on {tensor_parallel} x {gpu.name}{fits}"])
    return int((tensor_parallel * usable_bytes - model.weight_bytes) // model.kv_bytes_per_token)
