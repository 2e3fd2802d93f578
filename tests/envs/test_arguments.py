"""Parts of one's own, and what is answered to arguments, options and actions that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import ENGINE
from tests.envs.batches import assert_same, batch, random_actions
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.interface.reward import NetValue
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv


def test_a_batch_that_was_never_reset_says_so() -> None:
    envs = batch(2)
    with pytest.raises(RuntimeError, match="reset every fleet before the first step"):
        envs.step(np.zeros(envs.action_space.shape))
    with pytest.raises(RuntimeError, match="reset every fleet"):
        envs.reset(options={"reset_mask": np.array([True, False])})


def test_actions_are_checked() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="NaN"):
        envs.step(np.full(envs.action_space.shape, np.nan))
    with pytest.raises(ValueError, match=r"actions: must be as many as fleets, 2 \(got 3\)"):
        envs.step(np.zeros((3, *envs.single_action_space.shape)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, r"split: unknown split 'trian'; did you mean 'train'\?"),
        ({"engine": "nativ"}, r"engine: unknown engine 'nativ'; did you mean 'native'\?"),
        ({"num_envs": 0}, r"num_envs: must be a positive integer \(got 0\)"),
        ({"num_envs": 2.0}, r"num_envs: must be a positive integer \(got 2.0\)"),
        ({"threads": -1}, r"threads: must be a positive integer \(got -1\)"),
        ({"render_mode": "rgb"}, r"render_mode: unknown mode 'rgb'; did you mean 'rgb_array'\?"),
        ({"autoreset_mode": "NextStop"}, r"autoreset_mode: unknown mode 'NextStop'; did you mean 'NextStep'\?"),
        ({"observation": ["cap"]}, r"observation: unknown field 'cap'; did you mean 'cap_w'\?"),
        ({"observation": "nowhere:Thing"}, r"cannot import 'nowhere:Thing' .*; write 'module:Class'"),
        ({"observation": "nowhere"}, r"observation: unknown name 'nowhere' .*, or 'module:Class'"),
        ({"action": "builtins:repr"}, "action=builtins:repr: gives str, which must have"),
        ({"reward_weights": {"energy": 2}}, r"reward_weights.energy: unknown term; did you mean 'energy_usd'\?"),
        ({"reward_weights": {"energy_usd": np.inf}}, r"reward_weights.energy_usd: must be a finite number \(got inf\)"),
        ({"reward": lambda outcome, price: {"x": 1.0}}, r"term 'x' \[N\] must be a numpy array"),
        ({"reward": lambda outcome, price: np.zeros(1)}, "must give a dict of terms"),
        ({"scenario": "tinny"}, r"did you mean 'tiny'\?"),
        ({"overrides": {"horizon_tick": 3}}, r"scenario.horizon_tick: unknown key; did you mean 'horizon_ticks'\?"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FleetVectorEnv(**{"scenario": "tiny", "num_envs": 2, "engine": ENGINE, **arguments})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spilt": "test"}, r"options.spilt: unknown option; did you mean 'split'\?"),
        ({"split": "tests"}, r"options.split: unknown split 'tests'; did you mean 'test'\?"),
        ({"reset_mask": [True, False]}, "options.reset_mask: must be a bool array"),
        ({"reset_mask": np.zeros(2, bool)}, "with a True in it"),
    ],
)
def test_mistaken_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        batch(2).reset(options=options)


class EnergyOnly:
    """A user's reward."""

    def __init__(self, scenario: Scenario) -> None:
        self.sites = len(scenario.sites)

    def __call__(self, outcome: Record, price_usd_per_mwh: np.ndarray) -> dict[str, np.ndarray]:
        return {"energy_kwh": -outcome["energy_j"].sum(axis=1) / 3.6e6}


def energy_only(outcome: Record, price_usd_per_mwh: np.ndarray) -> dict[str, np.ndarray]:
    return {"energy_kwh": -outcome["energy_j"].sum(axis=1) / 3.6e6}


@pytest.mark.parametrize(
    "reward", [EnergyOnly, energy_only, "tests.envs.test_arguments:EnergyOnly", "tests.envs.test_arguments:energy_only"]
)
def test_a_reward_of_ones_own(reward: Any) -> None:
    envs = batch(2, reward=reward, reward_weights={"energy_kwh": 0.5})
    envs.reset(seed=0)
    _, rewards, _, _, info = envs.step(random_actions(envs, 1)[0])
    assert list(info["reward_terms"]) == ["energy_kwh", "_energy_kwh"]
    reference_usd = envs.scenario.reference_revenue_usd_per_s * envs.scenario.tick_s
    np.testing.assert_allclose(rewards, 0.5 * info["reward_terms"]["energy_kwh"] / reference_usd)
    assert (rewards < 0).all()


def only_caps(scenario: Scenario) -> FleetObservation:
    return FleetObservation(scenario, ["cap_w"])


@pytest.mark.parametrize("observation", [["cap_w"], only_caps, "tests.envs.test_arguments:only_caps"])
def test_an_observation_of_ones_own(observation: Any) -> None:
    envs = batch(2, observation=observation)
    assert envs.reset(seed=0)[0].shape == (2, 1)
    assert envs.single_observation_space.shape == (1,)


def test_weights_and_parts_given_as_objects() -> None:
    plain = batch(2)
    parts = {"observation": plain.observation_model, "action": plain.action_model, "reward": NetValue(plain.scenario)}
    same = batch(2, **parts, reward_weights={"energy_usd": 1.0})
    assert same.observation_model is plain.observation_model
    assert_same(plain.reset(seed=0)[0], same.reset(seed=0)[0])
    actions = random_actions(plain, 1)[0]
    assert_same(plain.step(actions), same.step(actions))
