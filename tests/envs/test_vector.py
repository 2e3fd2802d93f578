"""The batched environment is N single ones, to the bit: seeds, autoreset, infos, state."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.conftest import ENGINE
from tests.envs.scenarios import FRAGILE, TWO_ROUTES
from tokenfleet.envs.fields import Record
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.interface.reward import NetValue
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv

SHORT = {**TWO_ROUTES, "horizon_ticks": 5}


def batch(num_envs: int = 3, **arguments: Any) -> FleetVectorEnv:
    return FleetVectorEnv("tiny", num_envs, **{"engine": ENGINE, "overrides": SHORT, **arguments})


def random_actions(envs: FleetVectorEnv, ticks: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (ticks, *envs.action_space.shape)).astype(np.float32)


def assert_same(left: Any, right: Any, where: str = "") -> None:
    """Equal in structure, dtype and every bit; NaN equals NaN."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, tuple) or (isinstance(left, np.ndarray) and left.dtype == object):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype, where
        np.testing.assert_array_equal(left, right, err_msg=where)
    else:
        assert left == right, where


def unmasked(info: dict[str, Any]) -> dict[str, Any]:
    """Batched infos without their masks."""
    values = {key: value for key, value in info.items() if not key.startswith("_")}
    return {key: unmasked(value) if isinstance(value, dict) else value for key, value in values.items()}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("overrides", [SHORT, FRAGILE], ids=["episodes end together", "episodes end apart"])
def test_a_batch_is_gymnasiums_vector_of_single_environments(mode: AutoresetMode, overrides: dict[str, Any]) -> None:
    ours = batch(4, overrides=overrides, autoreset_mode=mode, ledgers=True)
    single = [lambda: FleetEnv("tiny", overrides=overrides, engine=ENGINE, ledgers=True)] * 4
    theirs = SyncVectorEnv(single, autoreset_mode=mode)
    assert theirs.single_observation_space == ours.single_observation_space
    assert theirs.action_space == ours.action_space
    mine, gyms = ours.reset(seed=7), theirs.reset(seed=7)
    assert_same((mine[0], unmasked(mine[1])), (gyms[0], unmasked(gyms[1])))
    endings = set()
    for actions in np.abs(random_actions(ours, 30)):
        mine, gyms = ours.step(actions), theirs.step(actions)
        for left, right in zip(mine[:4], gyms[:4], strict=True):
            assert_same(left, right)
        ended = mine[2] | mine[3]
        # Ours says which fleets have something to tell; a single environment always has zeros to tell.
        assert mine[4]["_episode_metrics"].tolist() == ended.tolist()
        info, gyms_info = unmasked(mine[4]), unmasked(gyms[4])
        if mode is AutoresetMode.SAME_STEP:
            # Ours says what the step brought even where the episode has ended; Gymnasium only in `final_info`.
            for extra in ("reward_terms", "cost", "episode_metrics", "ledger"):
                info.pop(extra, None)
                gyms_info.pop(extra, None)
        assert_same(info, gyms_info)
        endings.add(tuple(ended.tolist()))
    if overrides is FRAGILE:
        assert any(0 < sum(ending) < 4 for ending in endings), "the point of the fragile scenario is to end apart"


def structure(info: dict[str, Any]) -> dict[str, Any]:
    """Keys, with the shape and type under each."""
    return {
        key: structure(value) if isinstance(value, dict) else (np.shape(value), np.asarray(value).dtype, type(value))
        for key, value in info.items()
    }


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_the_infos_of_a_reset_and_of_every_step_have_the_same_structure(mode: AutoresetMode) -> None:
    envs = batch(2, autoreset_mode=mode)
    _, info = envs.reset(seed=0)
    expected = structure(info)
    assert not info["_reward_terms"].any()
    for actions in random_actions(envs, 5 if mode is AutoresetMode.DISABLED else 12):
        assert structure(envs.step(actions)[4]) == expected


def test_in_same_step_mode_the_last_tick_is_told_at_the_top_too() -> None:
    envs = batch(2, autoreset_mode="SAME_STEP")
    envs.reset(seed=0)
    for actions in random_actions(envs, 5):
        *_, truncations, info = envs.step(actions)
    assert truncations.all()
    assert_same(info["cost"], info["final_info"]["cost"])
    assert_same(info["reward_terms"], info["final_info"]["reward_terms"])
    assert_same(info["episode_metrics"], info["final_info"]["episode_metrics"])


@pytest.mark.parametrize("others", [1, 2, 9])
def test_a_fleet_lives_the_same_life_in_any_batch(others: int) -> None:
    alone, crowd = batch(1), batch(others + 1)
    actions = random_actions(crowd, 12)
    assert_same(alone.reset(seed=40 + others)[0][0], crowd.reset(seed=40)[0][-1])
    for action in actions:
        one, many = alone.step(action[-1:]), crowd.step(action)
        for left, right in zip(one[:4], many[:4], strict=True):
            assert_same(left[0], right[-1])


def test_threads_change_nothing() -> None:
    if ENGINE != "native":
        pytest.skip("only the native engine has threads")
    one, two = batch(8), batch(8, threads=2)
    assert_same(one.reset(seed=3)[0], two.reset(seed=3)[0])
    for actions in random_actions(one, 12):
        assert_same(one.step(actions), two.step(actions))


def fingerprint(seed: int) -> str:
    envs = batch(2)
    digest = hashlib.sha256(envs.reset(seed=seed)[0].tobytes())
    for actions in random_actions(envs, 7):
        observations, rewards, *_ = envs.step(actions)
        digest.update(observations.tobytes() + rewards.tobytes())
    return digest.hexdigest()


def test_two_processes_agree() -> None:
    command = "from tests.envs.test_vector import fingerprint; print(fingerprint(5))"
    root = Path(__file__).parents[2]
    elsewhere = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=root)
    assert elsewhere.stdout.strip() == fingerprint(5) != fingerprint(6)


def test_seeds_repeat_and_without_one_the_generator_goes_on() -> None:
    envs = batch(2)
    seeds = []
    for seed in (1, None, None, 1, None):
        envs.reset(seed=seed)
        seeds.append(tuple(envs.episode_seeds))
    assert seeds[0] == seeds[3]
    assert seeds[1] == seeds[4]
    assert len({*seeds}) == 3
    assert envs.np_random_seed == (1, 2)
    envs.reset(seed=[2, 1])
    assert envs.episode_seeds == [seeds[0][1], seeds[0][0]]


def test_autoreset_goes_on_with_the_same_generator() -> None:
    by_hand, by_itself = batch(2), batch(2, autoreset_mode="SameStep")
    by_hand.reset(seed=9)
    by_itself.reset(seed=9)
    for actions in random_actions(by_itself, 5):
        by_itself.step(actions)
    by_hand.reset()
    assert by_itself.episode_seeds == by_hand.episode_seeds


def test_disabled_autoreset_waits_for_a_masked_reset() -> None:
    envs = batch(3, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    actions = random_actions(envs, 6)
    for action in actions[:5]:
        before, _, _, truncations, _ = envs.step(action)
    assert truncations.all()
    with pytest.raises(RuntimeError, match=r"fleets \[0, 1, 2\] have ended; reset them"):
        envs.step(actions[5])
    mask = np.array([True, False, True])
    options = {"reset_mask": mask}
    after, info = envs.reset(options=options)
    assert options == {"reset_mask": mask}
    assert_same(after[1], before[1])
    assert info["_route_mask"].tolist() == mask.tolist()
    with pytest.raises(RuntimeError, match=r"fleets \[1\] have ended"):
        envs.step(actions[5])
    envs.reset(options={"reset_mask": ~mask})
    envs.step(actions[5])


def test_a_masked_reset_leaves_the_others_alone() -> None:
    disturbed, left_alone = batch(3), batch(3)
    disturbed.reset(seed=0)
    left_alone.reset(seed=0)
    actions = random_actions(disturbed, 4)
    disturbed.step(actions[0])
    left_alone.step(actions[0])
    disturbed.reset(options={"reset_mask": np.array([False, True, False])})
    for action in actions[1:]:
        mine, theirs = disturbed.step(action), left_alone.step(action)
        assert_same(mine[0][[0, 2]], theirs[0][[0, 2]])
        assert_same(mine[1][[0, 2]], theirs[1][[0, 2]])


def test_only_a_dark_fleet_terminates() -> None:
    envs = batch(4, overrides=FRAGILE, autoreset_mode="SameStep")
    envs.reset(seed=0)
    ended = np.zeros(4, int)
    for actions in np.abs(random_actions(envs, 24)):
        _, _, terminations, truncations, info = envs.step(actions)
        if terminations.any():
            assert (info["episode_metrics"]["trips"][terminations] == 1).all()
        if (truncations & ~terminations).any():
            assert (info["episode_metrics"]["trips"][truncations & ~terminations] == 0).all()
        ended += terminations
    assert ended.sum() > 0


def test_metrics_sum_what_the_steps_told() -> None:
    envs = batch(3, overrides={**TWO_ROUTES, "sites.lab.grid.cap_fraction": 0.55})
    envs.reset(seed=2)
    total: dict[str, np.ndarray] = {}
    for actions in random_actions(envs, 60):
        _, rewards, _, truncations, info = envs.step(actions)
        told = {**info["reward_terms"], "cost": info["cost"], "rewards": rewards}
        total = {name: total.get(name, 0.0) + value for name, value in told.items() if not name.startswith("_")}
    assert truncations.all()
    metrics = info["episode_metrics"]
    np.testing.assert_allclose(metrics["return"], total["rewards"])
    np.testing.assert_allclose(metrics["above_cap_s"], total["cost"])
    np.testing.assert_allclose(metrics["energy_usd"], -total["energy_usd"])
    np.testing.assert_allclose(metrics["penalty_usd"], -total["lost_penalty_usd"])
    net_value_usd = sum(total[name] for name in info["reward_terms"] if not name.startswith("_"))
    np.testing.assert_allclose(metrics["net_value_usd"], net_value_usd)
    reference_usd = envs.scenario.reference_revenue_usd_per_s * envs.scenario.tick_s
    np.testing.assert_allclose(metrics["return"], metrics["net_value_usd"] / reference_usd)
    assert total["cost"].any()
    assert metrics["energy_kwh"].all()


def test_metrics_agree_with_the_request_log() -> None:
    envs = batch(1, autoreset_mode="DISABLED", overrides={})
    envs.reset(seed=2)
    for actions in random_actions(envs, 60):
        *_, info = envs.step(actions)
    log = envs.request_log(0)
    assert len(log.status) == len(envs.episodes[0].requests)
    for status, name in ((1, "completed"), (2, "refused"), (3, "expired")):
        assert info["episode_metrics"][name][0] == (log.status == status).sum()


def test_the_route_mask_follows_the_sleepers() -> None:
    envs = batch(2)
    _, info = envs.reset(seed=0)
    assert info["route_mask"].tolist() == [envs.scenario.route_mask.tolist()] * 2
    actions = np.zeros(envs.action_space.shape, np.float32)
    awake = next(segment for segment in envs.action_model.table if segment.name == "awake_fraction")
    actions[1, awake.first] = -1.0
    *_, info = envs.step(actions)
    assert info["route_mask"][0].tolist() == envs.scenario.route_mask.tolist()
    assert not info["route_mask"][1, :, 0].any()


def test_observations_stay_inside_their_space_and_are_not_reused() -> None:
    envs = batch(4, overrides=FRAGILE)
    observations, _ = envs.reset(seed=0)
    kept = [(observations, observations.copy())]
    for actions in random_actions(envs, 30):
        observations, rewards, _, _, info = envs.step(actions)
        assert observations.dtype == np.float32
        assert envs.observation_space.contains(observations)
        assert rewards.dtype == np.float64
        assert np.isfinite(rewards).all()
        kept += [(observations, observations.copy()), (rewards, rewards.copy()), (info, copy.deepcopy(info))]
    for given, at_the_time in kept:
        assert_same(given, at_the_time)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_state_restores_exactly(mode: AutoresetMode) -> None:
    overrides = SHORT if mode is AutoresetMode.DISABLED else FRAGILE
    envs = batch(4, overrides=overrides, autoreset_mode=mode)
    envs.reset(seed=11, options={"split": "validation"})
    actions = np.abs(random_actions(envs, 60))
    played = 3 if mode is AutoresetMode.DISABLED else 17
    for action in actions[:played]:
        envs.step(action)
    state = envs.get_state()
    # An ended episode of the `played` ticks is told again at its end, sums included.
    future = [envs.step(action) for action in actions[played : played + (2 if mode is AutoresetMode.DISABLED else 30)]]
    others = batch(4, overrides=overrides, autoreset_mode=mode), copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))
    for other in others:
        other.set_state(state)
        for action, expected in zip(actions[played:], future, strict=False):
            assert_same(other.step(action), expected)


def test_a_state_is_plain_data() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    envs.step(random_actions(envs, 1)[0])
    state = envs.get_state()
    plain = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    observations = envs.step(random_actions(envs, 2)[1])[0]
    envs.set_state(plain)
    assert_same(envs.step(random_actions(envs, 2)[1])[0], observations)


def test_a_state_remembers_actions_that_were_overwritten() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    buffer = np.empty(envs.action_space.shape, np.float32)
    for actions in random_actions(envs, 4):
        buffer[:] = actions
        observations, *_ = envs.step(buffer)
    assert_same(envs.set_state(envs.get_state()), observations)


def test_the_step_that_only_resets_is_worth_nothing() -> None:
    envs = batch(4, overrides=FRAGILE, reward=lambda outcome, price: {"one": np.ones(len(price))})
    envs.reset(seed=0)
    restarting = np.zeros(4, bool)
    for actions in np.abs(random_actions(envs, 30)):
        _, rewards, terminations, truncations, info = envs.step(actions)
        assert ((rewards == 0.0) == restarting).all()
        assert (info["reward_terms"]["one"] == ~restarting).all()
        restarting = terminations | truncations


def test_a_state_of_another_batch_is_refused() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="the state holds 2 fleets, the environment 3"):
        batch(3).set_state(envs.get_state())


def test_splits_are_drawn_from_apart_and_last() -> None:
    envs = batch(1, autoreset_mode="SameStep")
    starts = {}
    for split in ("train", "validation", "test"):
        starts[split] = envs.reset(seed=0, options={"split": split})[0]
        assert envs.split == split
        for actions in random_actions(envs, 5):
            envs.step(actions)
        assert envs.split == split
        starts[f"{split} stepped"] = envs.episodes[0].requests.arrival_s
    assert len({len(arrivals) for name, arrivals in starts.items() if "stepped" in name}) > 1


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
    with pytest.raises(ValueError, match=r"2 fleets need as many actions \(got 3\)"):
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
        ({"action": "builtins:repr"}, "action=builtins:repr: gives str, which lacks"),
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
    "reward", [EnergyOnly, energy_only, "tests.envs.test_vector:EnergyOnly", "tests.envs.test_vector:energy_only"]
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


@pytest.mark.parametrize("observation", [["cap_w"], only_caps, "tests.envs.test_vector:only_caps"])
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
