"""Fleet-v0 is a Gymnasium environment like any other: checkers, registry, seeds, copies."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import tokenfleet
from tests.conftest import ENGINE
from tests.envs.batches import structure
from tokenfleet.envs import FleetEnv, FleetVectorEnv
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import SpecError

ENV_ID = "tokenfleet:tokenfleet/Fleet-v0"
CLASSES = ("chat-8b", "chat-70b", "batch-8b")
PRICES = ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
SCENARIOS = ("tiny", "default", "burst")


def make(**arguments: object) -> FleetEnv:
    return FleetEnv(**{"scenario": "tiny", "engine": ENGINE, **arguments})


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gymnasiums_checker_has_nothing_to_say(scenario: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(ENV_ID, scenario=scenario, engine=ENGINE).unwrapped)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_sb3s_checker_has_nothing_to_say(scenario: str) -> None:
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(make(scenario=scenario), warn=True)


def test_make_gives_the_single_environment_and_make_vec_the_batch() -> None:
    env = gymnasium.make(ENV_ID, scenario="tiny", engine=ENGINE)
    assert isinstance(env.unwrapped, FleetEnv)
    envs = gymnasium.make_vec(ENV_ID, num_envs=4, scenario="tiny", engine=ENGINE)
    assert isinstance(envs, FleetVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    again = gymnasium.make_vec(envs.spec)
    assert again.num_envs == 4
    np.testing.assert_array_equal(envs.reset(seed=0)[0], again.reset(seed=0)[0])
    assert isinstance(gymnasium.make_vec(ENV_ID, 2, "sync", scenario="tiny", engine=ENGINE), SyncVectorEnv)


@pytest.mark.parametrize("module", ["tokenfleet.envs", "tokenfleet"])
def test_the_id_works_in_a_fresh_interpreter(module: str) -> None:
    if module == "tokenfleet" and getattr(tokenfleet, "__file__", None) is None:
        pytest.skip("the installed tokenfleet has no top-level module")
    command = f"import gymnasium; gymnasium.make('{module}:tokenfleet/Fleet-v0', scenario='tiny', engine='{ENGINE}')"
    subprocess.run([sys.executable, "-W", "error", "-c", command], check=True)


def test_the_import_is_light() -> None:
    heavy = ("torch", "stable_baselines3", "hydra", "matplotlib", "pandas", "pyarrow", "scipy")
    command = f"import sys, tokenfleet.envs; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_plain_envs_is_refused() -> None:
    root = Path(__file__).parents[2]
    tried = subprocess.run([sys.executable, "-c", "import envs"], capture_output=True, text=True, check=False, cwd=root)
    assert "import tokenfleet.envs, not envs" in tried.stderr


def test_an_episode_is_truncated_at_the_horizon_and_told() -> None:
    env = make()
    env.action_space.seed(0)
    _, info = env.reset(seed=0)
    for tick in range(env.scenario.horizon_ticks):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert isinstance(reward, float)
        assert not terminated
        assert truncated == (tick == env.scenario.horizon_ticks - 1)
        assert any(info["episode_metrics"].values()) == truncated
        assert set(info["reward_terms"]) == {"token_revenue_usd", "late_revenue_usd", "lost_penalty_usd", "energy_usd"}
        assert info["cost"] in (0.0, env.scenario.tick_s)
        assert info["route_mask"].shape == env.scenario.route_mask.shape
    assert all(isinstance(value, float) for value in info["episode_metrics"].values())
    with pytest.raises(RuntimeError, match="the episode has ended; reset the environment"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("scenario", ["tiny", "budget-squeeze", "demand-response-day", "heatwave", "split-serving"])
def test_random_play_stays_in_the_space_and_its_infos_keep_their_structure(scenario: str) -> None:
    env = make(scenario=scenario, overrides={"horizon_ticks": 20})
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    first = structure(info)
    truncated = False
    while not truncated:
        assert env.observation_space.contains(observation)
        observation, _, _, truncated, info = env.step(env.action_space.sample())
        assert structure(info) == first
    assert info["episode_metrics"]["energy_kwh"] > 0.0


def test_an_observation_goes_as_far_below_zero_as_its_space() -> None:
    env = make(overrides={"sites.lab.grid.price_usd_per_mwh": -9000.0})
    observation, _ = env.reset(seed=0)
    assert observation.min() == env.observation_space.low.min() < 0.0


def test_the_reward_is_the_terms_over_the_reference() -> None:
    env = make()
    env.reset(seed=0)
    for _ in range(10):
        _, reward, _, _, info = env.step(np.zeros(env.action_space.shape, np.float32))
        net_value_usd = sum(info["reward_terms"].values())
        assert reward == pytest.approx(net_value_usd / env.scenario.reference_revenue_usd_per_s)


class AlreadyScaled:
    """A reward in units of its own."""

    reward_scale = 1.0

    def __call__(self, outcome: Record, price_usd_per_mwh: np.ndarray) -> dict[str, np.ndarray]:
        return {"two": np.full(len(price_usd_per_mwh), 2.0)}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"reward": AlreadyScaled()}, 2.0),
        ({"reward": AlreadyScaled(), "reward_scale": 4}, 0.5),
        ({"reward": lambda outcome, price: {"two": np.full(len(price), 2.0)}, "reward_scale": 0.1}, 20.0),
        (
            {
                "reward": AlreadyScaled(),
                "overrides": {f"classes.{name}.{key}": 0.0 for name in CLASSES for key in PRICES},
            },
            2.0,
        ),
    ],
)
def test_a_reward_of_ones_own_is_scaled_as_it_says(arguments: dict[str, object], expected: float) -> None:
    env = make(**arguments)
    env.reset(seed=0)
    assert env.step(env.action_space.sample())[1] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [0.0, -1, float("nan"), True, "revenue"])
def test_a_scale_that_is_no_positive_number_is_refused(scale: object) -> None:
    with pytest.raises(SpecError, match="reward_scale: must be a positive number or 'reference_revenue'"):
        make(reward_scale=scale)


def test_good_service_is_worth_about_one() -> None:
    """The unit of reward: serving everything within its SLO earns 1 a tick, less electricity."""
    env = make(overrides={"sites.lab.grid.cap_fraction": 1.0, "sites.lab.grid.demand_response": []})
    rewards = []
    for seed in range(5):
        env.reset(seed=seed)
        for _ in range(env.scenario.horizon_ticks):
            rewards.append(env.step(np.ones(env.action_space.shape, np.float32))[1])
    assert 0.7 < np.mean(rewards) < 1.05


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_lives_on_alike_and_apart(copied: object) -> None:
    env = make(overrides={"horizon_ticks": 8})
    env.reset(seed=4)
    actions = np.random.default_rng(0).uniform(-1, 1, (11, *env.action_space.shape)).astype(np.float32)
    for action in actions[:5]:
        env.step(action)
    other = copied(env)
    for one in (env, other):
        one.rewards = [one.step(action)[1] for action in actions[5:8]]
        one.reset()
    assert env.rewards == other.rewards
    assert env.batch.episode_seeds == other.batch.episode_seeds
    assert env.np_random is env.batch.generators[0]
    assert other.np_random is other.batch.generators[0]
    assert env.np_random is not other.np_random


def test_a_copy_before_the_first_reset_works() -> None:
    env, other = make(), pickle.loads(pickle.dumps(make()))
    np.testing.assert_array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0])
    assert env.batch.episode_seeds == other.batch.episode_seeds


def test_state_restores_the_generator_too() -> None:
    env = make(overrides={"horizon_ticks": 8})
    env.action_space.seed(0)
    env.reset(seed=4)
    env.step(env.action_space.sample())
    state = env.get_state()
    following = []
    for _ in range(2):
        env.reset()
        following.append(list(env.batch.episode_seeds))
    env.set_state(state)
    for expected in following:
        env.reset()
        assert env.batch.episode_seeds == expected


def test_mistakes_reach_the_user() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'train'\?"):
        gymnasium.make(ENV_ID, scenario="tiny", split="trian")
    with pytest.raises(SpecError, match=r"options.splt: unknown option; did you mean 'split'\?"):
        make().reset(options={"splt": "test"})
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.full(env.action_space.shape, np.nan, np.float32))
    with pytest.raises(ValueError, match="must be numbers of shape"):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(RuntimeError, match="before the first step"):
        make().step(np.zeros(env.action_space.shape, np.float32))
