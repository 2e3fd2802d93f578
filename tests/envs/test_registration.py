"""Every shipped scenario has an id of its own, and all of them are Gymnasium environments like any other."""

from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from tokenfleet.envs import FleetVectorEnv
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.registration import FLEET_ID, scenario_id
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError

IDS = sorted(name for name in gymnasium.registry if name.startswith("tokenfleet/"))


def test_the_registry_holds_the_catalogue() -> None:
    assert {FLEET_ID, *map(scenario_id, catalog_names("scenario"))} == {*IDS}


@pytest.mark.parametrize("env_id", IDS)
def test_an_id_passes_gymnasiums_checker_and_ends_at_its_horizon(env_id: str) -> None:
    env = gymnasium.make(env_id)
    assert env.spec is not None
    limit = env.spec.max_episode_steps
    assert (limit is None) == (env_id == FLEET_ID)
    assert limit in (None, env.unwrapped.scenario.horizon_ticks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)


def test_a_batch_by_id_is_that_of_its_scenario() -> None:
    names = catalog_names("scenario")
    envs = {name: gymnasium.make_vec(scenario_id(name), 1) for name in names}
    assert [name for name in names if not isinstance(envs[name], FleetVectorEnv)] == []
    assert [name for name in names if envs[name].scenario != load_scenario(name)] == []


def test_the_time_limit_truncates_where_the_fleet_does_and_only_there() -> None:
    env = gymnasium.make("tokenfleet/Tiny-v0")
    assert isinstance(env, TimeLimit)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    steps = [env.step(action) for _ in range(env.unwrapped.scenario.horizon_ticks)]
    assert [truncated for *_, truncated, _ in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1][4]["episode_metrics"]["completed"] > 0.0


def test_an_episode_longer_than_its_id_allows_is_refused() -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        make("tokenfleet/Tiny-v0", overrides={"horizon_ticks": 20})
        with pytest.raises(
            SpecError, match=r"Tiny-v0 ends after 60 steps \(got 61\); make tokenfleet/Fleet-v0 with scen"
        ):
            make("tokenfleet/Tiny-v0", overrides={"horizon_ticks": 61})


def test_a_batch_keeps_a_shorter_time_limit_and_tells_the_metrics() -> None:
    envs = gymnasium.make_vec("tokenfleet/Tiny-v0", 2, max_episode_steps=3)
    envs.reset(seed=0)
    action = np.zeros(envs.action_space.shape, np.float32)
    steps = [envs.step(action) for _ in range(3)]
    assert [truncated.tolist() for *_, truncated, _ in steps] == [[False] * 2, [False] * 2, [True] * 2]
    assert steps[-1][4]["_episode_metrics"].all()


def test_ids_cost_the_import_no_parsing() -> None:
    command = (
        "import tokenfleet.envs.files.yaml_file as yaml_file, tokenfleet.envs; "
        "print(yaml_file._parse.cache_info().misses)"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
