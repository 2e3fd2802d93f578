"""`careful_operator` keeps every cap in every tick, whatever the scenario, the requests and the episode."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from tests.policies.views import context_of, episode, two_sites, view_of
from tokenfleet.envs import FleetVectorEnv, Scenario, SpecError, load_scenario
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.clocking import UniformClock

EVENT = st.fixed_dictionaries(
    {
        "depth_fraction": st.floats(0.05, 0.5),
        "notice_s": st.floats(0.0, 20.0),
        "earliest_start_s": st.floats(0.0, 30.0),
        "ramp_s": st.sampled_from([0.0, 1.0, 5.0]),
        "hold_s": st.floats(1.0, 15.0),
        "recovery_s": st.sampled_from([0.0, 5.0]),
    }
).map(lambda event: {**event, "latest_start_s": event["earliest_start_s"] + 5.0})

EMERGENCY = st.fixed_dictionaries(
    {
        "probability": st.just(0.5),
        "depth_fraction": st.just([0.1, 0.3]),
        "earliest_start_s": st.just(2.0),
        "latest_start_s": st.just(20.0),
        "ramp_s": st.sampled_from([0.0, 2.0]),
        "hold_s": st.just(10.0),
    }
)

UPS = st.fixed_dictionaries(
    {
        "whole_site": st.just(True),
        "cap_fraction": st.floats(0.4, 1.1),
        "demand_response": st.lists(EVENT, max_size=1),
        "emergencies": st.lists(EMERGENCY, max_size=1),
        "brake": st.just({"delay_s": 1.0}),
    }
)

FACILITY = st.fixed_dictionaries(
    {
        "pue": st.floats(1.0, 1.5),
        "host_w_per_gpu": st.floats(0.0, 400.0),
        "host_w_per_board_w": st.sampled_from([0.0, 0.217]),
        "outdoor_c": st.floats(-10.0, 50.0),
        "cooling": st.sampled_from([None, {}]),
        "room": st.sampled_from([None, {"time_constant_s": 5.0}]),
        "rows": st.one_of(st.just({}), st.fixed_dictionaries({"ups": UPS})),
    }
)

SITE = st.fixed_dictionaries(
    {
        "facility": FACILITY,
        "grid": st.fixed_dictionaries(
            {
                "cap_fraction": st.floats(0.3, 1.1),
                "demand_response": st.lists(EVENT, max_size=2),
                "emergencies": st.lists(EMERGENCY, max_size=1),
                "brake": st.just({"delay_s": 1.0}),
            }
        ),
        "training": st.sampled_from([None, {"gpu": "a100-sxm-80gb", "boards_per_job": 1, "resume_s": 1.0}]),
    }
)

POOL = st.fixed_dictionaries(
    {
        "site": st.sampled_from(["east", "west"]),
        "gpu": st.sampled_from(["h100-sxm", "b200-sxm"]),
        "model": st.sampled_from(["llama-3.1-8b", "llama-3.1-70b"]),
        "replicas": st.integers(1, 3),
        "max_batch": st.sampled_from([4, 64, 256]),
        "token_budget": st.sampled_from([256, 2048, 8192]),
    }
).map(lambda pool: {**pool, "tensor_parallel": 1 if pool["model"] == "llama-3.1-8b" else 4})

STREAM = st.fixed_dictionaries(
    {
        "kind": st.just("poisson"),
        "rate_rps": st.floats(0.5, 80.0),
        "prompt": st.fixed_dictionaries(
            {"median_tokens": st.sampled_from([2, 200, 5000]), "sigma": st.floats(0.0, 1.5)}
        ),
        "output": st.fixed_dictionaries({"median_tokens": st.sampled_from([1, 50, 500]), "sigma": st.floats(0.0, 1.0)}),
    }
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    pools = draw(st.lists(POOL, min_size=1, max_size=4))
    sites = {pool["site"]: draw(SITE) for pool in pools}
    models = dict.fromkeys(pool["model"] for pool in pools)
    price = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 1.0}
    data: dict[str, Any] = {
        "name": "drawn",
        "tick_s": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "horizon_ticks": 30,
        "announced_lead_s": draw(st.sampled_from([[], [4.0], [10.0, 2.0]])),
        "sites": sites,
        "pools": {f"pool-{index}": pool for index, pool in enumerate(pools)},
        "classes": {model: {"model": model, **price} for model in models},
        "workload": {model: {**draw(STREAM), "request_class": model} for model in models},
    }
    bounds = draw(st.sampled_from([None, [0.7, 0.99], [0.0, 1.0]]))
    if bounds is not None:
        factors = {"pue_factor": [0.5, 1.5], "host_power_factor": [0.8, 1.4]}
        data["uncertainty"] = {"decode_memory_fraction": bounds, **factors}
    if draw(st.booleans()):
        fouled = {"mean_stay_s": 5.0, "cooling_factor": dict.fromkeys(sites, 1.5)}
        data["regimes"] = {"plant": {"states": {"clean": {"mean_stay_s": 5.0}, "fouled": fouled}}}
    return load_scenario(data)


def uniform_policy(env):
    return make_policy("careful_operator", PolicyContext.from_env(env))


@given(scenario=scenarios(), seed=st.integers(0, 2**20))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_site_and_no_row_is_ever_above_its_cap(scenario, seed):
    env = FleetVectorEnv(scenario, 2)
    try:
        policy = uniform_policy(env)
    except SpecError:
        reject()  # nobody can keep these caps; see the last test
    history = episode(env, policy, seed)
    for name in ("above_cap_s", "brakes", "row_above_cap_s", "row_brakes"):
        assert history[name].sum() == 0.0, name


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_shipped_scenarios_are_never_above_their_caps(split):
    for name in ("tiny", "default"):
        env = FleetVectorEnv(name, 4, split=split)
        assert episode(env, uniform_policy(env), 0)["above_cap_s"].sum() == 0.0


def flooded(**grid):
    """Two sites whose every replica prefills without a break, in iterations of a quarter of a second and more."""
    flood = {
        "announced_lead_s": [12.0],
        "workload.chat.rate_rps": 400.0,
        "workload.chat.prompt": {"median_tokens": 2000, "sigma": 0.0},
        "workload.chat.output": {"median_tokens": 1, "sigma": 0.0},
        "pools.east.token_budget": 8192,
        "pools.west.token_budget": 8192,
    }
    return load_scenario(two_sites(**grid), flood)


def test_the_proof_is_not_won_by_idling():
    """Under a flood the bound is nearly reached: the clock could not be much higher."""
    env = FleetVectorEnv(flooded(cap_fraction=0.9), 1)
    history = episode(env, uniform_policy(env), 0)
    share = history["power_w"][5:] / history["cap_w"][5:]
    assert 0.94 < share.max() <= 1.0


def test_a_flooded_site_is_under_a_cap_that_falls_at_one_stroke():
    """Iterations that began before the fall go on drawing after it; the rule has thought of them."""
    fall = {"depth_fraction": 0.1, "notice_s": 15.0, "earliest_start_s": 20.0, "latest_start_s": 20.0, "hold_s": 15.0}
    scenario = flooded(cap_fraction=0.95, demand_response=[{**fall, "ramp_s": 0.0, "recovery_s": 0.0}])
    env = FleetVectorEnv(scenario, 1)
    history = episode(env, uniform_policy(env), 0)
    before, after = history["power_w"][6, 0], history["cap_w"][25, 0]
    assert np.all(before > after)
    assert history["above_cap_s"].sum() == 0.0


def clock_at(scenario, **view):
    return UniformClock(scenario).clocks(view_of(scenario, **view), ())[0][0]


def test_ample_power_means_full_clocks():
    scenario = two_sites(cap_fraction=1.0)
    np.testing.assert_array_equal(clock_at(scenario), [1.0, 1.0])


def test_the_clock_is_the_highest_that_fits():
    """One step of the search further, 0.25 %, the worst draw would be above the cap."""
    scenario = two_sites(cap_fraction=0.8)
    power, clocks = UniformClock(scenario)._power, clock_at(scenario)
    cap_w = [scenario.contract_w("east"), scenario.contract_w("west")]
    assert np.all(power.worst_site_w(clocks, power.arrays.replicas) <= cap_w)
    assert np.all(power.worst_site_w(clocks + 0.0025, power.arrays.replicas) > cap_w)


def test_one_clock_for_a_whole_site_and_its_own_for_each():
    scenario = two_sites(cap_fraction=1.0)
    nameplate_w = np.array([scenario.nameplate_w("east"), scenario.nameplate_w("west")])
    clocks = clock_at(scenario, cap_w=[0.8, 1.0] * nameplate_w, announced_cap_w=([0.8, 1.0] * nameplate_w)[:, None])
    assert 0.4 < clocks[0] < clocks[1] == 1.0
    default = load_scenario("default")
    assert np.unique(clock_at(default)[:2]).size == 1


def test_the_clock_is_down_before_the_cap_is():
    event = {"notice_s": 20.0, "earliest_start_s": 20.0, "latest_start_s": 20.0, "ramp_s": 2.0, "hold_s": 10.0}
    scenario = two_sites(cap_fraction=1.0, demand_response=[{**event, "depth_fraction": 0.1}])
    contract_w = np.array([scenario.contract_w("east"), scenario.contract_w("west")])
    calm = clock_at(scenario)
    warned = clock_at(scenario, announced_cap_w=0.9 * contract_w[:, None])
    assert np.all(calm == 1.0)
    assert np.all(warned < 1.0)


def test_a_row_with_a_lower_cap_slows_its_own_pools():
    data = two_sites(cap_fraction=1.0).model_dump(mode="json")
    data["sites"]["east"]["facility"]["rows"] = {"a": {"cap_fraction": 0.8}}
    data["pools"]["east"]["row"] = "a"
    scenario = load_scenario(data)
    row_cap_w = scenario.row_cap_w("east", "a")
    caps_w = {"row_cap_w": row_cap_w, "announced_row_cap_w": row_cap_w}
    rule, clocks = UniformClock(scenario), clock_at(scenario, **caps_w)
    assert clocks[1] == 1.0
    worst_w = [rule._power.worst_row_w(clocks + step, rule.most_replicas)[0] for step in (0.0, 0.0025)]
    assert worst_w[0] <= row_cap_w < worst_w[1]


def test_everything_stays_awake_where_the_floor_fits():
    assert UniformClock(two_sites(cap_fraction=0.8)).most_replicas.tolist() == [2, 4]


def test_replicas_sleep_where_the_floor_does_not_fit_and_the_fewest_that_will_do():
    scenario = two_sites(cap_fraction=0.5)
    rule = UniformClock(scenario)
    assert np.all(rule.most_replicas < [2, 4])
    assert np.all(rule.most_replicas > 0)
    power, cap_w = rule._power, rule._forecast.deepest_w
    floor = power.arrays.clock_floor_fraction
    assert np.all(power.worst_site_w(floor, rule.most_replicas) <= cap_w)
    assert np.all(power.worst_site_w(floor, rule.most_replicas + 1) > cap_w)


def test_the_last_replica_of_a_pool_goes_last():
    default = load_scenario("default", {"sites.west.grid.cap_fraction": 0.5, "sites.east.grid.cap_fraction": 0.5})
    assert np.all(UniformClock(default).most_replicas >= 1)


def test_replicas_sleep_from_the_first_tick_on():
    env = FleetVectorEnv(two_sites(cap_fraction=0.5), 1)
    policy = uniform_policy(env)
    awake = episode(env, policy, 0)["awake_replicas"]
    assert np.all(policy.clocking.most_replicas < [2, 4])
    assert np.all(awake == policy.clocking.most_replicas)


def test_a_cap_that_nobody_can_keep_is_refused():
    with pytest.raises(SpecError, match=r"clocking: site 'east' draws more than its deepest cap, .* raise the cap"):
        make_policy("careful_operator", context_of(two_sites(cap_fraction=0.05)))
