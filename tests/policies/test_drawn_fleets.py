"""Fleets of any size behind one observation and one action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.scenario.generator import draw_scenario, load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.policies.generalist.base import supervisor_entries
from tokenfleet.policies.generalist.drawn_fleets import DrawnFleetsEnv
from tokenfleet.policies.generalist.slots import Slots

RANGES = load_ranges("generalist")


def rewards(env: DrawnFleetsEnv, seed: int, action: Any) -> list[float]:
    """Of twelve decisions that are all the same."""
    env.reset(seed=seed)
    return [env.step(np.asarray(action, np.float32))[1] for _ in range(12)]


def test_gymnasium_finds_nothing_wrong() -> None:
    check_env(DrawnFleetsEnv(fleets=3), skip_render_check=True)


@pytest.mark.parametrize("split", SPLITS)
def test_every_fleet_has_a_slot_for_each_of_its_entities(split: Any) -> None:
    slots = Slots.of_ranges(RANGES)
    for index in range(60):
        fleet = draw_scenario(RANGES, split, index)
        assert len(fleet.sites) <= slots.sites
        assert len(fleet.pools) <= slots.pools
        assert len(fleet.classes) <= slots.classes


def test_fleets_of_other_sizes_share_the_spaces() -> None:
    env, sizes = DrawnFleetsEnv(split="test", fleets=30), set()
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        sizes.add(int(observation["pool_mask"].sum()))
        assert observation["pool_site"].sum() == observation["pool_mask"].sum()
        assert not observation["pools"][observation["pool_mask"] == 0.0].any()
    assert len(sizes) > 2


def test_zero_is_the_supervisor() -> None:
    env = DrawnFleetsEnv(fleets=4)
    env.reset(seed=3)
    assert env.fleet is not None
    alone = FleetEnv(env.fleet, split="train", action="setpoints")
    rng = np.random.default_rng(3)
    rng.integers(4)
    alone.reset(seed=int(rng.integers(2**31)))
    held = supervisor_entries(env.fleet).astype(np.float32)
    expected = [alone.step(held)[1] for _ in range(12)]
    assert rewards(env, 3, np.zeros(env.slots.width)) == expected


def test_an_entry_acts_if_and_only_if_its_mask_says_so() -> None:
    env, rng = DrawnFleetsEnv(fleets=4), np.random.default_rng(0)
    observation, _ = env.reset(seed=1)
    empty = observation["action_mask"] == 0.0
    assert 0 < empty.sum() < len(empty)
    nothing = rewards(env, 1, np.zeros(len(empty)))
    noise = rng.uniform(-1, 1, len(empty))
    assert rewards(env, 1, np.where(empty, noise, 0.0)) == nothing
    assert rewards(env, 1, np.where(empty, 0.0, noise)) != nothing


def test_a_seed_tells_the_fleet_and_the_episode() -> None:
    first, second = DrawnFleetsEnv(fleets=8), DrawnFleetsEnv(fleets=8)
    second.reset(seed=99)
    zeros = np.zeros(first.slots.width)
    assert [rewards(first, seed, zeros) for seed in (0, 5)] == [rewards(second, seed, zeros) for seed in (0, 5)]


def test_a_split_that_there_is_not_and_no_fleet_are_refused() -> None:
    wrong: dict[str, Any] = {"split": "tset", "fleets": 0}
    with pytest.raises(SpecError) as refused:
        DrawnFleetsEnv(**wrong)
    split, fleets = refused.value.problems
    assert split.startswith("split: unknown split 'tset'; did you mean 'test'?")
    assert fleets == "fleets: must be a whole number of at least 1 (got 0)"


def test_an_action_of_another_shape_is_refused() -> None:
    env = DrawnFleetsEnv(fleets=1)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action must be numbers of shape \[\d+\] \(got shape \[3\]\)"):
        env.step(np.zeros(3, np.float32))
