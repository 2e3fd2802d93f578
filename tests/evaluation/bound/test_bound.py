"""No policy earns more than the bound, and the bound is exact where the best can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.bound.__main__ import main
from tokenfleet.evaluation.bound.fluid import FluidProblem, Prices, dual_value_usd, upper_bound_usd
from tokenfleet.evaluation.bound.problem import earliest_s, fluid_problem
from tokenfleet.evaluation.bound.rates import pool_rates
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.policies import PolicyContext, make_policy

EPISODES = 10
POLICIES = ("random", "max_clock", "feedback_capping", "operator", "greedy_efficiency")
SHORT = {
    "tiny": 60, "default": 20, "burst": 20, "priced-power": 20, "heatwave": 20, "spot-market": 20, "retry-storm": 20,
    "agent-swarm": 30, "split-serving": 20, "failure-storm": 20, "storm-front": 20,
}  # fmt: skip
"""Ticks of the episodes by scenario."""


@pytest.mark.parametrize("name", SHORT)
def test_no_policy_earns_more_than_the_bound(name: str) -> None:
    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(name, count, overrides={"horizon_ticks": SHORT[name]})

    env = make_env(EPISODES)
    env.reset(seed=episode_seeds(1, EPISODES))
    bound_usd = [upper_bound_usd(fluid_problem(env.scenario, episode, spans=4)) for episode in env.episodes if episode]
    context = PolicyContext.from_env(env)
    for policy in POLICIES:
        rows = evaluate_policy(make_env, Candidate(make_policy(policy, context), policy), EPISODES, seed=1)
        earned_usd = [row.metrics["net_value_usd"] for row in rows]
        assert (np.array(earned_usd) <= np.array(bound_usd)).all(), policy


def test_where_clocks_cost_more_at_times_the_least_costs_of_an_episode_are_those_of_its_best_tick() -> None:
    scenario = load_scenario("storm-front")
    episode = sample_episode(scenario, 0)
    shape, none = episode.clock_sensitivity_factor.shape, np.zeros(3, np.bool_)
    steady = [replace(episode, clock_sensitivity_factor=np.full(shape, factor)) for factor in (0.3, 2.0)]
    mixed = replace(episode, clock_sensitivity_factor=np.resize([0.3, 2.0], shape[::-1]).T.copy())
    best, worst = ([rates.joules for rates in pool_rates(scenario, each, none)] for each in steady)
    found = [rates.joules for rates in pool_rates(scenario, mixed, none)]
    assert [str(joules) for joules in found] == [str(joules) for joules in best]
    assert [str(joules) for joules in found] != [str(joules) for joules in worst]


def _two_requests() -> FluidProblem:
    """A replica for 10 s in two spans; two requests of 8 s each, one dear, one cheap, and energy that costs."""
    one = np.ones((2, 1, 1))
    return FluidProblem(
        value_usd=np.array([3.0, 2.0]),
        late_usd=np.array([0.0, 1.0]),
        kind=np.array([0, 1]),
        first=np.array([0, 0]),
        last_prefill=np.array([1, 0]),
        last_decode=np.array([1, 0]),
        routes=((0, 0),),
        allowed=np.ones((2, 1), np.bool_),
        prefill_s=2.0 * one,
        decode_s=6.0 * one,
        prefill_kwh=0.0 * one,
        decode_kwh=0.5 * one,
        replica_s=np.full((2, 1), 5.0),
        most_kwh=np.full((2, 1), 10.0),
        site=np.array([0]),
        pue=np.full((2, 1), 1.2),
        base_kwh=np.full((2, 1), 0.25),
        solar_kwh=np.array([[0.0], [0.05]]),
        usd_per_kwh=np.array([[0.1], [0.2]]),
        most_grid_kwh=np.full((2, 1), 10.0),
        battery_kwh=np.zeros((2, 1)),
        stored_kwh=np.zeros((3, 1)),
        efficiency=np.ones((2, 1)),
        training_s=np.zeros((2, 1)),
        training_usd_per_s=np.zeros(1),
        training_kwh_per_s=np.zeros(1),
    )


def test_the_bound_is_exact_where_the_best_is_known() -> None:
    # 10 s hold the dear request and, in the first span and in time, a quarter of the cheap one: prefill 0.5 s, decoding
    # 1.5 s. Energy is cheaper there and goes into decoding alone, so the dear one decodes there for the other 3 s; its
    # prefill and 3 s of decoding lie in the second span. (A fluid does not mind that prefill comes after.)
    energy_first, energy_second = 0.5 * (1.5 + 3.0) / 6.0, 0.5 * 3.0 / 6.0
    bill = 0.1 * (0.25 + 1.2 * energy_first) + 0.2 * (0.25 + 1.2 * energy_second - 0.05)
    assert upper_bound_usd(_two_requests(), sizes=1) == pytest.approx(3.0 + 0.25 * 2.0 - bill, rel=1e-4)


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_any_prices_bound_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = _two_requests()
    prices = Prices(rng.exponential(size=(2, 1, 1)), rng.exponential(size=(2, 1, 1)))
    assert dual_value_usd(problem, prices) >= upper_bound_usd(problem, sizes=1) * (1.0 - 1e-5)


def test_a_battery_carries_cheap_energy_to_dear_hours() -> None:
    idle = replace(_two_requests(), value_usd=np.zeros(2), late_usd=np.zeros(2), solar_kwh=np.zeros((2, 1)))
    stored = np.array([[0.0], [1.0], [0.0]])
    carried = replace(idle, battery_kwh=np.ones((2, 1)), stored_kwh=stored, efficiency=np.array([[0.8], [1.0]]))
    assert upper_bound_usd(idle) == pytest.approx(-0.25 * (0.1 + 0.2), rel=1e-4)
    assert upper_bound_usd(carried) == pytest.approx(-0.1 * (0.25 + 0.25 / 0.8), rel=1e-4)


def test_training_works_where_it_earns_more_than_its_energy_costs() -> None:
    idle = replace(_two_requests(), value_usd=np.zeros(2), late_usd=np.zeros(2), solar_kwh=np.zeros((2, 1)))
    jobs = replace(
        idle,
        training_s=np.full((2, 1), 5.0),
        training_usd_per_s=np.array([0.15]),
        training_kwh_per_s=np.array([1.0]),
    )
    earned = 5.0 * (0.15 - 1.2 * 0.1)  # in the first span; in the second, energy costs 0.24 a second
    assert upper_bound_usd(jobs) - upper_bound_usd(idle) == pytest.approx(earned, rel=1e-4)


def test_a_call_that_waits_comes_no_earlier_than_answers_and_waits_add_up() -> None:
    table = RequestTable.of(
        arrival_s=np.array([1.0, np.inf, np.inf]),
        prompt_tokens=np.array([9, 9, 9]),
        output_tokens=np.array([1, 1, 1]),
        session_id=np.zeros(3, np.int32),
        wait_s=np.array([0.0, 2.0, 4.0]),
        predecessors=np.array([0, 1, 1]),
        edges=np.array([[0, 1], [1, 2]]),
    )
    assert earliest_s(table, np.array([0.5, 1.0, 2.0])).tolist() == [1.0, 3.5, 8.5]


def test_the_command_prints_the_bound_beside_policies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario=tiny", "episodes=1", "policies=max_clock"]) == 0
    bound, policy = capsys.readouterr().out.splitlines()[1:]
    assert float(bound.split()[1]) > float(policy.split()[1]) > 0.0


def test_the_command_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes=0"]) == 2
    assert "bound.episodes" in capsys.readouterr().err
