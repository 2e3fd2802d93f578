"""Processes that run episodes: how many fleets they hold, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.screen.rollouts import ROWS, Workers, rows_at_once


def _lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_workers_end_with_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.evaluation.screen.idle_workers"], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30.0
    while any(map(_lives, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(_lives, pids))


def test_a_worker_that_something_else_has_ended_is_told_in_one_line() -> None:
    with pytest.raises(SpecError, match="workers: one of 2 processes was ended from outside"), Workers(2) as workers:
        workers.map(os._exit, [9])


@pytest.mark.parametrize(("name", "rows"), [("default", ROWS), ("campus", 35), ("grid-scale", 19)])
def test_large_fleets_are_fewer_side_by_side(name: str, rows: int) -> None:
    assert rows_at_once(load_scenario(name)) == rows
