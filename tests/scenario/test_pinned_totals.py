"""Every shipped scenario runs, the same in both engines and for the same seed, and comes to what it came to before."""

import json

import numpy as np
import pytest

from tests.scenario.pinned_totals import PINNED, totals
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario

NAMES = sorted(catalog_names("scenario"))
REFERENCE_TICKS = {"grid-scale": 1}
"""Fewer than 5 where the reference engine takes ten seconds for one."""
every_scenario = pytest.mark.parametrize("name", NAMES)


@every_scenario
def test_the_first_ticks_come_to_the_pinned_totals(name):
    """To see what has moved: python -m tests.scenario.pinned_totals && git diff tests/scenario/pinned_totals.json."""
    assert totals(name) == pytest.approx(json.loads(PINNED.read_text(encoding="utf-8"))[name], rel=1e-6)


@every_scenario
def test_both_engines_agree_on_the_first_ticks(name):
    ticks = REFERENCE_TICKS.get(name, 5)
    assert totals(name, "reference", ticks) == pytest.approx(totals(name, "native", ticks), rel=1e-9)


@every_scenario
def test_every_split_draws_demand_and_caps_of_its_own_and_a_seed_the_same(name):
    scenario = load_scenario(name)
    episodes = [sample_episode(scenario, 0, split) for split in ("train", "validation", "test")]
    for episode in episodes:
        assert len(episode.requests) > 0
        assert episode.cap_w.shape == (scenario.horizon_ticks, len(scenario.sites))
        assert np.all(episode.cap_w > 0)
    arrivals = [episode.requests.arrival_s for episode in episodes]
    assert len({tuple(times[:50]) for times in arrivals}) == 3
    np.testing.assert_array_equal(sample_episode(scenario, 0, "test").requests.arrival_s, arrivals[2])


def test_every_scenario_says_what_it_is():
    scenarios = {name: load_scenario(name) for name in NAMES}
    assert [name for name, scenario in scenarios.items() if scenario.name != name] == []
    assert [name for name, scenario in scenarios.items() if len(scenario.description) <= 40] == []
