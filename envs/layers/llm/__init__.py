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
| `bound` | the least time that physics allows an iteration |
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.catalog import PathLike, catalog_names, load_entry
from tokenfleet.envs.layers.gpu import load_gpu
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

__all__ = [
    "TOKEN_KNOTS",
    "Bounds",
    "ModelSpec",
    "ProfileSpec",
    "bounds_s",
    "check_profile",
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
