"""Layer 4, the model on its GPUs: what a model needs of a GPU, and how fast a replica of it runs.

A replica is one model on `tp` GPUs under continuous batching. The coefficients of an iteration's time and energy are
data (`catalog/profile/<model>_<gpu>_tp<n>.yaml`), fitted to measurements by `python -m calibration.fit`; for a pair
that nobody measured, a roofline takes their place. No profile may beat physics.

| module | subject |
|---|---|
| `model` | models: their weights, experts, KV cache and arithmetic |
| `profile` | the coefficients of a model on a GPU, and the least that physics allows |
| `roofline` | coefficients for a pair that nobody measured |
| `iteration` | the law of an iteration: its time and its energy at any clock |
| `steady_state` | what follows for a replica that serves one kind of request |
| `accuracy` | how wrong a profile is expected to be |
| `bound` | the least time that physics allows an iteration |
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.catalog import PathLike, catalog_names, load_entry
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm.accuracy import QUANTITIES, expected_errors
from tokenfleet.envs.layers.llm.model import ModelSpec, kv_capacity_tokens, load_model
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
    "ModelSpec",
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


def load_profile(model: str, gpu: str, tensor_parallel: int, search_paths: Sequence[PathLike] = ()) -> ProfileSpec:
    """The catalogue's profile of a model on a GPU, or a roofline where nobody measured the pair.

    Args:
        model: catalogue name of the model.
        gpu: catalogue name of the GPU.
        tensor_parallel: GPUs per replica.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name, an invalid file, a profile that beats the physical bound, or one of the user's that
            is of this pair and has another name, under which nobody would find it.

    >>> load_profile("llama-3.1-8b", "h100-sxm", 1).origin
    'measured'
    """
    name = profile_name(model, gpu, tensor_parallel)
    gpu_spec, model_spec = load_gpu(gpu, search_paths), load_model(model, search_paths)
    names = catalog_names("profile", search_paths)
    if name not in names:
        _check_none_is_meant(name, [other for other in names if other not in catalog_names("profile")], search_paths)
        return roofline_profile(gpu_spec, model_spec, tensor_parallel)
    profile = ProfileSpec.parse(load_entry("profile", name, search_paths), f"profile.{name}")
    check_profile(profile, gpu_spec, model_spec)
    return profile


def _check_none_is_meant(name: str, others: Sequence[str], search_paths: Sequence[PathLike]) -> None:
    """Refuse a roofline where the user has a profile of the pair under another name."""
    for other in others:
        data = load_entry("profile", other, search_paths)
        if profile_name(data.get("model", ""), data.get("gpu", ""), data.get("tensor_parallel", 0)) == name:
            raise SpecError([f"profile.{other}: is of the pair {name}; name it so, else nobody finds it"])
