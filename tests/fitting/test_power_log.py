"""A log of nvidia-smi gives the runs their watts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenfleet.envs.fitting import Run, read_power_log, with_power
from tokenfleet.envs.fitting.columns import moment_s
from tokenfleet.envs.spec import SpecError

HEADER = "timestamp, index, power.draw [W], clocks.current.sm [MHz]"
NOON_S = moment_s("", "", "2026-03-01 12:00:00")
RUN = Run("runs.csv:2", "noon", 8.0, 500.0, 100.0, 550.0, median_step_s=0.0075, start_s=NOON_S, end_s=NOON_S + 9)


def log(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "power.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def samples(board: int, *watts: float, clock: int = 1980) -> list[str]:
    """A sample a second from two seconds before noon."""
    times = [f"11:59:5{second}" for second in (8, 9)] + [f"12:00:0{second}" for second in range(10)]
    return [
        f"2026/03/01 {time}.000, {board}, {power:.2f} W, {clock} MHz" for time, power in zip(times, watts, strict=False)
    ]


def test_a_run_draws_the_mean_between_its_beginning_and_its_end(tmp_path: Path) -> None:
    """Two samples before it began do not count."""
    path = log(tmp_path, *samples(0, 70, 70, 400, 500, 600))
    (run,), notes = with_power([RUN], read_power_log(path), 1)
    assert run.power_w == pytest.approx(500.0)
    assert notes == []


def test_the_boards_of_a_replica_add_up(tmp_path: Path) -> None:
    lines = [line for board, watts in ((0, 400), (1, 300)) for line in samples(board, *[watts] * 6)]
    (run,), _ = with_power([RUN], read_power_log(log(tmp_path, *lines)), 2)
    assert run.power_w == pytest.approx(700.0)


def test_boards_of_a_larger_log_are_chosen(tmp_path: Path) -> None:
    lines = [line for board in range(8) for line in samples(board, *[100.0 + board] * 6)]
    (run,), _ = with_power([RUN], read_power_log(log(tmp_path, *lines)), 1, ["3"])
    assert run.power_w == pytest.approx(103.0)


def test_a_unit_may_stand_in_the_header_alone(tmp_path: Path) -> None:
    """`--format=csv,nounits` writes it so."""
    lines = [line.replace(" W", "").replace(" MHz", "") for line in samples(0, *[450.0] * 6)]
    (run,), _ = with_power([RUN], read_power_log(log(tmp_path, *lines)), 1)
    assert run.power_w == pytest.approx(450.0)


def test_lowered_clocks_are_remarked_on(tmp_path: Path) -> None:
    lines = [*samples(0, 70, 70), *samples(0, 400, 400, 400, 400, 400, clock=1386)[2:]]
    _, notes = with_power([RUN], read_power_log(log(tmp_path, *lines)), 1)
    assert notes == ["noon: clocks were at 70% of the highest in the log"]


@pytest.mark.parametrize(("lines", "header", "message"), [
    ([], HEADER, r"power\.csv: holds no sample"),
    (["1, 2"], "timestamp, watts", r"power\.csv:1: no column says the power; .* \(it has timestamp, watts"),
    (["1, 2"], "when, power.draw [W]", r"power\.csv:1: no column says the time; give one of timestamp"),
    (["2026/03/01 12:00:00, 450"], "timestamp, power.draw", r"power\.csv:2: power\.draw: no unit of power \(got"),
    (["2026/03/01 12:00:00, [N/A]"], "timestamp, power.draw [W]", r"power\.csv:2: power\.draw \[W\]: must be a power"),
    (["2026/03/01 12:00:00.000, -3 W"], "timestamp, power.draw [W]", r"power\.csv:2: .*0 or more \(got '-3 W'\)"),
    (["noon, 450 W"], "timestamp, power.draw [W]", r"power\.csv:2: timestamp: not a time \(got 'noon'\)"),
])  # fmt: skip
def test_a_log_that_cannot_be_used_is_answered(lines: list[str], header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        read_power_log(log(tmp_path, *lines, header=header))


def test_a_log_of_other_boards_than_the_replicas_is_refused(tmp_path: Path) -> None:
    power = read_power_log(log(tmp_path, *samples(0, *[400] * 6), *samples(1, *[400] * 6)))
    with pytest.raises(SpecError, match=r"has 2 boards, 0, 1; the replica has 4; choose them with"):
        with_power([RUN], power, 4)
    with pytest.raises(SpecError, match=r"--boards: .*power\.csv has no board '7' \(it has 0, 1\)"):
        with_power([RUN], power, 1, ["7"])


def test_a_log_that_does_not_tell_boards_apart_is_of_one(tmp_path: Path) -> None:
    lines = [f"2026/03/01 12:00:0{s}.000, 450 W" for s in range(6)]
    power = read_power_log(log(tmp_path, *lines, header="timestamp, power.draw [W]"))
    (run,), _ = with_power([RUN], power, 1)
    assert run.power_w == pytest.approx(450.0)
    with pytest.raises(SpecError, match=r"has no column that tells boards apart; .* has 2; log one of index"):
        with_power([RUN], power, 2)


def test_runs_that_do_not_match_the_log_are_refused(tmp_path: Path) -> None:
    power = read_power_log(log(tmp_path, *samples(0, *[400] * 6)))
    late = Run(**{**vars(RUN), "start_s": NOON_S + 3600, "end_s": NOON_S + 3700})
    with pytest.raises(
        SpecError, match=r"runs\.csv:2: fewer than 3 samples of power from 2026-03-01 13:00:00 to .* 11:59:58"
    ):
        with_power([late], power, 1)
    with pytest.raises(
        SpecError, match=r"runs\.csv:2: nothing says when it ran, which --power-log needs; give 'start'"
    ):
        with_power([Run(**{**vars(RUN), "start_s": None})], power, 1)
    with pytest.raises(
        SpecError, match=r"runs\.csv:2: gives its power, and so does --power-log; leave one of them out"
    ):
        with_power([Run(**{**vars(RUN), "power_w": 400.0})], power, 1)
