"""The highest power of a site, and the lowest bound of its cap: the two halves of a provable cap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policies.views import two_sites
from tokenfleet.envs import load_scenario
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.facility import CoolingSpec, pue_at
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_power_w, iteration_time_s
from tokenfleet.envs.scenario.capacity import capacity_rps

SCENARIOS = ("tiny", "default")


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return load_scenario(request.param)


def random_batches(model: PowerModel, rng: np.random.Generator, count: int) -> Batch:
    """Batches that an engine could form, `[count, P]`, many of them at a limit."""
    a = model.arrays

    def share() -> np.ndarray:
        return rng.choice([0.0, 1.0, rng.random()], (count, a.num_pools))

    decoding = np.floor(share() * a.max_batch)
    prefill = np.floor(share() * (a.token_budget - decoding))
    context = np.where(decoding > 0, np.floor(share() * a.kv_tokens), 0.0)
    return Batch(decoding, context, prefill, np.floor(share() * prefill * a.kv_tokens))


@given(seed=st.integers(0, 2**32), name=st.sampled_from(SCENARIOS))
@settings(max_examples=30, deadline=None)
def test_no_batch_draws_more_than_the_worst(seed, name):
    model, rng = PowerModel(load_scenario(name)), np.random.default_rng(seed)
    batch = random_batches(model, rng, 200)
    clock = rng.uniform(0.4, 1.0, (200, model.arrays.num_pools))
    physics = model.physics(clock, rng.uniform(*model.decode_memory_fraction))
    assert np.all(iteration_power_w(physics, batch) <= model.worst_busy_w(clock) * (1 + 1e-12))
    assert np.all(iteration_time_s(physics, batch) <= model.longest_iteration_s() * (1 + 1e-12))


def test_the_worst_is_a_batch_that_can_happen(scenario):
    """A flood of tiny prompts, the tail of a prompt as long as the KV cache, or such a prompt decoding beside them."""
    model = PowerModel(scenario)
    a = model.arrays
    full, kv = a.token_budget.astype(float), a.kv_tokens.astype(float)
    one, none = np.ones(a.num_pools), np.zeros(a.num_pools)
    sizes = [np.minimum(tokens, full) for tokens in TOKEN_KNOTS]
    floods = [Batch(none, none, tokens, tokens) for tokens in sizes]
    tails = [Batch(none, none, tokens, tokens * (kv - tokens)) for tokens in sizes]
    decodes = [Batch(one, kv - tokens, tokens - 1.0, tokens - 1.0) for tokens in sizes]
    for fraction in (0.4, 0.6, 0.8, 1.0):
        clock = np.full(a.num_pools, fraction)
        physics = model.physics(clock, model.decode_memory_fraction[1])
        drawn_w = [iteration_power_w(physics, batch) for batch in floods + tails + decodes]
        assert np.all(np.max(drawn_w, axis=0) >= 0.93 * model.worst_busy_w(clock))


def test_the_worst_never_falls_with_the_clock(scenario):
    model = PowerModel(scenario)
    clocks = np.linspace(0.4, 1.0, 61)[:, None] * np.ones(model.arrays.num_pools)
    assert np.all(np.diff(model.worst_busy_w(clocks), axis=0) >= 0.0)


def test_the_worst_site_is_everything_at_its_worst():
    """Two H100 awake at full clock (at their limit, 689.5 W) and two asleep, servers and cooling included."""
    scenario = two_sites()
    model = PowerModel(scenario)
    worst_w = model.worst_site_w(np.ones(2), np.array([2, 2]))
    facility = scenario.sites["west"].facility
    gpu = scenario.pools["west"].gpu_spec
    awake_w, asleep_w = 0.985 * 700.0 + facility.host_w_per_gpu, gpu.asleep_w + facility.host_asleep_w_per_gpu
    np.testing.assert_allclose(worst_w[0], facility.pue * 2 * awake_w)
    np.testing.assert_allclose(worst_w[1], facility.pue * (2 * awake_w + 2 * asleep_w))


def test_the_worst_site_has_its_plant_at_its_design_and_its_factors_at_their_highest():
    """Of 689.5 W of boards and their servers, on the hottest day that the plant is built for."""
    facility = {"cooling": {}, "design_outdoor_c": 35.0, "host_w_per_gpu": 100.0, "host_w_per_board_w": 0.2}
    data = two_sites().model_dump(mode="json")
    data["sites"]["east"]["facility"] = facility
    data["uncertainty"] = {"pue_factor": [0.5, 1.5], "host_power_factor": [0.8, 1.4]}
    model = PowerModel(load_scenario(data))
    it_w = 2 * (689.5 + 1.4 * (100.0 + 0.2 * 689.5))
    fixed_w = 0.02 * 2 * (700.0 + 100.0 + 0.2 * 700.0)
    design_pue = float(pue_at(CoolingSpec(), np.array(35.0)))
    worst_w = model.worst_site_w(np.ones(2), np.array([2, 2]))[0]
    assert worst_w == pytest.approx((1.0 + 1.5 * (design_pue - 1.0)) * it_w + 1.5 * fixed_w)


def test_prefixes_from_host_memory_lengthen_the_longest_iteration():
    bare = load_scenario("split-serving")
    host_memory = {"prefix_cache": True, "host_cache_bytes": 5e9}
    pools = {name: pool.model_copy(update=host_memory) for name, pool in bare.pools.items()}
    cached = bare.model_copy(update={"pools": pools})
    longer_s = PowerModel(cached).longest_iteration_s() - PowerModel(bare).longest_iteration_s()
    loads_s = [min(p.host_cache_tokens, p.kv_capacity_tokens) * p.host_load_s for p in pools.values()]
    assert min(loads_s) > 0.0
    np.testing.assert_allclose(longer_s, loads_s, rtol=1e-9)


SENSITIVE = {
    "ordinary": {"mean_stay_s": 9.0, "clock_sensitivity_factor": {"lab-8b": 0.1, "lab-70b": 0.1}},
    "sensitive": {"mean_stay_s": 9.0, "clock_sensitivity_factor": {"lab-8b": 2.0, "lab-70b": 2.0}},
}


@pytest.mark.parametrize(
    "overrides",
    [{"uncertainty": {"decode_memory_fraction": [0.7, 0.99]}}, {"regimes": {"kernels": {"states": SENSITIVE}}}],
)
def test_uncertain_physics_widens_the_bound(overrides):
    certain = PowerModel(load_scenario("tiny"))
    uncertain = PowerModel(load_scenario("tiny", overrides))
    clock = np.full(2, 0.5)
    assert np.all(uncertain.worst_busy_w(clock) >= certain.worst_busy_w(clock))
    assert np.all(uncertain.longest_iteration_s() >= certain.longest_iteration_s())
    assert np.any(uncertain.longest_iteration_s() > certain.longest_iteration_s())


def test_service_at_full_clock_is_the_capacity_that_actions_weigh_by(scenario):
    model = ServiceModel(scenario)
    replicas = model.power.arrays.replicas
    np.testing.assert_array_equal(model.at(np.ones(len(replicas))).requests_per_s * replicas, capacity_rps(scenario))


def test_service_slows_with_the_clock_unless_the_power_limit_sets_it(scenario):
    """A board at its limit runs at the clock that the limit allows, so it serves and draws the same at any above."""
    clocks = np.linspace(0.4, 1.0, 31)[:, None] * np.ones(len(scenario.pools))
    service = ServiceModel(scenario).at(clocks)
    requests_per_s = service.requests_per_s[:, scenario.route_mask]
    power_w = requests_per_s / service.requests_per_joule[:, scenario.route_mask]
    faster, at_limit = (
        np.diff(requests_per_s, axis=0) / requests_per_s[1:],
        np.diff(power_w, axis=0) < 1e-9 * power_w[1:],
    )
    assert np.all(faster[~at_limit] > 0.0)
    np.testing.assert_allclose(faster[at_limit], 0.0, atol=1e-9)
    assert not at_limit[:10].any()


def test_an_h100_serves_most_per_joule_between_its_slowest_and_its_fastest_clock():
    """Energy against clock is U-shaped: slow clocks waste awake watts, fast ones voltage; a 70B shows it."""
    scenario = load_scenario("tiny")
    clocks = np.linspace(0.4, 1.0, 31)
    at = ServiceModel(scenario).at(clocks[:, None] * np.ones(2))
    best = clocks[at.requests_per_joule[:, 1, 1].argmax()]
    assert 0.6 < best < 1.0


# caps to come

EVENTS = st.fixed_dictionaries(
    {
        "depth_fraction": st.floats(0.0, 0.6),
        "notice_s": st.floats(0.0, 30.0),
        "earliest_start_s": st.floats(0.0, 30.0),
        "ramp_s": st.sampled_from([0.0, 0.5, 3.0, 10.0]),
        "hold_s": st.floats(0.5, 20.0),
        "recovery_s": st.sampled_from([0.0, 5.0]),
    }
)


@given(
    events=st.lists(EVENTS, max_size=3),
    ahead_ticks=st.integers(0, 8),
    window_s=st.sampled_from([0.0, 10.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_no_cap_falls_below_its_forecast(events, ahead_ticks, window_s, seed):
    scenario = two_sites(
        demand_response=[{**event, "latest_start_s": event["earliest_start_s"] + window_s} for event in events]
    )
    drawn = sample_episode(scenario, seed)
    announced_w = drawn.exogenous[:-1, 2:4].reshape(-1, 2, 1).astype(float)  # one lead time
    forecast = CapForecast.of_sites(scenario, np.full(2, ahead_ticks * scenario.tick_s))
    lowest_w = forecast.lowest_w(drawn.cap_w, announced_w)
    for tick in range(scenario.horizon_ticks - ahead_ticks):
        coming_w = drawn.cap_w[tick : tick + ahead_ticks + 1].min(axis=0)
        assert np.all(lowest_w[tick] <= coming_w * (1 + 1e-6))
        assert np.all(lowest_w[tick] >= forecast.deepest_w * (1 - 1e-6))


def deepest_share(*windows_s: tuple[float, float]) -> float:
    """Share of the contract that events of a quarter leave at the deepest, by when they begin and end."""
    events = [
        {"depth_fraction": 0.25, "earliest_start_s": first, "latest_start_s": first, "hold_s": last - first}
        for first, last in windows_s
    ]
    scenario = two_sites(demand_response=[{**event, "ramp_s": 0.0, "recovery_s": 0.0} for event in events])
    return float(CapForecast.of_sites(scenario, np.full(2, 1.0)).deepest_w[0] / scenario.contract_w("east"))


def test_only_events_that_can_coincide_are_combined():
    assert deepest_share() == 1.0
    assert deepest_share((5.0, 10.0), (20.0, 25.0)) == 0.75
    assert deepest_share((5.0, 21.0), (20.0, 25.0)) == 0.75**2
    assert deepest_share((5.0, 10.0), (9.0, 20.0), (19.0, 25.0)) == 0.75**2


def test_an_announced_cap_counts_where_no_other_event_comes_near():
    """Else a second event could begin between now and the lead time, and be over before it."""
    event = {"notice_s": 30.0, "hold_s": 12.0, "ramp_s": 4.0, "recovery_s": 0.0}
    near, far = ({**event, "earliest_start_s": start, "latest_start_s": start} for start in (20.0, 60.0))
    for events, share in (([near, far], 0.75), ([near, {**far, "earliest_start_s": 22.0}], 0.75**2)):
        scenario = two_sites(demand_response=events)
        contract_w = np.array([[scenario.contract_w("east"), scenario.contract_w("west")]])
        forecast = CapForecast.of_sites(scenario, np.full(2, 4.0))
        lowest_w = forecast.lowest_w(0.75 * contract_w, 0.75 * contract_w[..., None])
        np.testing.assert_allclose(lowest_w, share * contract_w)


def test_a_forecast_lowers_nothing_while_nothing_is_announced_near():
    event = {"notice_s": 10.0, "earliest_start_s": 30.0, "latest_start_s": 30.0, "hold_s": 8.0, "ramp_s": 4.0}
    scenario = two_sites(demand_response=[event])
    forecast = CapForecast.of_sites(scenario, np.full(2, 2.0))
    contract_w = np.array([[scenario.contract_w("east"), scenario.contract_w("west")]])
    np.testing.assert_allclose(forecast.lowest_w(contract_w, contract_w[..., None]), contract_w)


def test_a_forecast_follows_a_ramp_no_steeper_than_it_is():
    """25 % in 4 s: two seconds ahead, an announced event can have taken 12.5 % of the contract at most."""
    event = {"notice_s": 10.0, "earliest_start_s": 30.0, "latest_start_s": 30.0, "hold_s": 8.0, "ramp_s": 4.0}
    scenario = two_sites(demand_response=[event])
    contract_w = np.array([[scenario.contract_w("east"), scenario.contract_w("west")]])
    lowest_w = CapForecast.of_sites(scenario, np.full(2, 2.0)).lowest_w(contract_w, 0.75 * contract_w[..., None])
    np.testing.assert_allclose(lowest_w, 0.875 * contract_w)


def test_only_events_that_can_coincide_deepen_each_other():
    """Two events of a quarter: one after the other the cap keeps 75 % of the contract, at once 56.25 %."""
    event = {"earliest_start_s": 5.0, "latest_start_s": 5.0, "ramp_s": 1.0, "hold_s": 5.0, "recovery_s": 1.0}
    later = {**event, "earliest_start_s": 20.0, "latest_start_s": 20.0}
    for second, share in ((later, 0.75), (event, 0.75**2)):
        scenario = two_sites(demand_response=[event, second])
        contract_w = [scenario.contract_w(site) for site in scenario.sites]
        np.testing.assert_allclose(CapForecast.of_sites(scenario, np.zeros(2)).deepest_w, share * np.array(contract_w))
