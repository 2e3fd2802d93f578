"""Every fitted number of the catalogue's GPUs, as the YAML has it; boards that nobody measured get scaled ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from calibration.fit.power.board import CHIPS, coefficients, fit_board, scaled_coefficients
from calibration.fit.power.clock import CAPPED_GPU, LIMITED_GPU, CapFit, ClockFit, fit_capping, fit_clock, fit_limited
from calibration.fit.profiles import Values
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.fitting.rounding import four_digits
from tokenfleet.envs.layers.gpu import load_gpu

SAME_CHIP = {"h200-sxm": "h100-sxm"}  # with other memory: an assumption
VOLTAGE_FLOORS: dict[str, Callable[[], ClockFit | CapFit]] = {
    "a100-sxm-40gb": fit_clock,
    "a100-sxm-80gb": fit_clock,
    CAPPED_GPU: fit_capping,
}


@cache
def gpu_numbers() -> dict[str, Values]:
    """GPU name -> fitted or scaled power coefficients, rounded as the YAML has them."""
    measured = {name: coefficients(gpu) for chip in CHIPS for name, gpu in fit_board(chip).gpus.items()}
    numbers: dict[str, Values] = {}
    for name in catalog_names("gpu"):
        gpu = load_gpu(name)
        found = {**scaled_coefficients(gpu), **measured.get(SAME_CHIP.get(name, name), {})}
        if name in SAME_CHIP:
            found["static_w"] = gpu.idle_w
        if name in VOLTAGE_FLOORS:
            found["voltage_floor_fraction"] = VOLTAGE_FLOORS[name]().voltage_floor_fraction
        if name == LIMITED_GPU:
            law = fit_limited().board
            found |= {
                "static_w": law.static_w,
                "voltage_floor_fraction": law.voltage_floor_fraction,
                "compute_memory_fraction": law.memory_fraction,
            }
        joules = {key: four_digits(value) for key, value in found.items() if "joule" in key}
        others = {key: round(value, 1 if key.endswith("_w") else 2) for key, value in found.items()}
        numbers[name] = {**others, **joules}
    return numbers
