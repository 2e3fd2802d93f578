"""Every fitted profile of the catalogue: which measurements each comes from, and its numbers as the YAML has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from calibration.fit.power.profile import power_factor
from calibration.fit.time import llmservingsim, vidur
from calibration.fit.time.decode_steps import fit_pair
from calibration.fit.time.serving import fit_kernels, fit_measured
from calibration.fit.time.time_fit import TimeFit
from tokenfleet.envs.fitting.errors import mean_error
from tokenfleet.envs.fitting.rounding import rounded
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import ProfileSpec, bounds_s, load_model, load_profile, profile_name
from tokenfleet.envs.layers.llm.unlimited import without_limit

Pair = tuple[str, str, int]  # model, GPU, tensor-parallel degree
MEASURED: tuple[Pair, ...] = (
    ("llama-3.1-8b", "h100-sxm", 1),
    ("llama-3.1-8b", "b200-sxm", 1),
    ("llama-3.1-70b", "h100-sxm", 4),
    ("llama-3.1-70b", "b200-sxm", 2),
)
FROM_KERNELS: tuple[Pair, ...] = (
    ("llama-3.1-8b", "a100-sxm-80gb", 1),
    ("llama-3.1-70b", "a100-sxm-80gb", 4),
    ("llama-3.1-8b", "h200-sxm", 1),
    ("llama-3.1-70b", "h200-sxm", 4),
)
BY_LAYER: dict[Pair, Callable[[], TimeFit]] = {
    (llmservingsim.MODEL, "rtx-4090", 1): partial(llmservingsim.fit_bundle, "rtx-4090"),
    (llmservingsim.MODEL, "rtx-pro-6000-blackwell-server", 1): partial(
        llmservingsim.fit_bundle, "rtx-pro-6000-blackwell-server"
    ),
    (vidur.MODEL, vidur.GPU, vidur.ATTENTION_DEGREE): partial(vidur.fit_vidur, vidur.ATTENTION_DEGREE),
}
FROM_RUNS: tuple[Pair, ...] = (
    ("qwen3-32b", "h100-sxm", 2),
    ("qwen3-32b", "b200-sxm", 1),
    ("qwen3-30b-a3b", "h100-sxm", 1),
    ("qwen3-30b-a3b", "h100-sxm", 2),
    ("qwen3-30b-a3b", "b200-sxm", 1),
    ("gpt-oss-20b", "h100-sxm", 1),
    ("gpt-oss-120b", "h100-sxm", 2),
    ("llama-3.1-405b-fp8", "h100-sxm", 8),
)
SERVED_LIKE = "h100-sxm"
Values = dict[str, "float | list[float]"]


@cache
def time_fits() -> dict[str, TimeFit]:
    """Profile name -> its fit."""
    fits = {profile_name(*pair): fit_measured(*pair) for pair in MEASURED}
    fits.update({profile_name(*pair): fit_kernels(*pair, like=SERVED_LIKE) for pair in FROM_KERNELS})
    fits.update({profile_name(*pair): fit() for pair, fit in BY_LAYER.items()})
    fits.update({profile_name(*pair): fit_pair(*pair) for pair in FROM_RUNS})
    return fits


def profile_numbers() -> dict[str, Values]:
    """Profile name -> coefficient -> value or values at the knots, rounded as the YAML has them."""
    pairs = (*MEASURED, *FROM_KERNELS, *BY_LAYER, *FROM_RUNS)
    return {profile_name(*pair): _numbers(fitted_profile(*pair)) for pair in pairs}


@cache
def power_factors() -> dict[str, Values]:
    """Profile name -> its power_factor, by the times that the fit has now."""
    pairs = (*MEASURED, *FROM_KERNELS, *FROM_RUNS)
    return {profile_name(*pair): {"power_factor": round(power_factor(fitted_profile(*pair)), 3)} for pair in pairs}


def fit_errors() -> dict[str, dict[str, float]]:
    """Profile name -> comparison -> mean absolute relative error."""
    return {
        name: {key: round(mean_error(errors), 3) for key, errors in fit.errors.items()}
        for name, fit in time_fits().items()
    }


def fitted_profile(model: str, gpu: str, degree: int) -> ProfileSpec:
    """The catalogue's profile of a pair with the times that the fit has now, rounded as the YAML has them.

    Kernels and runs were measured at the boards' rated limit, a profile's times are those without one; how far apart
    they are follows from the shipped power_factor.
    """
    parts = load_gpu(gpu), load_model(model)
    fit = time_fits()[profile_name(model, gpu, degree)]
    measured = load_profile(model, gpu, degree).model_copy(update=fit.coefficients())
    return rounded(without_limit(measured, *parts), bounds_s(*parts, degree))


def _numbers(profile: ProfileSpec) -> Values:
    mixed = {"mixed_context_s": profile.mixed_context_s} if profile.mixed_context_s else {}
    return {
        "host_s": profile.host_s,
        "token_s": list(profile.token_s),
        "token_memory_share": list(profile.token_memory_share),
        "decode_s": profile.decode_s,
        "context_s": profile.context_s,
        **mixed,
        "prefill_attention_s": profile.prefill_attention_s,
    }
