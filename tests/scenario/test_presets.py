"""Every world that ships runs, the same in both engines and for the same seed, and comes to what it came to before."""

import json

import numpy as np
import pytest

from tests.scenario.preset_totals import PINNED, totals
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario

NAMES = sorted(catalog_names("scenario"))
pytestmark = pytest.mark.parametrize("name", NAMES)


def test_the_first_ticks_come_to_the_pinned_totals(name):
    """To see what has moved: python -m tests.scenario.preset_totals && git diff tests/scenario/preset_totals.json."""
    assert totals(name) == pytest.approx(json.loads(PINNED.read_text(encoding="utf-8"))[name], rel=1e-6)


def test_both_engines_agree_on_the_first_ticks(name):
    assert totals(name, "reference", ticks=5) == pytest.approx(totals(name, "native", ticks=5), rel=1e-9)


def test_a_world_says_what_it_is(name):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert len(scenario.description) > 40 or name == "tiny"


def test_splits_see_different_demand_and_a_seed_the_same(name):
    scenario = load_scenario(name)
    arrivals = [sample_episode(scenario, 0, split).requests.arrival_s for split in ("train", "validation", "test")]
    assert len({tuple(times[:50]) for times in arrivals}) == 3
    np.testing.assert_array_equal(sample_episode(scenario, 0, "test").requests.arrival_s, arrivals[2])
