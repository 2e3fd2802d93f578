"""Recompute every fitted number of the catalogue: `python -m calibration.fit [--write]`, from the repository's root.

Without `--write` it prints predicted against measured and says which YAML values differ from the fit; with it, it
rewrites those values and leaves the rest of each file as it is.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from calibration.clock import CAPPED_GPU, CapFit, ClockFit, fit_capping, fit_clock
from calibration.layer_kernels import BY_LAYER
from calibration.power import CHIPS, coefficients, fit_board, scaled_coefficients
from calibration.profile_power import power_factor
from calibration.serving import TimeFit, fit_kernels, fit_measured
from calibration.serving_law import fit_pair
from tokenfleet.envs.catalog import catalog_names, read_yaml
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import bounds_s, load_model, load_profile, profile_name

CATALOG = Path(__file__).parents[1] / "envs" / "catalog"
MEASURED = (
    ("llama-3.1-8b", "h100-sxm", 1),
    ("llama-3.1-8b", "b200-sxm", 1),
    ("llama-3.1-70b", "h100-sxm", 4),
    ("llama-3.1-70b", "b200-sxm", 2),
)
FROM_KERNELS = (
    ("llama-3.1-8b", "a100-sxm-80gb", 1),
    ("llama-3.1-70b", "a100-sxm-80gb", 4),
    ("llama-3.1-8b", "h200-sxm", 1),
    ("llama-3.1-70b", "h200-sxm", 4),
)
FROM_RUNS = (
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
SAME_CHIP = {"h200-sxm": "h100-sxm"}  # with other memory: an assumption
VOLTAGE_FLOORS: dict[str, Callable[[], ClockFit | CapFit]] = {
    "a100-sxm-40gb": fit_clock,
    "a100-sxm-80gb": fit_clock,
    CAPPED_GPU: fit_capping,
}
Numbers = dict[str, float]
Values = dict[str, "float | list[float]"]


@cache
def time_fits() -> dict[str, TimeFit]:
    """Profile name -> its fit."""
    fits = {profile_name(*pair): fit_measured(*pair) for pair in MEASURED}
    fits.update({profile_name(*pair): fit_kernels(*pair, like=SERVED_LIKE) for pair in FROM_KERNELS})
    fits.update({profile_name(*pair): fit() for pair, fit in BY_LAYER.items()})
    fits.update({profile_name(*pair): fit_pair(*pair) for pair in FROM_RUNS})
    return fits


@cache
def profile_numbers() -> dict[str, Values]:
    """Profile name -> coefficient -> value or values at the knots, rounded as the YAML has them."""
    pairs = (*MEASURED, *FROM_KERNELS, *BY_LAYER, *FROM_RUNS)
    return {profile_name(*pair): _profile_values(*pair) for pair in pairs}


def _profile_values(model: str, gpu: str, degree: int) -> Values:
    """Rounded, and never below the physical bound."""
    least, fit = bounds_s(load_gpu(gpu), load_model(model), degree), time_fits()[profile_name(model, gpu, degree)]
    mixed = {"mixed_context_s": _rounded(fit.mixed_context_s)} if fit.mixed_context_s else {}
    return {
        "host_s": _rounded(fit.host_s),
        "token_s": [_rounded(*pair) for pair in zip(fit.token_s, least.token_s.tolist(), strict=True)],
        "token_memory_share": [round(share, 3) for share in fit.token_memory_share],
        "decode_s": _rounded(fit.decode_s),
        "context_s": _rounded(fit.context_s, least.context_s),
        **mixed,
        "prefill_attention_s": _rounded(fit.prefill_attention_s, least.prefill_attention_s),
    }


@cache
def gpu_numbers() -> dict[str, Numbers]:
    """GPU name -> fitted or scaled power coefficients, rounded as the YAML has them."""
    measured = {name: coefficients(gpu) for chip in CHIPS for name, gpu in fit_board(chip).gpus.items()}
    numbers = {}
    for name in catalog_names("gpu"):
        gpu = load_gpu(name)
        fitted = measured.get(SAME_CHIP.get(name, name), {})
        found = {**scaled_coefficients(gpu), **fitted}
        if name in SAME_CHIP:
            found["static_w"] = gpu.idle_w
        if name in VOLTAGE_FLOORS:
            found["voltage_floor_fraction"] = VOLTAGE_FLOORS[name]().voltage_floor_fraction
        numbers[name] = {
            **{key: round(value, 1 if key.endswith("_w") else 2) for key, value in found.items() if "joule" not in key},
            **{key: _rounded(value) for key, value in found.items() if "joule" in key},
        }
    return numbers


@cache
def power_factors() -> dict[str, Numbers]:
    """Profile name -> its power_factor, by the times that the fit has now."""
    factors = {}
    for pair in (*MEASURED, *FROM_KERNELS, *FROM_RUNS):
        name = profile_name(*pair)
        profile = load_profile(*pair).model_copy(
            update={key: _plain(value) for key, value in profile_numbers()[name].items()}
        )
        factors[name] = {"power_factor": round(power_factor(profile), 3)}
    return factors


def _plain(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value


def fit_errors() -> dict[str, Numbers]:
    """Profile name -> comparison -> mean absolute relative error."""
    return {
        name: {key: round(float(np.mean(np.abs(errors))), 3) for key, errors in fit.errors.items()}
        for name, fit in time_fits().items()
    }


FITTED = (("profile", profile_numbers), ("profile", power_factors), ("gpu", gpu_numbers))


def shipped_differences() -> list[str]:
    """One line for each shipped value that is not the fit's."""
    lines = []
    for kind, tables in FITTED:
        for name, numbers in tables().items():
            shipped = read_yaml(CATALOG / kind / f"{name}.yaml")
            lines += [
                f"{kind}/{name}.yaml {key}: shipped {shipped[key]}, fitted {value}"
                for key, value in numbers.items()
                if not np.allclose(shipped[key], value, rtol=1e-3, atol=0.0)
            ]
    return lines


def write() -> None:
    """Rewrite the fitted values in the catalogue."""
    for kind, tables in FITTED:
        for name, numbers in tables().items():
            path = CATALOG / kind / f"{name}.yaml"
            text = path.read_text(encoding="utf-8")
            for key, value in numbers.items():
                text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value!r}", text)
            if tables is profile_numbers:
                errors = ", ".join(f"{key}: {error:g}" for key, error in fit_errors()[name].items())
                text = re.sub(r"(?m)^fit_errors:.*$", f"fit_errors: {{{errors}}}", text)
            path.write_text(text, encoding="utf-8")


def report() -> str:
    """Predicted against measured, as text."""
    lines = [f"{'profile':36} {'comparison':16} {'runs':>4} {'mean |err|':>10} {'worst':>7}"]
    for name, fit in time_fits().items():
        lines += [_row(name, key, errors) for key, errors in fit.errors.items()]
    lines += [_row(chip, "board power", fit_board(chip).errors) for chip in CHIPS]
    clock = fit_clock()
    lines.append(f"clock (A100): Ps {clock.static_w:.0f} W (mean error {clock.power_error:.1%}),")
    floor, memory = clock.voltage_floor_fraction, clock.memory_fraction
    lines.append(f"  voltage floor {floor:.3f}, prefill's m {memory:.3f} (mean error {clock.time_error:.1%})")
    return "\n".join(lines)


def main() -> None:
    """Print the report; write the catalogue if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="rewrite the fitted values in the catalogue")
    arguments = parser.parse_args()
    print(report())
    if arguments.write:
        write()
    print("\n".join(shipped_differences()) or "the catalogue holds the fit")


def _row(name: str, key: str, errors: list[float]) -> str:
    worst = max(errors, key=abs)
    return f"{name:36} {key:16} {len(errors):4d} {np.mean(np.abs(errors)):10.1%} {worst:+7.1%}"


def _rounded(value: float, lowest: float = 0.0) -> float:
    """Four significant digits, upwards where rounding would fall below `lowest`."""
    if value == 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 3)
    count = round(value / step) if round(value / step) * step >= lowest else math.ceil(value / step)
    return float(f"{count * step:.3e}")


if __name__ == "__main__":
    main()
