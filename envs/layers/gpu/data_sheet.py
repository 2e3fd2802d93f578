"""Layer 3, data sheets: the watts of a board that nobody measured, by those of boards that were.

At full clock, all of a board's bandwidth would draw the same multiple of its limit as on the A100, H100 and B200, and
so would all of its arithmetic; the knee is as far up, and the shoulder is as steep. `calibration/fit/power/board.py`
finds the ratios, and the claim "board power, chip left out" of docs/accuracy.md says how far they are off. The draw
of an idle board is no part of that claim: its share of the rated power is a median of the catalogue (an assumption).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.envs.spec import SpecError

LIMIT_FRACTION = 0.985  # large products hold 0.987 (H200) and 0.989 (B200) of it
VOLTAGE_FLOOR_FRACTION = 0.65
CLOCK_FLOOR_FRACTION = 0.4
IDLE_OF_TDP = 0.18
ASLEEP_OF_IDLE = 0.71
LEAST_AWAKE_OF_TDP = 0.133  # a board that works draws no less, though one of a workstation idles at less

# Watts of all the bandwidth, or of all the arithmetic, over the limit; geometric means of A100, H100 and B200.
RATIOS = {
    "joule_per_byte": (0.903, "memory_bandwidth_bytes_per_s"),
    "joule_per_context_byte": (1.361, "memory_bandwidth_bytes_per_s"),
    "joule_per_flop": (2.281, "peak_bf16_flops"),
}
SHOULDER = {"knee_fraction": 0.58, "shoulder_slope": 0.55}
MEMORY_JOULE_PER_BYTE = 8 * 3.92e-12
"""What a byte costs in memory, at any core clock: 3.92 pJ a bit of HBM2 (M. O'Connor et al., "Fine-Grained DRAM", MICRO
2017, doi:10.1145/3123939.3124545). Other memory is taken to be alike (assumption)."""
JOULES = ("joule_per_byte", "joule_per_flop")
"""An entry states both or neither."""
SHEET = ("tdp_w", "memory_bandwidth_bytes_per_s", "peak_bf16_flops")


def with_watts(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the watts and joules that it leaves out, and a source that says which.

    An entry whose data sheet is no positive number stays as it is: other checks say so.

    Raises:
        SpecError: a line of the data sheet is missing, and with it what would follow from it.

    >>> found = with_watts({"tdp_w": 400.0, "memory_bandwidth_bytes_per_s": 2e12, "peak_bf16_flops": 1e14})
    >>> found["idle_w"], found["static_w"], round(1e12 * found["joule_per_flop"], 2)
    (72.0, 72.0, 8.99)
    """
    if missing := [name for name in SHEET if name not in entry]:
        raise SpecError([f"{name}: missing; this key is required" for name in missing])
    if not all(_is_positive(entry[name]) for name in SHEET):
        return dict(entry)
    found = _unloaded(entry)
    if not any(name in entry for name in JOULES):
        found |= _joules({**found, **entry})
    added = [name for name in found if name not in entry]
    if not added:
        return dict(entry)
    source = f"{', '.join(added)}: assumption, from the data sheet as for any board that nobody measured"
    return {**found, **entry, "sources": (*(entry.get("sources") or ()), source)}


def _unloaded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Draw without work, and the ends of clock and voltage."""
    tdp_w = float(entry["tdp_w"])
    idle_w = entry.get("idle_w", round(IDLE_OF_TDP * tdp_w, 1))
    known = _is_positive(idle_w)
    return {
        "idle_w": idle_w,
        "asleep_w": round(ASLEEP_OF_IDLE * idle_w, 1) if known else idle_w,
        "static_w": max(idle_w, round(LEAST_AWAKE_OF_TDP * tdp_w, 1)) if known else idle_w,
        "floor_w": 0.0,
        "limit_fraction": LIMIT_FRACTION,
        "voltage_floor_fraction": VOLTAGE_FLOOR_FRACTION,
        "clock_floor_fraction": CLOCK_FLOOR_FRACTION,
    }


def _joules(entry: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_positive(entry["limit_fraction"]):
        return {}
    limit_w = entry["limit_fraction"] * entry["tdp_w"]
    joules = {name: ratio * limit_w / entry[rate] for name, (ratio, rate) in RATIOS.items()}
    core = max(0.0, 1.0 - MEMORY_JOULE_PER_BYTE / joules["joule_per_byte"])
    return {**joules, **SHOULDER, "core_byte_fraction": core}


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < float("inf")
