"""Tables of sweeps: a job at several clocks or under several power limits, one point a row.

Columns: `clock_mhz` and, or, `power_limit_w`; `time_ms` (or `time_s`) of the job, or `rate`, what it does in a second;
`power_w` of one board, or `energy_j` of the job on one board; `job`, where there are several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import PathLike
from tokenfleet.envs.fitting.clock_law import FEWEST_POINTS, Sweep
from tokenfleet.envs.fitting.columns import POWER_UNITS, TIME_UNITS, number_of, split_unit
from tokenfleet.envs.fitting.runs import table_rows
from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.spec import SpecError

UNITS: dict[str, Mapping[str, float]] = {
    "clock": {"mhz": 1.0},
    "power_limit": POWER_UNITS,
    "time": TIME_UNITS,
    "rate": {"": 1.0},
    "power": POWER_UNITS,
    "energy": {"j": 1.0},
}
"""Quantity of a point -> unit in the column's name -> its value in SI (a clock's in MHz)."""


def read_sweeps(path: PathLike, gpu: GpuSpec, top_clock_mhz: float | None = None) -> list[Sweep]:
    """The sweeps of a table, one for each job.

    Args:
        path: CSV, which may be `.csv.gz`.
        gpu: the board, whose `tdp_w` is the limit where none is set.
        top_clock_mhz: the board's highest clock; the highest of the table by default.

    Raises:
        SpecError: what is wrong, with the file, the line and the column.
    """
    points = [_point(place, row) for place, row in table_rows(Path(path))]
    if not points:
        raise SpecError([f"{path}: holds no point of a sweep"])
    top_mhz = top_clock_mhz or max(point.get("clock", 1.0) for point in points)
    jobs: dict[str, list[dict[str, float]]] = {}
    for (_, row), point in zip(table_rows(Path(path)), points, strict=True):
        if point.get("clock", 0.0) > top_mhz:
            raise SpecError([f"{path}: clock_mhz: {point['clock']:g} is above --top-clock-mhz, {top_mhz:g}"])
        jobs.setdefault(row.get("job", ""), []).append(point)
    few = [job for job, own in jobs.items() if len(own) < FEWEST_POINTS]
    if few:
        raise SpecError([f"{path}: job {few[0]!r} has {len(jobs[few[0]])} points; a sweep needs {FEWEST_POINTS}"])
    return [_sweep(job, own, gpu, top_mhz) for job, own in jobs.items()]


def _sweep(job: str, points: Sequence[Mapping[str, float]], gpu: GpuSpec, top_mhz: float) -> Sweep:
    ordered = sorted(points, key=lambda point: (point.get("clock", top_mhz), point.get("power_limit", gpu.tdp_w)))
    time_s = np.array([point["time"] if "time" in point else 1.0 / point["rate"] for point in ordered])
    power_w = np.array(
        [
            point["power"] if "power" in point else point["energy"] / time
            for point, time in zip(ordered, time_s, strict=True)
        ]
    )
    clock = np.array([point.get("clock", top_mhz) for point in ordered]) / top_mhz
    return Sweep(job, clock, np.array([point.get("power_limit", gpu.tdp_w) for point in ordered]), time_s, power_w)


def _point(place: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The quantities of a row."""
    point: dict[str, float] = {}
    for name, value in row.items():
        base, unit = split_unit(name)
        base, unit = ("power_limit", unit) if base == "power_limit" else (base, unit)
        if base == "energy_j":
            base, unit = "energy", "j"
        if base not in UNITS:
            continue
        if unit not in UNITS[base]:
            raise SpecError([f"{place}: column {name!r} has no unit; call it {base}_{next(iter(UNITS[base]))}"])
        number = number_of(value)
        if number is None or number <= 0.0:
            raise SpecError([f"{place}: {name}: must be a number above 0 (got {value!r})"])
        point[base] = number * UNITS[base][unit]
    for ways in (("clock", "power_limit"), ("time", "rate"), ("power", "energy")):
        if not any(way in point for way in ways):
            spelt = " or ".join(f"{way}_{next(iter(UNITS[way]))}".rstrip("_") for way in ways)
            raise SpecError([f"{place}: a point needs {spelt}"])
    return point
