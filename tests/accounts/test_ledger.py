"""Every episode's ledger balances, whatever the scenario and whatever is done in it, and agrees with the rewards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import Instance, random_instance
from tests.engine.runs import run
from tokenfleet.envs.accounts.sums import engine_rates, in_flight, ledger_rates, priced_columns
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.layers.ledger import PRICED, Ledger, LedgerRates, Sums, make_ledger
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.vector import FleetVectorEnv

SEEDS = st.integers(0, 2**32 - 1)
FEATURES: dict[str, dict[str, object]] = {
    "battery": {"sites.lab.battery": {"power_w": 5000.0, "energy_j": 2e5}},
    "solar": {"sites.lab.solar": {"peak_w": 4000.0, "irradiance_w_per_m2": 700.0}},
    "cache": {"pools.lab-8b.prefix_cache": True, "classes.chat-8b.cached_input_fraction_of_price": 0.1},
    "growing KV": {"pools.lab-8b.kv_policy": "grow", "pools.lab-8b.kv_tokens": 6000},
    "prices": {
        "classes.chat-8b.token_price_factor": {"low": 0.5, "high": 3.0},
        "classes.chat-8b.price_tolerance": {"median": 1.5},
    },
    "retries": {"classes.chat-70b.max_attempts": 3, "classes.chat-8b.patience_s": 0.5},
    "a tight cap": {"sites.lab.grid.cap_fraction": 0.35},
    "distance": {"sites.lab.location": "aws:us-east-1", "regions": {"near": {"location": "aws:us-east-2"}}},
    "hand-off": {
        "sites.far": {"grid": {"cap_fraction": 0.8}, "location": "aws:us-west-2"},
        "pools.far-8b": {
            "site": "far",
            "gpu": "h100-sxm",
            "model": "llama-3.1-8b",
            "decode_only": True,
            "kv_policy": "grow",
            "kv_tokens": 5000,
        },
        "pools.lab-8b.hand_off_to": "far-8b",
        "pools.lab-8b.kv_policy": "grow",
    },
    "prices of power and service": {
        "sites.lab.grid.tariff": {
            "carbon_usd_per_t": 70.0,
            "demand_charge": {"usd_per_kw": 0.05, "window_s": 7.0, "ratchet_fraction": 0.2},
            "ramp_charge": {"limit_fraction_per_s": 0.01, "usd_per_mw": 1.0},
        },
        "sites.lab.grid.programme": {
            "offered_fraction": 0.25,
            "availability_usd_per_mw_h": 30.0,
            "activation_usd_per_mwh": 500.0,
            "damages_usd_per_mwh": 2300.0,
            "baseline_s": 10.0,
            "rebound_s": 20.0,
            "rebound_tolerance_fraction": 0.0,
            "rebound_usd_per_mwh": 200.0,
        },
        "sites.lab.grid.regulation": {"capacity_fraction": 0.3, "least_score": 0.0},
        "classes.chat-70b.agreement": {"window_s": 9.0, "tiers": [{"below_share": 1.0, "credit_fraction": 0.1}]},
    },
    "training": {"sites.lab.training": {"gpu": "h100-sxm", "checkpoint_interval_s": 10.0, "resume_s": 2.0}},
    "variant": {"pools.lab-70b.variant": {"model": "llama-3.1-8b", "quality": 0.7}},
    "failures": {"failures": {"gpus_per_server": 1, "rate_factor": 1e6, "repair_median_s": 5.0}},
}
PAID = ("availability_usd", "activation_usd", "regulation_usd", "training_usd")
CONVERSATIONS = {"kind": "conversations", "request_class": "chat-8b", "rate_rps": 8.0, "max_context_tokens": 4000}


def run_ticks(env: FleetVectorEnv, seed: int, ticks: int, lowest: float = -1.0) -> float:
    """Random actions from `lowest` to 1, in one fleet until it ends; the sum of its reward terms [USD]."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    earned_usd = 0.0
    for _ in range(ticks):
        *_, ended, _, info = env.step(rng.uniform(lowest, 1.0, env.action_space.shape).astype(np.float32))
        earned_usd += sum(value[0] for name, value in info["reward_terms"].items() if not name.startswith("_"))
        if ended.any():
            break
    return earned_usd


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, chosen=st.sets(st.sampled_from(sorted(FEATURES))))
def test_the_ledger_of_a_random_scenario_balances_and_is_the_sum_of_the_rewards(seed, chosen):
    overrides = {key: value for name in chosen for key, value in FEATURES[name].items()}
    env = FleetVectorEnv("tiny", overrides=overrides)
    earned_usd = run_ticks(env, seed, 40)
    ledger = env.ledger(0)
    ledger.audit()
    assert ledger.usd() == pytest.approx(earned_usd, rel=1e-9, abs=1e-12)


def test_the_random_scenarios_have_something_in_every_entry():
    """Else that they balance would say little."""
    overrides = {key: value for feature in FEATURES.values() for key, value in feature.items()}
    found: set[str] = set()
    for seed in range(8):
        env = FleetVectorEnv("tiny", overrides={**overrides, "workload.chat-8b": CONVERSATIONS})
        run_ticks(env, seed, 120, lowest=0.8)  # under the tight cap, less lets replicas sleep
        found |= {entry.item for entry in env.ledger(0).entries if entry.usd or entry.joules or entry.tokens}
    everything = {entry.item for entry in env.ledger(0).entries}
    assert everything - found == set()


LARGE = {"campus": 10, "grid-scale": 2}
"""Fewer ticks where the reference engine takes a second or more for one."""


@pytest.mark.parametrize("name", sorted(catalog_names("scenario")))
def test_the_ledger_of_every_scenario_that_ships_balances(name: str, engine: str) -> None:
    env = FleetVectorEnv(name, engine=engine)
    run_ticks(env, 0, LARGE.get(name, 60))
    env.ledger(0).audit()


def ledger_of(engine: str, instance: Instance) -> Ledger:
    """The ledger of a random instance, at a price that changes from tick to tick and from site to site."""
    arrays, result = instance.arrays, run(engine, instance.arrays, instance.episode, instance.controls)
    rng = np.random.default_rng(0)
    classes, pools, sites = arrays.num_classes, arrays.num_pools, arrays.num_sites
    price, carbon = rng.uniform(0.0, 1.0, (2, arrays.horizon_ticks, sites))
    rates = LedgerRates(
        lost_penalty_fraction=rng.random(classes),
        rent_usd_per_s=rng.random(pools),
        egress_usd_per_token=rng.random(sites),
        site_usd_per_byte=float(rng.random()),
        **engine_rates(arrays),
    )
    columns, site = priced_columns(arrays)
    ends = np.cumsum([arrays.outcome.slice(name).stop - arrays.outcome.slice(name).start for name in PRICED])
    priced = [result.outcomes.rows[:, columns] * tariff[:, site] for tariff in (price, carbon)]
    usd, grams = (
        {name: float(part.sum()) for name, part in zip(PRICED, np.split(values, ends, axis=1), strict=False)}
        for values in priced
    )
    outcomes = result.outcomes
    net_value_usd = (
        outcomes["value_in_slo_usd"].sum()
        + (outcomes["value_late_usd"] * arrays.late_value_fraction).sum()
        - (outcomes["value_lost_usd"] * rates.lost_penalty_fraction).sum()
        - (outcomes["energy_j"] * price).sum()
        + sum(outcomes[name].sum() for name in PAID)
        - sum(outcomes[name].sum() for name in ("demand_charge_usd", "ramp_charge_usd", "damages_usd"))
        - sum(outcomes[name].sum() for name in ("rebound_usd", "credit_usd"))
    )
    requests, pending = instance.episode.requests, in_flight(result.log)
    sums = Sums(
        total={field.name: outcomes[field.name].sum(axis=0) for field in outcomes.layout},
        usd=usd,
        grams=grams,
        duration_s=arrays.horizon_ticks * arrays.tick_s,
        net_value_usd=float(net_value_usd),
        in_flight_requests=int(pending.sum()),
        in_flight_tokens=int((requests.prompt_tokens + requests.output_tokens)[pending].sum()),
    )
    return make_ledger(sums, rates)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, small_kv=st.booleans(), closed_loop=st.booleans(), load=st.sampled_from([1.0, 6.0]))
def test_the_ledger_of_a_random_instance_balances(seed, small_kv, closed_loop, load):
    instance = random_instance(seed, load=load, small_kv=small_kv, closed_loop=closed_loop, cap_share=0.5)
    ledger_of("native", instance).audit()


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_the_reference_keeps_the_same_ledger(seed):
    instance = random_instance(seed, load=4.0, small_kv=True, closed_loop=True, cap_share=0.4)
    native, reference = ledger_of("native", instance), ledger_of("reference", instance)
    reference.audit()
    for a, b in zip(native.entries, reference.entries, strict=True):
        assert (a.layer, a.item, a.account) == (b.layer, b.item, b.account)
        assert a.tokens == b.tokens
        np.testing.assert_allclose([a.usd, a.joules, a.grams], [b.usd, b.joules, b.grams], rtol=1e-9, atol=1e-6)


def test_a_single_environment_has_its_ledger_at_any_time(engine: str) -> None:
    env = FleetEnv("tiny", engine=engine)
    with pytest.raises(RuntimeError, match="fleet 0 was never reset"):
        env.ledger()
    env.reset(seed=0)
    assert env.ledger().usd() == 0.0
    env.step(np.zeros(env.action_space.shape, np.float32))
    first = env.ledger().usd("beyond")
    env.step(np.zeros(env.action_space.shape, np.float32))
    assert env.ledger().usd("beyond") < first < 0.0


def test_a_single_environment_that_is_asked_brings_the_ledger_when_an_episode_ends_and_not_before() -> None:
    env = FleetEnv("tiny", overrides={"horizon_ticks": 3}, ledgers=True)
    _, info = env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    for _ in range(3):
        assert "ledger" not in info
        *_, info = env.step(action)
    info["ledger"].audit()
    assert info["ledger"] == env.ledger()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_batch_that_is_asked_brings_the_ledgers_of_its_fleets(mode: str) -> None:
    env = FleetVectorEnv("tiny", 2, overrides={"horizon_ticks": 20}, ledgers=True, autoreset_mode=mode)
    env.reset(seed=0)
    for _ in range(20):
        *_, info = env.step(np.zeros(env.action_space.shape, np.float32))
    final = info.get("final_info", info)
    assert final["_ledger"].tolist() == [True, True]
    earned_usd = [ledger.usd() for ledger in final["ledger"]]
    assert earned_usd == pytest.approx(final["episode_metrics"]["net_value_usd"], rel=1e-12)


def test_only_the_fleets_whose_episodes_end_bring_a_ledger() -> None:
    env = FleetVectorEnv("tiny", 2, overrides={"horizon_ticks": 3}, ledgers=True, autoreset_mode="Disabled")
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    env.step(action)
    env.reset(options={"reset_mask": np.array([False, True])})
    env.step(action)
    *_, info = env.step(action)
    assert info["_ledger"].tolist() == [True, False]
    assert info["ledger"][1] is None


def test_an_episode_that_has_just_ended_still_has_its_ledger(engine: str) -> None:
    env = FleetVectorEnv("tiny", engine=engine, overrides={"horizon_ticks": 20})
    env.reset(seed=0)
    for _ in range(20):
        *_, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
    assert truncated.all()
    assert "ledger" not in info  # none was asked for
    assert env.ledger(0).usd() == pytest.approx(info["episode_metrics"]["net_value_usd"][0], rel=1e-12)


def test_boards_that_train_are_rented_too() -> None:
    scenario = load_scenario("shared-campus")
    boards = [(pool.gpus, pool.gpu_spec) for pool in scenario.pools.values()]
    boards += [(site.training.boards, site.training.gpu_spec) for site in scenario.sites.values() if site.training]
    assert len(boards) > len(scenario.pools)
    rent_usd_per_h = sum(count * gpu.rental_usd_per_hour for count, gpu in boards)
    rates = ledger_rates(scenario, FleetArrays.from_scenario(scenario))
    assert 3600.0 * rates.rent_usd_per_s.sum() == pytest.approx(rent_usd_per_h)
