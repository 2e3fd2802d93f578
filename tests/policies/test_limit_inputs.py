"""A limit as an input: every episode draws its own, the policy sees it, and each knot has a price."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.policies.interruptions import assert_same_run, train, train_with_power_cuts
from tests.policies.test_limits import LOW_CAP, TINY, fleets, limited, lived, used_kw, zero_metrics
from tests.policies.toys import job_on, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.limit_inputs import LimitInput
from tokenfleet.policies.learned.limited_env import LimitedEnv
from tokenfleet.policies.learned.limits import LimitsSpec
from tokenfleet.policies.learned.observed_limits import ObservedLimits

KNOTS = [5.0, 10.0, 40.0]


def ranged(num_envs: int, **more: Any) -> LimitedEnv:
    return limited({"above_cap_s": KNOTS}, num_envs, LOW_CAP, **more)


def observed(num_envs: int) -> ObservedLimits:
    env = ranged(num_envs)
    return ObservedLimits(env, env)


def test_knots_lie_evenly_in_what_is_seen() -> None:
    one = LimitInput(name="above_cap_s", knots=tuple(KNOTS))
    assert [one.place(value) for value in (5.0, 7.5, 10.0, 25.0, 40.0)] == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_an_episode_pays_by_the_limit_that_its_observation_tells() -> None:
    free, infos = lived(fleets(6, LOW_CAP), 10)
    env = observed(6)
    limit_env: Any = env.env
    limit_env.multipliers[:] = 0.5, 0.25, 0.0
    observations, _ = env.reset(seed=0)
    assert len(set(observations[:, -1].tolist())) > 3
    price = np.interp(observations[:, -1], [-1.0, 0.0, 1.0], [0.5, 0.25, 0.0])
    charged, _ = lived(env, 10)
    above_s = np.array([info["cost"] for info in infos])
    assert above_s.any()
    np.testing.assert_allclose(np.array(free) - charged, price * above_s, rtol=1e-6)


def test_the_allowance_of_a_share_is_that_of_the_episode() -> None:
    free, infos = lived(fleets(6, LOW_CAP), 10)
    env = limited({"slo_attainment": {"chat-8b": [0.5, 0.9]}}, 6, LOW_CAP)
    env.multipliers[:] = 1.0
    env.reset(seed=0)
    most = np.interp(env.places[:, 0], [-1.0, 1.0], [0.5, 0.1])
    charged, _ = lived(env, 10)
    missed, ended = (
        np.array([info["reward_terms"][f"{kind}/chat-8b"] for info in infos]) for kind in ("missed", "ended")
    )
    assert ended.any()
    expected = (missed - most * ended) / (LOW_CAP.mean_rate_rps("chat-8b") * LOW_CAP.tick_s)
    np.testing.assert_allclose(np.array(free) - charged, expected, rtol=1e-6, atol=1e-9)


def test_every_knot_gets_the_same_weight_and_groups_share_their_limits() -> None:
    env = limited({"above_cap_s": [1.0, 2.0, 3.0, 4.0]}, 40, LOW_CAP)
    env.reset(seed=np.repeat(np.arange(20), 2).tolist())
    places = (env.places[:, 0] + 1.0) * 1.5
    np.testing.assert_array_equal(places[::2], places[1::2])
    weights = np.maximum(1.0 - np.abs(places[:, None] - np.arange(4)), 0.0).sum(axis=0)
    np.testing.assert_allclose(weights, 10.0, atol=1.0)


def test_limits_follow_from_the_seed_and_change_with_every_episode() -> None:
    def drawn(seed: int) -> list[list[float]]:
        env = observed(4)
        first, _ = env.reset(seed=seed)
        told = [first[:, -1].tolist()]
        for _ in range(80):
            observations, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
            told.append(observations[:, -1].tolist())
        return told

    first = drawn(0)
    assert first == drawn(0) != drawn(1)
    assert [len(list(same)) for _, same in itertools.groupby(first)] == [40, 40, 1]


def test_the_last_observation_of_an_episode_tells_its_own_limit() -> None:
    env = observed(4)
    first, _ = env.reset(seed=0)
    for _ in range(40):
        observations, *_, infos = env.step(np.zeros(env.action_space.shape, np.float32))
    assert np.stack(infos["final_obs"])[:, -1].tolist() == first[:, -1].tolist() != observations[:, -1].tolist()


def test_a_knot_that_is_exceeded_gets_dear_and_one_that_is_kept_stays_free() -> None:
    env = limited({"above_cap_s": [1.0, 2.0, 1000.0], "rate": 0.2}, 6, LOW_CAP)
    for _ in range(3):
        lived(env, 40)
        env.ascend()
    assert env.multipliers[0] > 0.3
    assert env.multipliers[1:].tolist() == [0.0, 0.0]
    assert env.measured.min() > 10.0


def test_an_episode_moves_the_knots_beside_its_limit_by_its_distance_from_them() -> None:
    env = limited({"above_cap_s": [1.0, 5.0], "rate": 0.2}, 2, LOW_CAP)
    env.reset(seed=[5, 5])  # one limit for both
    weight = float(1.0 + env.places[0, 0]) / 2.0
    limit_s = 1.0 + 4.0 * weight
    for _ in range(40):
        *_, infos = env.step(np.ones(env.action_space.shape, np.float32))
    cost_s = float(np.mean(infos["final_info"]["episode_metrics"]["above_cap_s"]))
    env.ascend()
    excess = (cost_s - limit_s) / (cost_s + limit_s)
    assert 0.0 < weight < 1.0
    np.testing.assert_allclose(env.multipliers, 0.2 * excess * 2.0 * np.array([1.0 - weight, weight]), rtol=1e-5)


def test_one_policy_spends_what_each_limit_leaves_it(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"action": "setpoints", "reward": used_kw, "reward_scale": 1.0}
    algorithm = small_algorithm("cma_es", links="none", sigma=0.5, policy_kwargs={}, episodes=4)
    env = limited({"above_cap_s": [2.0, 8.0, 20.0], "rate": 1.0}, 24, LOW_CAP, **parts)
    train(job_on(env, algorithm, total=24 * 8 * 40, every=24 * 8 * 10), tmp_path)

    def above_cap_s(limit_s: float) -> float:
        policy = load_policy(tmp_path / "checkpoints/last").within({"above_cap_s": limit_s})
        make_env = partial(fleets, scenario=LOW_CAP, action="setpoints", autoreset_mode="NextStep")
        rows = evaluate_policy(make_env, Candidate(policy, "policy", learned=True), 8, 5)
        return float(np.mean([row.metrics["above_cap_s"] for row in rows]))

    assert above_cap_s(2.0) < 4.0
    assert 3.0 < above_cap_s(8.0) < 12.0
    assert above_cap_s(20.0) > 12.0


@pytest.mark.parametrize("name", ["ppo", "sac", "cma_es"])
def test_a_run_that_dies_twice_ends_as_one_that_did_not(name: str, tmp_path: Path) -> None:
    limits = {"above_cap_s": [0.0, 1.0], "slo_attainment": {"chat-8b": [0.9, 1.0], "chat-70b": 1.0}}

    def job(validate: Any) -> Any:
        return job_on(limited(limits), small_algorithm(name), total=280, every=70, validate=validate)

    def dying(validate: Any) -> Any:
        return job(lambda policy: zero_metrics(policy) if next(calls) % 4 else validate(policy))  # once a validation

    calls = itertools.count(1)
    train(job(zero_metrics), tmp_path / "whole")
    train_with_power_cuts(dying, zero_metrics, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    origin = json.loads((tmp_path / "cut/checkpoints/last/meta.json").read_text())["origin"]
    assert [len(origin["multipliers"][f"{name}"]) for name in ("above_cap_s", "slo_attainment/chat-8b")] == [2, 2]
    assert origin["multipliers"]["slo_attainment/chat-70b"] > 0.0


def test_validation_asks_at_every_knot_and_chooses_by_all_of_them(tmp_path: Path) -> None:
    # Seconds above a cap at the knots 5, 10 and 40, and the return at each; every limit is kept the second time.
    validations = [(4.0, 9.0, 41.0, 9.0), (4.0, 9.0, 39.0, 1.0), (4.0, 9.0, 38.0, 2.0), (6.0, 6.0, 6.0, 9.0)]
    left = iter([(seconds, value) for *costs, value in validations for seconds in costs])

    def validate(_: Any) -> dict[str, float]:
        above_cap_s, value = next(left)
        return {"return": value, "above_cap_s": above_cap_s}

    env = limited({"above_cap_s": KNOTS}, scenario=LOW_CAP)
    train(job_on(env, small_algorithm("a2c"), total=256, every=64, validate=validate), tmp_path)
    best = json.loads((tmp_path / "checkpoints/best/meta.json").read_text())["origin"]
    assert best["validation_return"] == 2.0
    assert next(left, None) is None
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert "validation/above_cap_s/40/return" in header
    assert "limits/above_cap_s/10/multiplier" in header


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (
            {"above_cap_s": [20.0, 10.0]},
            r"above_cap_s: must be a number, or several in ascending order \(got \[20\.0, 10",
        ),
        ({"above_cap_s": []}, r"above_cap_s: .*at least 1"),
        ({"above_cap_s": list(range(17))}, r"above_cap_s: .*at most 16"),
        (
            {"above_cap_s": [1, 2, 3, 4, 5], "slo_attainment": {"a": [0.5, 0.6], "b": [0.5, 0.9]}},
            r"20 combinations of these numbers would be validated; give at most 16",
        ),
    ],
)
def test_a_range_that_is_none_is_refused(limits: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        LimitsSpec.parse(limits)


def test_one_number_is_kept_as_one_number() -> None:
    spec = LimitsSpec.parse({"above_cap_s": 30, "slo_attainment": {"chat-8b": [0.9, 0.95]}})
    dumped = spec.model_dump(mode="json")
    assert dumped["above_cap_s"] == 30.0
    assert dumped["slo_attainment"] == {"chat-8b": [0.9, 0.95]}
    assert LimitsSpec.parse(dumped) == spec


def test_a_range_needs_flat_observations() -> None:
    env = limited({"above_cap_s": KNOTS}, 2, TINY)
    env.single_observation_space = type(env.single_action_space)(-1.0, 1.0, (4, 4))
    with pytest.raises(
        SpecError, match=r"limits\.above_cap_s: a range stands behind flat observations of floats alone"
    ):
        ObservedLimits(env, env)
