"""Processes that run episodes do not outlive their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest


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
