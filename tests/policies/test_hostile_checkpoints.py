"""A checkpoint that was made to exhaust its reader is refused in words, within a bound of memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT
from tests.policies.hostile import HOSTILE, SOUND, Reading, build


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """What came of reading each, in processes whose address space is bounded."""
    folder = tmp_path_factory.mktemp("hostile")
    build(folder)
    command = [sys.executable, "-m", "tests.policies.hostile", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return {case: Reading(*values) for case, values in json.loads(done.stdout).items()}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="bounds memory as Linux counts it")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_checkpoint_is_answered_within_bounded_memory(case: str, readings: dict[str, Reading]) -> None:
    refusal = readings[case].refusal
    assert re.search(HOSTILE[case][1], refusal), refusal


def test_the_checkpoint_that_they_were_made_from_is_sound(readings: dict[str, Reading]) -> None:
    assert readings[SOUND].refusal == ""
