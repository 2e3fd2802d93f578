"""A policy is scored on episodes like those that it was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.splits import SPLITS
from tokenfleet.evaluation.offered import QUANTITIES, differences, offered

EPISODES = 256
LARGE = dict.fromkeys(("campus", "chat-city", "grid-scale"), 64)
"""Fewer episodes where one has tens or hundreds of thousands of requests: their means vary less."""


@pytest.mark.parametrize("name", sorted(catalog_names("scenario")))
def test_splits_offer_alike(name):
    """Within 3 % and twice the standard error of so many episodes; `python -m tools.split_loads` prints the table."""
    scenario = load_scenario(name)
    of_split = {split: offered(scenario, split, LARGE.get(name, EPISODES)) for split in SPLITS}
    difference, error = differences(of_split)
    too_far = np.abs(difference) > 0.03 + 2.0 * error
    assert [(SPLITS[s], QUANTITIES[q], float(difference[s, q])) for s, q in np.argwhere(too_far)] == []


@pytest.mark.parametrize("name", ["tiny", "shared-campus"])
def test_what_a_split_offers_are_the_requests_of_its_episodes(name):
    """The hidden regimes of `shared-campus` bring requests that its streams alone do not."""
    scenario = load_scenario(name)
    requests = [len(sample_episode(scenario, seed, "validation").requests) for seed in range(4)]
    assert offered(scenario, "validation", 4)[:, QUANTITIES.index("requests")].tolist() == requests
