"""No file takes more than a gigabyte or runs away: it is answered in one line that says what is wrong with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.hostile import CASES, MEMORY_BYTES, Case

ROOT = Path(__file__).parents[2]
LONGEST_ANSWER = 600

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits are set and read as on Linux")


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, Any]]:
    """What reading each file came to, in a process of its own with 1 GiB to spare."""
    command = [sys.executable, "-m", "tests.bad_input.hostile", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {cost["file"]: cost for cost in json.loads(done.stdout)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_hostile_file_is_answered_in_one_line(case: Case, costs: dict[str, dict[str, Any]]) -> None:
    cost = costs[case.file]
    assert cost["kind"] == "SpecError", cost
    assert re.search(case.answer, cost["problem"]), cost
    assert case.file in cost["problem"]
    assert "\n" not in cost["problem"]
    assert len(cost["problem"]) < LONGEST_ANSWER
    assert cost["peak_bytes"] < MEMORY_BYTES
