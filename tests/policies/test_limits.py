"""Limits on what episodes may cost: a price that rises until they are kept, and none where they never bind."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ENGINE
from tests.policies.interruptions import assert_same_run, train, train_with_power_cuts
from tests.policies.toys import job_on, small_algorithm
from tokenfleet.envs.interface.costs import WithCosts, cost_names
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.limited_env import LimitedEnv, limited_env
from tokenfleet.policies.learned.limits import LimitsSpec, limits_of, relative_excess
from tokenfleet.policies.learned.training import TrainingJob

TINY = load_scenario("tiny", {"horizon_ticks": 35, "sites.lab.grid.demand_response": []})
LOW_CAP = load_scenario(TINY, {"horizon_ticks": 40, "sites.lab.grid.cap_fraction": 0.6})
"""A fleet with all clocks up stands above this cap most of the time."""


def fleets(num_envs: int = 2, scenario: Any = TINY, **more: Any) -> FleetVectorEnv:
    arguments: dict[str, Any] = {"reward": "net_value", "engine": ENGINE, "autoreset_mode": "SameStep", **more}
    arguments["reward"] = partial(WithCosts, reward=arguments["reward"])
    return FleetVectorEnv(scenario, num_envs, reward_weights=dict.fromkeys(cost_names(TINY), 0.0), **arguments)


def limited(limits: dict[str, Any], num_envs: int = 2, scenario: Any = TINY, **more: Any) -> LimitedEnv:
    spec = LimitsSpec(**limits)
    return LimitedEnv(fleets(num_envs, scenario, **more), limits_of(spec, scenario), spec.rate)


def used_kw(outcome: Record, price_usd_per_mwh: Any) -> dict[str, Any]:
    """A reward that wants all power there is."""
    return {"used_kw": outcome["energy_j"].sum(axis=1) / 1e3}


def lived(env: Any, steps: int, action: float = 1.0) -> tuple[list[Any], list[Any]]:
    """Rewards and infos of steps with one action."""
    env.reset(seed=0)
    taken = [env.step(np.full(env.action_space.shape, action, np.float32)) for _ in range(steps)]
    return [step[1] for step in taken], [step[4] for step in taken]


def test_costs_add_up_to_the_metrics_of_the_episode() -> None:
    _, infos = lived(fleets(1, LOW_CAP), 40)
    totals = {name: sum(info["reward_terms"][name] for info in infos) for name in cost_names(LOW_CAP)}
    metrics = infos[-1]["final_info"]["episode_metrics"]
    assert totals["above_cap_s"].min() > 0.0
    np.testing.assert_allclose(totals["above_cap_s"], metrics["above_cap_s"])
    for name in LOW_CAP.classes:
        share = 1.0 - totals[f"missed/{name}"] / totals[f"ended/{name}"]
        np.testing.assert_allclose(share, metrics[f"slo_attainment/{name}"])


def test_a_multiplier_charges_for_seconds_above_a_cap() -> None:
    free, infos = lived(fleets(scenario=LOW_CAP), 10)
    env = limited({"above_cap_s": 1.0}, scenario=LOW_CAP)
    env.multipliers[:] = 0.25
    charged, _ = lived(env, 10)
    above_s = np.array([info["cost"] for info in infos])
    assert above_s.any()
    np.testing.assert_allclose(np.array(free) - charged, 0.25 * above_s)


def test_multipliers_rise_above_the_limit_and_fall_to_zero_below_it() -> None:
    env = limited({"above_cap_s": 1.0, "rate": 0.2}, scenario=LOW_CAP)
    lived(env, 40)
    env.ascend()
    (measured,), (raised,) = env.measured, env.multipliers
    assert measured > 20.0
    assert raised == pytest.approx(0.2 * (measured - 1.0) / (measured + 1.0))
    env.ascend()  # no episode has ended since
    assert env.multipliers.tolist() == [raised]
    for _ in range(2):
        lived(env, 40, action=0.0)
        env.ascend()
    assert env.multipliers.tolist() == [0.0]


def test_a_share_is_that_of_all_requests_that_ended() -> None:
    env = limited({"slo_attainment": {"chat-8b": 0.9}}, scenario=LOW_CAP)
    _, infos = lived(env, 40)
    env.ascend()
    missed, ended = (
        sum(float(info["reward_terms"][f"{kind}/chat-8b"].sum()) for info in infos) for kind in ("missed", "ended")
    )
    assert env.measured.tolist() == [pytest.approx(missed / ended)]
    assert env.report()["slo_attainment/chat-8b/cost"] == pytest.approx(missed / ended)


@pytest.mark.parametrize("name", ["ppo", "paired_ppo", "sac", "cma_es"])
def test_a_limit_that_never_binds_changes_nothing(name: str, tmp_path: Path) -> None:
    def job(env: Any) -> TrainingJob:
        return job_on(env, small_algorithm(name), total=200, every=100, validate=zero_metrics)

    train(job(fleets(action="setpoints")), tmp_path / "free")
    train(job(limited({"above_cap_s": 1e6}, action="setpoints")), tmp_path / "limited")
    weights = [(tmp_path / run / "checkpoints/last/policy.safetensors").read_bytes() for run in ("free", "limited")]
    assert weights[0] == weights[1]


def test_a_limit_that_binds_is_kept(tmp_path: Path) -> None:
    algorithm = small_algorithm("cma_es", links="none", sigma=0.5, policy_kwargs={})

    def above_cap_s(limits: dict[str, Any]) -> float:
        env = limited(limits, 8, LOW_CAP, action="setpoints", reward=used_kw, reward_scale=1.0)
        folder = tmp_path / str(len(limits))
        train(job_on(env, algorithm, total=8 * 8 * 30, every=8 * 8), folder)
        with (folder / "progress.csv").open() as file:
            return float(list(csv.DictReader(file))[-1]["limits/above_cap_s/cost"])

    assert above_cap_s({"above_cap_s": 1e6}) > 10.0
    assert above_cap_s({"above_cap_s": 2.0, "rate": 1.0}) < 4.0


@pytest.mark.parametrize("name", ["ppo", "sac", "cma_es"])
def test_a_run_with_limits_that_dies_twice_ends_as_one_that_did_not(name: str, tmp_path: Path) -> None:
    limits = {"above_cap_s": 0.0, "slo_attainment": {"chat-8b": 1.0, "chat-70b": 1.0}}

    def job(validate: Any) -> TrainingJob:
        return job_on(limited(limits), small_algorithm(name), total=280, every=70, validate=validate)

    train(job(zero_metrics), tmp_path / "whole")
    train_with_power_cuts(job, zero_metrics, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    origin = json.loads((tmp_path / "cut/checkpoints/last/meta.json").read_text())["origin"]
    assert max(origin["multipliers"].values()) > 0.0


def test_the_best_checkpoint_keeps_the_limits_first_and_is_worth_most_second(tmp_path: Path) -> None:
    validations = [(9.0, 90.0), (3.0, 35.0), (1.0, 30.0), (2.0, 10.0), (1.5, 0.0), (8.0, 31.0)]
    left = iter(validations)

    def validate(_: Any) -> dict[str, float]:
        value, above_cap_s = next(left)
        return {"return": value, "above_cap_s": above_cap_s}

    job = job_on(limited({"above_cap_s": 30.0}), small_algorithm("a2c"), total=384, every=64, validate=validate)
    train(job, tmp_path)
    best = json.loads((tmp_path / "checkpoints/best/meta.json").read_text())["origin"]
    assert best["validation_return"] == 2.0
    assert next(left, None) is None


def test_seconds_within_the_tolerance_count_as_none_beyond_the_limit_but_raise_its_price() -> None:
    env = limited({"above_cap_s": 1.0, "above_cap_tolerance_s": 0.5}, scenario=LOW_CAP)
    assert [env.excess({"above_cap_s": seconds}, {}) > 0.0 for seconds in (0.5, 1.5, 1.6)] == [False, False, True]
    assert relative_excess(1.4, 1.0) > 0.0


def test_a_limit_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(SpecError, match=r"limits.slo_attainment.chat-9b: unknown class.*chat-8b"):
        limits_of(LimitsSpec(slo_attainment={"chat-9b": 0.9}), TINY)


def test_an_environment_without_limits_has_none() -> None:
    assert limited_env(fleets()) is None


def zero_metrics(_: Any) -> dict[str, float]:
    return {"return": 0.0, "above_cap_s": 0.0, "slo_attainment/chat-8b": 0.5, "slo_attainment/chat-70b": 0.5}
