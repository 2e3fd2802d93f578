"""docs/policies.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.estimates.power_model import extreme_batches
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.policies.registry import POLICIES

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_page_counts_the_vertices() -> None:
    batches = extreme_batches(FleetArrays.from_scenario(load_scenario("tiny")), 0)
    assert re.findall(r"(\d+) vertices", PAGE) == [str(len(batches.decoding))]


def test_the_page_lists_references_and_baselines() -> None:
    groups = dict(re.findall(r"^\| `(\w+)` \| (reference|baseline) \|", PAGE, re.M))
    assert groups == {n: p.group for n, p in POLICIES.items() if p.group in ("reference", "baseline")}


def test_the_example_plays_eight_episodes_to_their_end() -> None:
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "make_policy" in block)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/policies.md", "exec"), names)
    assert names["starts"].tolist() == [True] * 8
