"""Power logs: what the boards drew while a run lasted.

A log is what `nvidia-smi --query-gpu=timestamp,index,power.draw,clocks.sm --format=csv -lms 200` prints; any CSV with a
column `timestamp`, one of power and, for more than one board, one that tells them apart will do. A run takes the part
of it between its `start` and `end`, or the last `duration` seconds before the `date` in the JSON of vLLM; all clocks
are taken to be the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import PathLike
from tokenfleet.envs.files.limits import LOG_ROWS
from tokenfleet.envs.fitting.columns import POWER_UNITS, moment_s, number_of, split_unit
from tokenfleet.envs.fitting.records import Record, table_rows
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.spec import SpecError

TIME_COLUMNS = ("timestamp", "time")
POWER_COLUMNS = ("power.draw", "power.draw.average", "power.draw.instant", "power")
BOARD_COLUMNS = ("index", "uuid", "gpu_uuid", "pci.bus_id", "board", "gpu")
CLOCK_COLUMNS = ("clocks.sm", "clocks.current.sm", "clocks.gr", "clocks.current.graphics")
FEWEST_SAMPLES = 3
FULL_CLOCK = 0.95  # share of the highest clock in the log


@dataclass(frozen=True)
class PowerLog:
    """The samples of a log, N of them.

    Attributes:
        path: the file.
        board: which board, [N].
        time_s: seconds since 1970, [N].
        power_w: [N] [W].
        clock_mhz: [N] [MHz]; NaN where the log does not say it.
    """

    path: Path
    board: NDArray[np.str_]
    time_s: NDArray[np.float64]
    power_w: NDArray[np.float64]
    clock_mhz: NDArray[np.float64]


def read_power_log(path: PathLike) -> PowerLog:
    """Read a log.

    Raises:
        SpecError: what is wrong, with the file, the line and the column.
    """
    path = Path(path)
    rows = table_rows(path, LOG_ROWS)
    first = next(rows, None)
    if first is None:
        raise SpecError([f"{path}: holds no sample"])
    columns = {split_unit(name)[0]: name for name in first[1]} | {name.lower(): name for name in first[1]}
    time_name = _column(path, columns, TIME_COLUMNS, "the time")
    power_name = _column(path, columns, POWER_COLUMNS, "the power")
    board_name = next((columns[name] for name in BOARD_COLUMNS if name in columns), None)
    clock_name = next((columns[name] for name in CLOCK_COLUMNS if name in columns), None)
    samples = [
        (
            row[board_name] if board_name else "",
            moment_s(place, time_name, row[time_name]),
            _power_w((place, row), power_name),
            _clock_mhz(row[clock_name]) if clock_name else np.nan,
        )
        for place, row in chain([first], rows)
    ]
    board, time_s, power_w, clock_mhz = zip(*samples, strict=True)
    return PowerLog(path, np.array(board), np.array(time_s), np.array(power_w), np.array(clock_mhz))


def with_power(
    runs: Sequence[Run], log: PowerLog, boards: int, chosen: Sequence[str] = ()
) -> tuple[list[Run], list[str]]:
    """The runs with the mean power of the log between their beginning and end.

    Args:
        runs: with beginning and end.
        log: of the boards that served them.
        boards: how many the replica has.
        chosen: which boards of the log; all of them by default.

    Returns:
        The runs, and remarks on clocks below the highest.

    Raises:
        SpecError: a run has no times, gives its power itself, or has too few samples; or the boards do not match.
    """
    logged = sorted(set(log.board.tolist()))
    unknown = [board for board in chosen if board not in logged]
    if unknown:
        raise SpecError([f"--boards: {log.path} has no board {unknown[0]!r} (it has {', '.join(logged)})"])
    mine = list(chosen) or logged
    if len(mine) != boards:
        told = f"{len(mine)} boards, {', '.join(mine)}" if any(mine) else "no column that tells boards apart"
        fix = "choose them with --boards" if any(mine) else f"log one of {', '.join(BOARD_COLUMNS[:4])}"
        raise SpecError([f"{log.path}: has {told}; the replica has {boards}; {fix}"])
    measured = [_power_of(run, log, mine) for run in runs]
    notes = [note for run in runs for note in _clock_notes(run, log, mine)]
    return [replace(run, power_w=power_w) for run, power_w in zip(runs, measured, strict=True)], notes


def _power_of(run: Run, log: PowerLog, boards: Sequence[str]) -> float:
    if run.power_w is not None:
        raise SpecError([f"{run.place}: gives its power, and so does --power-log; leave one of them out"])
    if run.start_s is None or run.end_s is None:
        raise SpecError([f"{run.place}: nothing says when it ran, which --power-log needs; give 'start' and 'end'"])
    during = (log.time_s >= run.start_s) & (log.time_s <= run.end_s)
    samples = [log.power_w[during & (log.board == board)] for board in boards]
    if min(map(len, samples)) < FEWEST_SAMPLES:
        first_s, last_s = float(log.time_s.min()), float(log.time_s.max())
        when = f"{_clock_time(run.start_s)} to {_clock_time(run.end_s)}"
        span = f"{log.path} reaches from {_clock_time(first_s)} to {_clock_time(last_s)}"
        raise SpecError(
            [f"{run.place}: fewer than {FEWEST_SAMPLES} samples of power from {when}; {span} (same time zone?)"]
        )
    return float(sum(watts.mean() for watts in samples))


def _clock_notes(run: Run, log: PowerLog, boards: Sequence[str]) -> list[str]:
    assert run.start_s is not None
    assert run.end_s is not None
    during = (log.time_s >= run.start_s) & (log.time_s <= run.end_s) & np.isin(log.board, boards)
    clocks = log.clock_mhz[during]
    if not np.isfinite(clocks).all():
        return []
    share = float(clocks.mean() / np.nanmax(log.clock_mhz))
    return [f"{run.name}: clocks were at {share:.0%} of the highest in the log"] if share < FULL_CLOCK else []


def _column(path: Path, columns: dict[str, str], names: Sequence[str], what: str) -> str:
    found = next((columns[name] for name in names if name in columns), None)
    if found is None:
        held = ", ".join(dict.fromkeys(columns.values()))
        raise SpecError([f"{path}:1: no column says {what}; give one of {', '.join(names)} (it has {held})"])
    return found


def _power_w(record: Record, name: str) -> float:
    """A sample, whose unit stands in its cell or in the header."""
    place, row = record
    words = row[name].split()
    number = number_of(words[0]) if words else None
    if number is None or number < 0.0 or len(words) > 2:
        raise SpecError([f"{place}: {name}: must be a power, 0 or more (got {row[name]!r})"])
    unit = words[1].lower() if len(words) == 2 else split_unit(name)[1]
    if unit not in POWER_UNITS:
        units = "W, kW or mW"
        raise SpecError(
            [f"{place}: {name}: no unit of power (got {row[name]!r}); call the column '{name} [W]' ({units})"]
        )
    return number * POWER_UNITS[unit]


def _clock_mhz(text: str) -> float:
    words = text.split()
    number = number_of(words[0]) if words else None
    return np.nan if number is None else number


def _clock_time(moment: float) -> str:
    return str(np.datetime64(round(moment), "s")).replace("T", " ")
