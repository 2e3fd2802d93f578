"""Clock laws from sweeps: half of a sweep predicts the other half, and the command writes what a scenario finds."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.files import entry_text
from tokenfleet.envs.fitting.__main__ import main
from tokenfleet.envs.fitting.clock_law import Sweep, best_clock, fit_clock_law
from tokenfleet.envs.fitting.clock_sweep import read_sweeps
from tokenfleet.envs.layers.gpu import load_gpu

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_hardware" / "clocks.csv"


@pytest.fixture
def sweep():
    """Perseus's A40 under its limit of 300 W, which binds at the 11 highest of 30 clocks."""
    (found,) = read_sweeps(EXAMPLE, load_gpu("a40"), 1740.0)
    return found


def test_half_of_a_sweep_predicts_the_other_half(sweep):
    times, watts = fit_clock_law([sweep.at(slice(0, None, 2))]).errors([sweep.at(slice(1, None, 2))])
    assert np.abs(times).mean() < 0.01
    assert np.abs(watts).mean() < 0.02


def test_the_clock_of_the_least_energy_is_found(sweep):
    time_s, power_w = fit_clock_law([sweep.at(slice(0, None, 2))]).predicted(sweep)
    assert sweep.clock_fraction[(time_s * power_w).argmin()] == pytest.approx(best_clock(sweep), abs=0.05)


def test_times_stop_changing_where_the_limit_holds_the_clock(sweep):
    time_s, power_w = fit_clock_law([sweep]).predicted(sweep)
    held = power_w > 0.999 * power_w.max()
    assert 8 < held.sum() < 14
    assert np.ptp(time_s[held]) < 1e-6
    assert np.all(np.diff(time_s[~held]) < 0)


def test_a_sweep_of_power_limits_tells_the_law_too():
    """The law of the A40 at eight limits and one clock; a fit to what it says of them says the same."""
    clock = np.ones(8)
    (sweep,) = read_sweeps(EXAMPLE, load_gpu("a40"))
    law = fit_clock_law([sweep])
    limits = Sweep(sweep.job, clock, np.linspace(150.0, 290.0, 8), clock, clock)
    time_s, power_w = law.predicted(limits)
    assert np.all(np.diff(time_s) < 0)
    assert np.all(np.diff(power_w) > 0)
    again = fit_clock_law([Sweep(sweep.job, clock, limits.limit_w, time_s, power_w)])
    found_s, found_w = again.predicted(limits)
    np.testing.assert_allclose(found_s, time_s, rtol=0.01)
    np.testing.assert_allclose(found_w, power_w, rtol=0.01)


def test_the_command_writes_the_law_of_a_board(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with gzip.open("sweep.csv.gz", "wb") as file:
        file.write(EXAMPLE.read_bytes())
    command = "clocks sweep.csv.gz --gpu a40 --own-gpu my-a40 --top-clock-mhz 1740 --out mine"
    assert main(command.split()) == 0
    board = load_gpu("my-a40", ["mine"])
    assert board.compute_memory_fraction == pytest.approx(0.41, abs=0.03)
    assert board.limit_w == pytest.approx(297.0, abs=3.0)
    assert board.voltage_floor_fraction == pytest.approx(0.62, abs=0.03)
    assert any("sweep.csv.gz" in source for source in board.sources)
    assert "wrote mine/gpu/my-a40.yaml" in capsys.readouterr().out


def test_a_board_that_draws_more_than_its_data_sheet_had_its_limit_raised(tmp_path, monkeypatch, capsys):
    """The example as if its board were rated at 200 W: what it draws at most is taken for its limit."""
    monkeypatch.chdir(tmp_path)
    Path("mine/gpu").mkdir(parents=True)
    text = entry_text({**load_entry("gpu", "a40"), "name": "small", "tdp_w": 200.0})
    Path("mine/gpu/small.yaml").write_text(text, encoding="utf-8")
    command = f"clocks {EXAMPLE} --gpu small --own-gpu my-a40 --top-clock-mhz 1740 --catalog mine --out mine"
    assert main(command.split()) == 0
    board = load_gpu("my-a40", ["mine"])
    assert board.tdp_w == pytest.approx(300.0, abs=3.0)
    assert board.limit_w == pytest.approx(297.0, abs=3.0)
    assert board.voltage_floor_fraction == pytest.approx(0.62, abs=0.03)
    assert "is above the 200 W of small; tdp_w of the entry says so" in capsys.readouterr().out


def test_units_are_taken_by_their_names_and_an_empty_cell_says_nothing(tmp_path):
    gpu = load_gpu("a40")
    rows = [line.split(",") for line in EXAMPLE.read_text().split()]
    assert rows[0] == ["clock_mhz", "time_ms", "energy_j"]
    lines = ["Clock [GHz],power_limit_w,Time (s),note,energy_kj"]
    for clock, time_ms, joules in rows[1:]:
        lines.append(f"{float(clock) / 1e3!r},,{float(time_ms) / 1e3!r},,{float(joules) / 1e3!r}")
    path = tmp_path / "sweep.csv"
    path.write_text("\n".join(lines))
    (plain,), (other,) = read_sweeps(EXAMPLE, gpu), read_sweeps(path, gpu)
    for name in ("clock_fraction", "limit_w", "time_s", "power_w"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name))


def test_many_jobs_are_fitted_together(sweep):
    """Each has its own time and watts; the board's law is one."""
    sizes = (1.0, 1.3, 1.7, 2.0)
    jobs = [replace(sweep, job=f"job {size:g}", time_s=size * sweep.time_s) for size in sizes]
    law, alone = fit_clock_law(jobs), fit_clock_law([sweep])
    time_s, power_w = alone.predicted(sweep)
    for size, job in zip(sizes, jobs, strict=True):
        found_s, found_w = law.predicted(job)
        np.testing.assert_allclose(found_s, size * time_s, rtol=0.01)
        np.testing.assert_allclose(found_w, power_w, rtol=0.02)


@pytest.mark.parametrize(("table", "says"), [
    ("clock_mhz,time_s\n1000,1\n", "a point needs power_w or energy_j"),
    ("clock_mhz,time,power_w\n1000,1,100\n", "column 'time' has no unit; call it time_s"),
    ("clock_mhz,time_s,power_w\n1000,1,100\n", "has 1 points; a sweep needs 4"),
    ("clock_mhz,time_s,power_w\n1000,-1,100\n", "time_s: must be a number above 0 (got '-1')"),
])  # fmt: skip
def test_a_mistake_is_answered_in_words(table, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("sweep.csv").write_text(table)
    assert main(["clocks", "sweep.csv", "--gpu", "a40", "--own-gpu", "my-a40", "--out", "mine"]) == 2
    assert says in capsys.readouterr().err
    assert not Path("mine").exists()
