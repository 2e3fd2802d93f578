"""Recompute every fitted number of the catalogue: `python -m calibration.fit [--write]`, from the repository's root.

Without `--write` it prints predicted against measured and says which YAML values differ from the fit; with it, it
rewrites those values and leaves the rest of each file as it is.
"""

from __future__ import annotations

import argparse
import math
import re
from functools import cache
from pathlib import Path

import numpy as np

from calibration.power import fit_clock, fit_power, fit_power_a100
from calibration.serving import TimeFit, fit_kernels, fit_measured
from tokenfleet.envs.catalog import read_yaml
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import coefficient_bounds_s, load_model, profile_name

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
SERVED_LIKE = "h100-sxm"
Numbers = dict[str, float]


@cache
def time_fits() -> dict[str, TimeFit]:
    """Profile name -> its fit."""
    fits = {profile_name(*pair): fit_measured(*pair) for pair in MEASURED}
    fits.update({profile_name(*pair): fit_kernels(*pair, like=SERVED_LIKE) for pair in FROM_KERNELS})
    return fits


def profile_numbers() -> dict[str, Numbers]:
    """Profile name -> coefficient -> seconds, rounded as the YAML has them: never below the physical bound."""
    numbers = {}
    for pair in (*MEASURED, *FROM_KERNELS):
        model, gpu, degree = pair
        bounds_s = coefficient_bounds_s(load_gpu(gpu), load_model(model), degree)
        fitted = time_fits()[profile_name(*pair)].coefficients()
        numbers[profile_name(*pair)] = {key: _rounded(value, bounds_s[key]) for key, value in fitted.items()}
    return numbers


@cache
def gpu_numbers() -> dict[str, Numbers]:
    """GPU name -> fitted power coefficients, rounded as the YAML has them."""
    clock = fit_clock()
    static_over_idle = clock.static_w / load_gpu("a100-sxm-80gb").idle_w
    powers = {"h100-sxm": fit_power("h100-sxm"), "b200-sxm": fit_power("b200-sxm"), "a100-sxm-80gb": fit_power_a100()}
    powers["h200-sxm"] = powers["h100-sxm"]  # the same chip with other memory: an assumption
    numbers = {}
    for name, power in powers.items():
        static_w = static_over_idle * load_gpu(name).idle_w
        numbers[name] = {
            "static_w": round(static_w, 1),
            "floor_w": round(power.busy_w - static_w, 1),
            "joule_per_byte": _rounded(power.joule_per_byte),
            "joule_per_flop": _rounded(power.joule_per_flop),
            "voltage_floor_fraction": round(clock.voltage_floor_fraction, 2),
        }
    return numbers


def fit_errors() -> dict[str, Numbers]:
    """Profile name -> comparison -> mean absolute relative error."""
    return {
        name: {key: round(float(np.mean(np.abs(errors))), 3) for key, errors in fit.errors.items()}
        for name, fit in time_fits().items()
    }


def roofline_ratios() -> Numbers:
    """Coefficient -> geometric mean of measured over bound, over the measured profiles; `llm.ROOFLINE_RATIOS`."""
    logs: dict[str, list[float]] = {}
    for model, gpu, degree in MEASURED:
        bounds_s = coefficient_bounds_s(load_gpu(gpu), load_model(model), degree)
        for key, value in profile_numbers()[profile_name(model, gpu, degree)].items():
            logs.setdefault(key, []).append(math.log(value / bounds_s[key]))
    return {key: round(math.exp(float(np.mean(values))), 2) for key, values in logs.items()}


def shipped_differences() -> list[str]:
    """One line for each shipped value that is not the fit's."""
    lines = []
    for kind, tables in (("profile", profile_numbers()), ("gpu", gpu_numbers())):
        for name, numbers in tables.items():
            shipped = read_yaml(CATALOG / kind / f"{name}.yaml")
            lines += [
                f"{kind}/{name}.yaml {key}: shipped {shipped[key]:g}, fitted {value:g}"
                for key, value in numbers.items()
                if not math.isclose(shipped[key], value, rel_tol=1e-3)
            ]
    return lines


def write() -> None:
    """Rewrite the fitted values in the catalogue."""
    for kind, tables in (("profile", profile_numbers()), ("gpu", gpu_numbers())):
        for name, numbers in tables.items():
            path = CATALOG / kind / f"{name}.yaml"
            text = path.read_text(encoding="utf-8")
            for key, value in numbers.items():
                text = re.sub(rf"(?m)^{key}:.*$", f"{key}: {value!r}", text)
            if kind == "profile":
                errors = ", ".join(f"{key}: {error:g}" for key, error in fit_errors()[name].items())
                text = re.sub(r"(?m)^fit_errors:.*$", f"fit_errors: {{{errors}}}", text)
            path.write_text(text, encoding="utf-8")


def report() -> str:
    """Predicted against measured, as text."""
    lines = [f"{'profile':36} {'comparison':16} {'runs':>4} {'mean |err|':>10} {'worst':>7}"]
    for name, fit in time_fits().items():
        lines += [_row(name, key, errors) for key, errors in fit.errors.items()]
    for name in ("h100-sxm", "b200-sxm"):
        lines.append(_row(name, "board power", fit_power(name).errors))
    lines.append(_row("a100-sxm-80gb", "board power", fit_power_a100().errors))
    clock = fit_clock()
    lines.append(
        f"clock (A100): Ps {clock.static_w:.0f} W, k {clock.clock_w:.0f} W (mean error {clock.power_error:.1%}),"
    )
    floor, memory = clock.voltage_floor_fraction, clock.memory_fraction
    lines.append(f"  voltage floor {floor:.3f}, prefill's m {memory:.3f} (mean error {clock.time_error:.1%})")
    lines.append(f"roofline ratios: {roofline_ratios()}")
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
    step = 10.0 ** (math.floor(math.log10(value)) - 3)
    count = round(value / step) if round(value / step) * step >= lowest else math.ceil(value / step)
    return float(f"{count * step:.3e}")


if __name__ == "__main__":
    main()
