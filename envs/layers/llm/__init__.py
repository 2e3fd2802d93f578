"""Layer 4, the model on its GPUs: what a model needs of a GPU, and how fast a replica of it runs.

A replica is one model on `tp` GPUs under continuous batching. The coefficients of an iteration's time and energy are
data (`catalog/profile/<model>_<gpu>_tp<n>.yaml`), fitted to measurements by `python -m calibration.fit`; for a pair
that nobody measured, a roofline takes their place. No profile may beat physics.

| module | subject |
|---|---|
| `attention` | what the tokens of a prompt attend to |
| `left_out` | what an entry of a model leaves out and its shape says |
| `model` | models: their weights, experts, KV cache and arithmetic |
| `parallelism` | how the boards of a replica share a model |
| `memory` | what weights, activations and libraries leave for the KV cache |
| `profile` | the coefficients of a model on a GPU, and the least that physics allows |
| `part` | parts of an iteration that add up |
| `products` | the matrices of a model, and what multiplying with them takes on a board |
| `experts` | what routed experts take on the busiest board |
| `latent_attention` | what attention over a compressed cache takes |
| `collectives` | what boards that share a model tell one another |
| `roofline` | coefficients for a pair that nobody measured: the sum of its parts |
| `unlimited` | times at the highest clock from times as measured at the boards' power limit |
| `work` | joules of an iteration's tokens: reading weights, useful arithmetic and vain arithmetic |
| `coefficients` | what an iteration takes of a replica's boards, part by part, and how it follows the clock |
| `iteration` | the law of an iteration: its time and its energy at any clock |
| `steady_state` | what follows for a replica that serves one kind of request |
| `accuracy` | how wrong a profile is expected to be |
| `bound` | the least time that physics allows an iteration |
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.catalog import PathLike, catalog_names, load_entry
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm.accuracy import QUANTITIES, expected_errors
from tokenfleet.envs.layers.llm.memory import LargestBatch, kv_capacity_tokens
from tokenfleet.envs.layers.llm.model import ModelSpec, load_model
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.profile import (
    TOKEN_KNOTS,
    Bounds,
    ProfileSpec,
    bounds_s,
    check_profile,
    profile_name,
)
from tokenfleet.envs.layers.llm.roofline import roofline_profile
from tokenfleet.envs.spec import SpecError

__all__ = [
    "QUANTITIES",
    "TOKEN_KNOTS",
    "Bounds",
    "LargestBatch",
    "ModelSpec",
    "Parallelism",
    "ProfileSpec",
    "bounds_s",
    "check_profile",
    "expected_errors",
    "kv_capacity_tokens",
    "load_model",
    "load_profile",
    "profile_name",
    "roofline_profile",
]


def load_profile(
    model: str,
    gpu: str,
    parallelism: Parallelism | int,
    search_paths: Sequence[PathLike] = (),
    interconnect: str | None = None,
    async_scheduling: bool = False,
) -> ProfileSpec:
    """The catalogue's profile of a model on a GPU, or a roofline where nobody measured the pair.

    A measured profile holds for boards that are wired as the GPU's entry says. Wired otherwise, they get the roofline.

    Args:
        model: catalogue name of the model.
        gpu: catalogue name of the GPU.
        parallelism: how the GPUs of a replica share the model; a number is tensor parallelism alone.
        search_paths: the user's catalogue folders.
        interconnect: how the boards are wired, by its catalogue name; as the GPU's entry says by default.
        async_scheduling: for a roofline, whether iterations are planned ahead; a measured profile is as measured.

    Raises:
        SpecError: an unknown name, an invalid file, a profile that beats the physical bound, or a user's profile of
            this pair under another name, where nobody would find it.

    >>> load_profile("llama-3.1-8b", "h100-sxm", 1).origin
    'measured'
    """
    name = profile_name(model, gpu, parallelism)
    gpu_spec, model_spec = load_gpu(gpu, search_paths), load_model(model, search_paths)
    names = catalog_names("profile", search_paths)
    wired = load_interconnect(interconnect or gpu_spec.interconnect, search_paths)
    if name not in names or (Parallelism.of(parallelism).boards > 1 and wired.name != gpu_spec.interconnect):
        _check_none_is_meant(name, [other for other in names if other not in catalog_names("profile")], search_paths)
        return roofline_profile(gpu_spec, model_spec, parallelism, wired, async_scheduling)
    profile = ProfileSpec.parse(load_entry("profile", name, search_paths), f"profile.{name}")
    check_profile(profile, gpu_spec, model_spec)
    return profile


def _check_none_is_meant(name: str, others: Sequence[str], search_paths: Sequence[PathLike]) -> None:
    """Refuse a roofline where the user has a profile of the pair under another name."""
    for other in others:
        data = load_entry("profile", other, search_paths)
        degrees = [data.get(f"{kind}_parallel", int(kind != "tensor")) for kind in Parallelism._fields]
        if profile_name(data.get("model", ""), data.get("gpu", ""), Parallelism(*degrees)) == name:
            raise SpecError([f"profile.{other}: is of the pair {name}; name it so, else nobody finds it"])
