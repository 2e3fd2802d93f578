"""Reward terms are dollars that a person can check, and the metrics of an episode add up to them."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from tests.envs.scenarios import FRAGILE
from tokenfleet.configs.schema import TrainingReward
from tokenfleet.envs.accounts.episode_metrics import EpisodeMetrics
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.fields import OUTCOMES
from tokenfleet.envs.interface.parts import REWARDS
from tokenfleet.envs.interface.reward import (
    VALUE_OF_LOST_LOAD_USD_PER_MWH,
    CapAwareNetValue,
    CertainValue,
    NetValue,
    settle_overdue,
    weighted_reward,
)
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.vector import FleetVectorEnv

TINY = load_scenario(
    "tiny", {"classes.chat-70b.late_value_fraction": 0.2, "classes.chat-8b.lost_penalty_fraction": 0.4}
)
CHAT_8B, CHAT_70B, BATCH_8B = range(3)
TRIES_AGAIN: dict[str, Any] = {
    "horizon_ticks": 60,
    "sites.lab.grid.breaker": {"delay_s": 8.0, "overload_ratio": 1.5, "restart_s": 20.0},
    **{f"classes.{name}.max_attempts": 4 for name in ("chat-8b", "chat-70b")},
    **{f"classes.{name}.backoff_s": 5.0 for name in ("chat-8b", "chat-70b")},
}
"""With this, who loses an answer to a trip is under way while every site is dark."""


def outcome_of(**values: object) -> Record:
    layout = Layout(OUTCOMES, axis_sizes(TINY))
    outcome = Record(layout, np.zeros((1, layout.width)))
    for name, value in values.items():
        outcome[name][0] = value
    return outcome


def test_terms_of_a_tick_by_hand() -> None:
    outcome = outcome_of(
        energy_j=[3.6e6],  # 1 kWh
        value_in_slo_usd=[0.13, 0, 0.025],
        value_late_usd=[0, 0.60, 0],
        value_lost_usd=[0.06, 0, 0],
        value_declined_usd=[9, 9, 9],
    )
    terms = NetValue(TINY)(outcome, np.array([[80.0]]))
    assert {name: float(value[0]) for name, value in terms.items()} == pytest.approx(
        {
            "token_revenue_usd": 0.13 + 0.025,
            "late_revenue_usd": 0.2 * 0.60,
            "lost_penalty_usd": -0.4 * 0.06,
            "energy_usd": -0.08,  # 1 kWh at 80 USD/MWh
        }
    )


@pytest.mark.parametrize("scenario", ["tiny", "split-serving"])
def test_without_caches_and_moving_prices_value_is_tokens_at_list_price(scenario: str, engine: str) -> None:
    env = FleetVectorEnv(scenario, engine=engine, overrides={"horizon_ticks": 60})
    env.action_space.seed(1)
    env.reset(seed=1)
    outcomes = []
    for _ in range(60):
        env.step(env.action_space.sample())
        outcomes.append(env.engine.outcome.rows[0].copy())
    total = Record(env.engine.outcome.layout, np.sum(outcomes, axis=0, keepdims=True))
    classes = env.scenario.classes.values()
    input_usd = np.array([cls.usd_per_million_input_tokens for cls in classes]) / 1e6
    output_usd = np.array([cls.usd_per_million_output_tokens for cls in classes]) / 1e6
    assert total["completed_in_slo"].sum() > 0
    for ending in ("in_slo", "late", "lost"):
        tokens_usd = total[f"prompt_tokens_{ending}"] * input_usd + total[f"output_tokens_{ending}"] * output_usd
        np.testing.assert_allclose(total[f"value_{ending}_usd"], tokens_usd, rtol=1e-12)


def test_nothing_happened_is_worth_nothing() -> None:
    assert all(value == 0.0 for value in NetValue(TINY)(outcome_of(), np.zeros((1, 1))).values())


def test_what_being_late_costs_is_booked_when_it_is_certain_and_comes_back_with_the_end() -> None:
    """Two dollars of `chat-70b`, which pays a fifth when it is late, become overdue; two of `chat-8b` end."""
    outcome = outcome_of(overdue_change_usd=[-2.0, 2.0, 0.0])
    lateness = [1 - cls.late_value_fraction for cls in TINY.classes.values()]
    booked = CertainValue(TINY)(outcome, np.zeros((1, 1)))
    assert booked.keys() - NetValue(TINY)(outcome, np.zeros((1, 1))).keys() == {"overdue_usd"}
    assert booked["overdue_usd"][0] == pytest.approx(2.0 * lateness[CHAT_8B] - 2.0 * 0.8)


def test_nothing_is_overdue_after_an_episode() -> None:
    outcome = outcome_of(overdue_usd=[3.0, 1.0, 0.0], overdue_change_usd=[2.0, -1.0, 0.0])
    going_on = outcome.copy()
    settle_overdue(going_on, np.array([False]))
    np.testing.assert_array_equal(going_on.rows, outcome.rows)
    settle_overdue(outcome, np.array([True]))
    assert outcome["overdue_usd"][0].tolist() == [0.0, 0.0, 0.0]
    assert outcome["overdue_change_usd"][0].tolist() == [-1.0, -2.0, 0.0]


@pytest.mark.parametrize(
    ("scenario", "lowest_action", "arguments"),
    [
        ("tiny", -1.0, {}),
        ("tiny", -1.0, {"max_episode_steps": 23, "decide_every": 2}),
        ("tiny", 0.5, {"overrides": {**FRAGILE, **TRIES_AGAIN}}),
        ("retry-storm", -1.0, {"overrides": {"horizon_ticks": 90}}),
        ("agent-swarm", -1.0, {"overrides": {"horizon_ticks": 90}}),
    ],
    ids=["to the horizon", "to a time limit", "until every site is dark", "with retries", "in a closed loop"],
)
def test_an_episode_is_worth_its_net_value_whenever_that_is_booked(
    scenario: str, lowest_action: float, arguments: dict[str, Any], engine: str
) -> None:
    """Under random actions; the sums agree to rounding, and on the way they do not."""
    totals, moved = {}, 0.0
    for name in ("net_value", "certain_value"):
        envs = FleetVectorEnv(scenario, num_envs=3, engine=engine, reward=name, autoreset_mode="Disabled", **arguments)
        envs.reset(seed=4)
        rng, total, ended = np.random.default_rng(5), np.zeros(3), np.zeros(3, bool)
        while not ended.any():
            actions = rng.uniform(lowest_action, 1.0, envs.action_space.shape).astype(np.float32)
            _, rewards, terminated, truncated, info = envs.step(actions)
            total += rewards
            moved += np.abs(info["reward_terms"].get("overdue_usd", np.zeros(3))).sum()
            ended = terminated | truncated
        totals[name] = total[ended]
    assert moved > 0.0
    np.testing.assert_allclose(totals["certain_value"], totals["net_value"], rtol=1e-9, atol=1e-9)


def test_training_may_name_every_reward_that_an_environment_knows() -> None:
    assert set(get_args(TrainingReward)) == set(REWARDS)


def test_the_reward_is_the_weighted_sum_over_the_reference() -> None:
    terms = {"income": np.array([3.0, 0.0]), "bill": np.array([-1.0, -2.0])}
    assert weighted_reward(terms, {}, 4.0).tolist() == [0.5, -0.5]
    assert weighted_reward(terms, {"bill": 2.0}, 4.0).tolist() == [0.25, -1.0]


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    layout = Layout(OUTCOMES, axis_sizes(TINY))
    rows, price = rng.uniform(0, 1e4, (67, layout.width)), rng.uniform(0, 100, (67, 1))
    together = NetValue(TINY)(Record(layout, rows), price)
    for index in range(len(rows)):
        alone = NetValue(TINY)(Record(layout, rows[index : index + 1]), price[index : index + 1])
        assert {name: value[0] for name, value in alone.items()} == {name: v[index] for name, v in together.items()}


def summary_of(*outcomes: Record, price: float = 60.0, carbon: float = 400.0) -> dict[str, float]:
    metrics = EpisodeMetrics(TINY, FleetArrays.from_scenario(TINY), 1)
    for outcome in outcomes:
        metrics.add(outcome, np.array([[price, carbon]]), np.array([0.25]))
    return {name: float(value[0]) for name, value in metrics.summary(np.array([0]), np.array([len(outcomes)])).items()}


def test_metrics_of_two_ticks_by_hand() -> None:
    first = outcome_of(
        energy_j=[3.6e6],
        facility_energy_j=[3.6e6],
        generated_tokens=[600, 400],
        completed_in_slo=[3, 0, 0],
        output_tokens_in_slo=[300, 0, 0],
        value_in_slo_usd=[0.05, 0, 0],
        completed_late=[1, 0, 0],
        first_tokens=[4, 0, 0],
        ttft_sum_s=[2.0, 0, 0],
        over_cap_w=[500],
        above_cap_s=[1],
        brakes=[1],
    )
    second = outcome_of(
        energy_j=[3.6e6],
        facility_energy_j=[3.6e6],
        over_cap_w=[200],
        above_cap_s=[1],
        expired=[0, 2, 0],
        refused=[0, 0, 4],
    )
    metrics = summary_of(first, second)
    expected = {
        "return": 0.5,
        "energy_kwh": 2.0,
        "energy_usd": 0.12,
        "carbon_kg": 0.8,
        "revenue_usd": 0.05,
        "net_value_usd": 0.05 - 0.12,
        "goodput_tokens_per_s": 150.0,
        "slo_attainment": 3 / 10,
        "slo_attainment/chat-8b": 3 / 4,
        "slo_attainment/chat-70b": 0.0,
        "slo_attainment/batch-8b": 0.0,
        "tokens_per_joule": 1000 / 7.2e6,
        "usd_per_million_tokens": 120.0,
        "g_per_million_tokens": 800e3,
        "ttft_mean_s": 0.5,
        "above_cap_s": 2.0,
        "peak_over_cap_w": 500.0,
        "brakes": 1.0,
        "trips": 0.0,
        "completed": 4.0,
        "refused": 4.0,
        "expired": 2.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_ratios_of_nothing_are_undefined() -> None:
    metrics = summary_of(outcome_of())
    for name in (
        "slo_attainment",
        "slo_attainment/chat-8b",
        "tokens_per_joule",
        "usd_per_million_tokens",
        "ttft_mean_s",
    ):
        assert np.isnan(metrics[name])
    assert metrics["goodput_tokens_per_s"] == 0.0


def test_begin_forgets_the_last_episode() -> None:
    metrics = EpisodeMetrics(TINY, FleetArrays.from_scenario(TINY), 2)
    layout = Layout(OUTCOMES, axis_sizes(TINY))
    metrics.add(Record(layout, np.ones((2, layout.width))), np.ones((2, 2)), np.ones(2))
    metrics.begin(0)
    summary = metrics.summary(np.array([0, 1]), np.array([1, 1]))
    assert summary["return"].tolist() == [0.0, 1.0]
    assert summary["peak_over_cap_w"].tolist() == [0.0, 1.0]
    assert summary["energy_usd"][0] == 0.0 < summary["energy_usd"][1]


PRICED = {
    "sites.lab.grid.programme": {"offered_fraction": 0.25},
    "sites.lab.grid.tariff": {"demand_charge": {"usd_per_kw": 1.0, "ratchet_fraction": 0.5}},
    "sites.lab.grid.regulation": {"capacity_fraction": 0.1},
    "classes.chat-8b.agreement": {"tiers": [{"below_share": 0.9, "credit_fraction": 0.1}]},
}


def test_agreements_have_terms_where_there_are_some() -> None:
    """What is paid less what is owed, by kind; the scenarios without them have none of these terms."""
    scenario = load_scenario("tiny", PRICED)
    layout = Layout(OUTCOMES, axis_sizes(scenario))
    outcome = Record(layout, np.zeros((1, layout.width)))
    dollars = {
        "demand_charge_usd": 1.0,
        "ramp_charge_usd": 2.0,
        "availability_usd": 10.0,
        "activation_usd": 20.0,
        "damages_usd": 4.0,
        "rebound_usd": 8.0,
        "regulation_usd": 5.0,
        "credit_usd": 7.0,
    }
    for name, usd in dollars.items():
        outcome[name][0] = usd
    terms = NetValue(scenario)(outcome, np.zeros((1, 1)))
    named = ("power_charge_usd", "demand_response_usd", "regulation_usd", "service_credit_usd")
    assert [float(terms[name][0]) for name in named] == [-3.0, 18.0, 5.0, -7.0]
    assert not set(named) & NetValue(TINY)(outcome_of(), np.zeros((1, 1))).keys()


def test_training_charges_nothing_more_for_what_money_alone_holds() -> None:
    """200 W above the cap, 150 W of them above a call that no brake holds: 50 W at the value of lost load."""
    scenario = load_scenario("tiny", PRICED)
    layout = Layout(OUTCOMES, axis_sizes(scenario))
    outcome = Record(layout, np.zeros((1, layout.width)))
    outcome["over_cap_w"][0], outcome["unbraked_over_cap_w"][0] = 200.0, 150.0
    charge_usd = -float(CapAwareNetValue(scenario)(outcome, np.zeros((1, 1)))["over_cap_usd"][0])
    assert charge_usd == pytest.approx(50.0 * scenario.tick_s / 3.6e9 * VALUE_OF_LOST_LOAD_USD_PER_MWH)
