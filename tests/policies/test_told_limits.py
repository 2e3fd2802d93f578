"""A learned policy that sees a limit is told one, and acts within it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.policies.tampering import META, change_meta
from tests.policies.test_limit_inputs import KNOTS, ranged
from tests.policies.test_limits import LOW_CAP, fleets, limited
from tests.policies.toys import job_on, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.learned.checkpoint import load_base, load_policy, save_checkpoint
from tokenfleet.policies.learned.correction import Base, CorrectedEnv
from tokenfleet.policies.learned.limit_inputs import LimitInput, places_of
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.training import make_model
from tokenfleet.policies.registry import make_policy

RULE = {"name": "supervisor", "backlog_limit_s": 3.0, "awake_replicas": {"lab-8b": 1.0}}
INPUTS = (
    LimitInput(name="above_cap_s", knots=(10.0, 60.0)),
    LimitInput(name="slo_attainment/chat-8b", knots=(0.9, 0.99)),
)


def model_on(env: Any, name: str = "cma_es", **changes: Any) -> tuple[Any, Any]:
    algorithm = small_algorithm(name, normalize={"norm_obs": True}, **changes)
    return make_model(job_on(env, algorithm)), algorithm


def saved(folder: Path, env: Any, name: str = "ppo", learn: int = 0) -> NetworkPolicy:
    """The policy of a model, after a few steps of learning, of which `folder` becomes the checkpoint."""
    model, algorithm = model_on(env, name)
    if learn:
        model.learn(learn)
    save_checkpoint(folder, model, algorithm, job_on(env, algorithm).origin)
    return NetworkPolicy.of_model(model)


@pytest.mark.parametrize("name", ["recurrent_ppo", "cma_es"])
def test_a_checkpoint_acts_within_the_limit_that_it_is_told(name: str, tmp_path: Path) -> None:
    live = saved(tmp_path, ranged(2, action="setpoints"), name, learn=160)
    loaded = load_policy(tmp_path)
    seen = np.zeros((3, *loaded.observation_space.shape), np.float32)
    starts = np.ones(3, np.bool_)

    def acted(policy: NetworkPolicy, limit_s: float) -> list[Any]:
        told = policy.within({"above_cap_s": limit_s})
        return np.asarray(told.predict(seen, None, starts, deterministic=True)[0]).tolist()

    assert acted(loaded, 5.0) == acted(live, 5.0) != acted(loaded, 40.0)


def test_the_base_of_a_correction_does_not_see_the_limit(tmp_path: Path) -> None:
    parts = {"action": "setpoints", "observation": "supervisor"}
    env = CorrectedEnv(limited({"above_cap_s": KNOTS}, 2, **parts), Base(1.0, RULE))
    saved(tmp_path, env)
    corrected = load_policy(tmp_path).within({"above_cap_s": 20.0})
    bare = fleets(2, **parts)
    corrected.prepare(bare)
    rule = make_policy(RULE, PolicyContext.from_env(bare))
    observation, _ = bare.reset(seed=0)
    starts = np.ones(2, np.bool_)
    expected, _ = rule.predict(observation, None, starts, deterministic=True)
    np.testing.assert_array_equal(corrected.predict(observation, None, starts, deterministic=True)[0], expected)


@pytest.mark.parametrize(("links", "others"), [("own", True), ("none", False)])
def test_a_linear_policy_follows_the_limit_whatever_else_it_may_follow(links: str, others: bool) -> None:
    model, _ = model_on(ranged(4, action="setpoints"), links=links, policy_kwargs={})
    rows, width = model.policy.linears()[0].weight.shape
    searched = np.zeros(rows * width, np.bool_)
    searched[model._columns[model._columns < rows * width]] = True
    searched = searched.reshape(rows, width)
    assert searched[:, -1].all()
    assert searched[:, :-1].any() == others


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({"above_cap_s": 20.0}, r"limits\.slo_attainment\.chat-8b: missing; the policy was trained for 0\.9 to 0\.99"),
        ({"above_cap_s": 9.0, "slo_attainment/chat-8b": 0.9}, r"limits\.above_cap_s: must lie .* 10 to 60 \(got 9\)"),
        ({"above_cap_s": float("nan"), "slo_attainment/chat-8b": 0.9}, r"above_cap_s: must lie .*\(got nan\)"),
        (
            {"above_cap_s": 20.0, "slo_attainment/chat-8b": 0.9, "brakes": 1.0},
            r"limits\.brakes: is no input of the policy, which sees limits\.above_cap_s, limits\.slo",
        ),
    ],
)
def test_a_limit_outside_of_what_was_trained_is_refused(chosen: dict[str, float], problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as refused:
        places_of(INPUTS, chosen)
    assert len(refused.value.problems) == 1


def test_a_policy_that_sees_a_limit_asks_for_it(tmp_path: Path) -> None:
    policy = saved(tmp_path, ranged(2))
    with pytest.raises(SpecError, match=r"limits\.above_cap_s: missing; the policy was trained for 5 to 40"):
        policy.predict(np.zeros((1, *load_policy(tmp_path).observation_space.shape), np.float32))
    with pytest.raises(SpecError, match=r"was trained for limits\.above_cap_s from 5 to 40; name what it shall keep"):
        load_base(str(tmp_path), reach=1.0)


def test_a_base_in_a_checkpoint_that_would_ask_for_limits_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "base", fleets(2, action="setpoints"))
    base = Base(1.0, learned=load_policy(tmp_path / "base"))
    saved(tmp_path / "corrected", CorrectedEnv(fleets(2, action="setpoints"), base))
    load_policy(tmp_path / "corrected")
    ranges = [{"name": "above_cap_s", "knots": [10.0, 60.0]}]
    seen = json.loads((tmp_path / "corrected" / META).read_text())["base"]["checkpoint"]["observation_space"]
    behind = {name: [*seen[name], end] for name, end in (("low", -1.0), ("high", 1.0))} | {
        "shape": [seen["shape"][0] + 1]
    }
    wider = {"base__checkpoint__network_observation_space": {**seen, **behind}}
    change_meta(tmp_path / "corrected", base__checkpoint__limits=ranges, **wider)
    with pytest.raises(SpecError, match=r"base\.checkpoint\.limits: nobody tells a base its limits"):
        load_policy(tmp_path / "corrected")


def test_a_checkpoint_of_the_registry_is_told_its_limit(tmp_path: Path) -> None:
    live = saved(tmp_path, ranged(2), learn=64).within({"above_cap_s": 7.0})
    bare = fleets(2, LOW_CAP)
    context = PolicyContext.from_env(bare)
    choice = {"name": "checkpoint", "folder": str(tmp_path)}
    observation, _ = bare.reset(seed=0)
    policy = make_policy({**choice, "limits": {"above_cap_s": 7.0}}, context)
    assert (
        policy.predict(observation, deterministic=True)[0].tolist()
        == live.predict(observation, deterministic=True)[0].tolist()
    )
    for limits, problem in (
        ({}, r"policy\.limits\.above_cap_s: missing"),
        ({"above_cap_s": [7.0, 8.0]}, r"policy\.limits: one number for each limit"),
        ({"above_cap_s": 50.0}, r"policy\.limits\.above_cap_s: must lie .* 5 to 40"),
        ({"above_cap": 7.0}, r"policy\.limits\.above_cap: unknown key; did you mean 'above_cap_s'"),
    ):
        with pytest.raises(SpecError, match=problem):
            make_policy({**choice, "limits": limits}, context)
