"""The examples of docs/power-money.md are scenarios, and every quantity that the page names exists."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.test_data import dotted
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.events import EventCard

PAGE = (Path(__file__).parents[2] / "docs" / "power-money.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_draws_episodes(example: dict[str, Any]) -> None:
    agreements = {
        f"classes.{name}.{key}": part for name, cls in example.pop("classes", {}).items() for key, part in cls.items()
    }
    scenario = load_scenario("default", {**dotted(example), **agreements})
    assert len(sample_episode(scenario, 0).requests) > 0


def test_the_columns_of_a_scorecard_are_named() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.split("## How a call was answered")[1]))
    told = {field.name for field in fields(EventCard)} - {
        "policy",
        "seed",
        "site",
        "event",
        "notice_s",
        "start_s",
        "end_s",
    }
    assert told <= named
