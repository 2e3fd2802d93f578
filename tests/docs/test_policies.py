"""docs/policies.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.policies.registry import POLICIES

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
BASELINES = PAGE.split("## The baselines")[1].split("### Routing rules")[0]


def test_the_page_counts_the_vertices() -> None:
    batches = PowerModel(load_scenario("tiny"))._extreme_batches(0)
    assert re.findall(r"(\d+) vertices", PAGE) == [str(len(batches.decoding))]


def test_the_page_lists_the_baselines() -> None:
    assert re.findall(r"^\| `(\w+)` \|", BASELINES, re.M) == list(POLICIES)


@pytest.mark.parametrize("row", re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", BASELINES, re.M))
def test_the_page_says_what_a_baseline_is_made_of(row: tuple[str, str, str]) -> None:
    name, routing, clocking = row
    assert POLICIES[name].parameters == {"routing": routing, "clocking": clocking}


def test_the_example_runs() -> None:
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "make_policy" in block)
    names: dict[str, object] = {}
    exec(compile(example.replace("range(600)", "range(3)"), "docs/policies.md", "exec"), names)
    assert names["rewards"].shape == (8,)  # type: ignore[attr-defined]
