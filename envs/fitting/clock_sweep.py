"""Tables of sweeps: a job at several clocks or under several power limits, one point a row.

Columns: `clock_mhz` and, or, `power_limit_w`; `time_ms` (or `time_s`) of the job, or `rate`, what it does in a second;
`power_w` of one board, or `energy_j` of the job on one board; `job`, where there are several. An empty cell says
nothing.

A point without a limit of its own has the limit of the board: `tdp_w`, or the highest power of such points if that is
more. A board that draws more than its data sheet says had its limit raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import PathLike
from tokenfleet.envs.fitting.clock_law import FEWEST_POINTS, Sweep
from tokenfleet.envs.fitting.columns import POWER_UNITS, TIME_UNITS, number_of, split_unit
from tokenfleet.envs.fitting.records import table_rows
from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.spec import SpecError

UNITS: dict[str, Mapping[str, float]] = {
    "clock": {"mhz": 1.0, "ghz": 1e3},
    "power_limit": POWER_UNITS,
    "time": TIME_UNITS,
    "rate": {"": 1.0},
    "power": POWER_UNITS,
    "energy": {"j": 1.0, "kj": 1e3},
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
    limit_w = max([gpu.tdp_w, *(_power_w(point) for point in points if "power_limit" not in point)])
    return [_sweep(job, own, limit_w, top_mhz) for job, own in jobs.items()]


def _sweep(job: str, points: Sequence[Mapping[str, float]], limit_w: float, top_mhz: float) -> Sweep:
    """The points of one job; `limit_w` and `top_mhz` hold where a point does not say its own."""
    ordered = sorted(points, key=lambda point: (point.get("clock", top_mhz), point.get("power_limit", limit_w)))
    return Sweep(
        job=job,
        clock_fraction=np.array([point.get("clock", top_mhz) for point in ordered]) / top_mhz,
        limit_w=np.array([point.get("power_limit", limit_w) for point in ordered]),
        time_s=np.array([_time_s(point) for point in ordered]),
        power_w=np.array([_power_w(point) for point in ordered]),
    )


def _time_s(point: Mapping[str, float]) -> float:
    return point["time"] if "time" in point else 1.0 / point["rate"]


def _power_w(point: Mapping[str, float]) -> float:
    return point["power"] if "power" in point else point["energy"] / _time_s(point)


def _point(place: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The quantities of a row."""
    point: dict[str, float] = {}
    for name, value in row.items():
        base, unit = split_unit(name)
        if base not in UNITS or not str(value).strip():
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
