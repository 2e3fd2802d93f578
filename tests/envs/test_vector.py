"""The batched environment is N single ones, to the bit: seeds, autoreset, infos, metrics."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.conftest import ENGINE
from tests.envs.batches import SHORT, assert_same, batch, random_actions, structure, unmasked
from tests.envs.scenarios import FRAGILE, TWO_ROUTES
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.fleet import FleetEnv


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
def test_a_fleet_does_the_same_in_any_batch(others: int) -> None:
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


def test_the_step_that_only_resets_is_worth_nothing() -> None:
    envs = batch(4, overrides=FRAGILE, reward=lambda outcome, price: {"one": np.ones(len(price))})
    envs.reset(seed=0)
    restarting = np.zeros(4, bool)
    for actions in np.abs(random_actions(envs, 30)):
        _, rewards, terminations, truncations, info = envs.step(actions)
        assert ((rewards == 0.0) == restarting).all()
        assert (info["reward_terms"]["one"] == ~restarting).all()
        restarting = terminations | truncations


def test_splits_are_drawn_from_apart_and_last() -> None:
    envs = batch(1, autoreset_mode="SameStep")
    for split in ("train", "validation", "test"):
        envs.reset(seed=0, options={"split": split})
        assert envs.split == split
        for actions in random_actions(envs, 5):
            envs.step(actions)
        assert envs.split == split
        after = sample_episode(envs.scenario, envs.episode_seeds[0], split)  # drawn by the automatic reset
        np.testing.assert_array_equal(envs.episodes[0].requests.arrival_s, after.requests.arrival_s)
