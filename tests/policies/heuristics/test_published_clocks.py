"""What each published law of clocks is known for, on views made by hand."""

import numpy as np
import pytest

from tests.policies.views import two_sites, view_of
from tokenfleet.envs import load_scenario
from tokenfleet.policies.heuristics.published.agft import Agft
from tokenfleet.policies.heuristics.published.dual_price import DualPrice
from tokenfleet.policies.heuristics.published.dynamollm import DynamoLlmInstance
from tokenfleet.policies.heuristics.published.greenllm import GreenLlm
from tokenfleet.policies.heuristics.published.kv_utilisation import KairosClock, KvSteps
from tokenfleet.policies.heuristics.published.polca import Polca
from tokenfleet.policies.heuristics.published.throttllem import ThrottLLeM
from tokenfleet.policies.heuristics.published.voltana import EcoFreq


@pytest.fixture
def scenario():
    return two_sites()


def settled(rule, view, ticks):
    """Clocks of the first fleet after some ticks of the same view."""
    state = rule.initial_state(len(view.rows))
    for _ in range(ticks):
        clocks, state = rule.clocks(view, state)
    return clocks[0]


def test_a_fuller_cache_means_a_higher_step(scenario):
    use = np.array([[0.1, 0.2], [0.49, 0.5], [0.89, 0.9]])
    clocks, _ = KvSteps(scenario).clocks(view_of(scenario, 3, kv_reserved_fraction=use), ())
    np.testing.assert_allclose(clocks, [[0.474, 0.647], [0.647, 0.828], [0.828, 1.0]])


def test_kairos_rises_from_its_sweet_spot_to_full_clocks_at_three_quarters(scenario):
    view = view_of(scenario, 2, kv_reserved_fraction=[[0.0, 0.375], [0.75, 0.9]])
    np.testing.assert_allclose(KairosClock(scenario).clocks(view, ())[0], [[0.536, 0.768], [1.0, 1.0]])


def test_kairos_boosts_agents_below_their_floor(scenario):
    view = view_of(scenario, running_requests=10.0, generated_tokens=[[199.0, 201.0]])
    assert KairosClock(scenario).clocks(view, ())[0][0].tolist() == [1.0, 0.536]


def test_polca_steps_down_above_its_thresholds_and_up_below_them(scenario):
    """All pools are of high priority here: one threshold for all, then the step of low priority."""
    rule = Polca(scenario)
    state, clocks = rule.initial_state(1), []
    for power in (0.7, 0.81, 0.9, 0.86, 0.83, 0.76, 0.74):
        clock, state = rule.clocks(view_of(scenario, power_over_cap=power), state)
        clocks.append(round(float(clock[0, 0]), 3))
    assert clocks == [1.0, 0.904, 0.787, 0.787, 0.904, 0.904, 1.0]


def test_polca_spares_high_priority_at_its_first_threshold():
    batch = {"model": "llama-3.1-70b", "deadline_s": 60.0, "deferrable": True,
        "usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 1.0}  # fmt: skip
    changes = {"classes.batch": batch, "pools.west.model": "llama-3.1-70b", "pools.west.tensor_parallel": 4}
    scenario = load_scenario(two_sites(), changes)
    assert settled(Polca(scenario), view_of(scenario, power_over_cap=0.85), 1).tolist() == [1.0, 0.904]


def test_ecofreq_takes_the_lowest_clock_that_will_do_and_full_clock_while_work_waits(scenario):
    light = view_of(scenario, running_requests=1.0, waiting_requests=[[0.0, 1.0]])
    assert EcoFreq(scenario).clocks(light, ())[0][0].tolist() == [0.4, 1.0]
    heavy = view_of(scenario, running_requests=[[512.0, 1024.0]], kv_reserved_fraction=0.9)
    assert (EcoFreq(scenario).clocks(heavy, ())[0][0] > 0.4).all()


def test_throttllem_takes_the_lowest_clock_until_prompts_would_be_late(scenario):
    calm = view_of(scenario, running_requests=1.0, unprefilled_tokens=[[0.0, 1e6]])
    assert ThrottLLeM(scenario).clocks(calm, ())[0][0].tolist() == [0.4, 1.0]


def test_greenllm_moves_its_band_after_three_votes(scenario):
    rule, view = GreenLlm(scenario), view_of(scenario, running_requests=1.0, generated_tokens=100.0)
    assert settled(rule, view, 2).min() > 0.8
    assert settled(rule, view, 20).max() < 0.5


def test_dynamollm_decides_every_five_seconds(scenario):
    rule = DynamoLlmInstance(scenario)
    state, clocks = rule.initial_state(1), []
    for tick in range(6):
        view = view_of(scenario, running_requests=1.0, unprefilled_tokens=1e6 if tick else 0.0)
        clock, state = rule.clocks(view, state)
        clocks.append(float(clock[0, 0]))
    assert len(set(clocks[:5])) == 1
    assert clocks[5] == 1.0 > clocks[0]


def test_a_price_of_watts_rises_above_the_cap_and_falls_below(scenario):
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    rule = DualPrice(scenario)
    state = rule.initial_state(1)
    above = view_of(scenario, site_power_w=1.1 * contract_w)
    for _ in range(20):
        clocks, state = rule.clocks(above, state)
    assert (clocks < 1.0).all()
    risen = state[0]
    _, state = rule.clocks(view_of(scenario, site_power_w=0.5 * contract_w), state)
    assert (risen > state[0]).all()


def test_one_price_of_watts_means_a_clock_of_its_own_for_each_kind_of_board():
    old = {"gpu": "a100-sxm-80gb", "model": "llama-3.1-8b", "site": "east", "replicas": 4}
    scenario = load_scenario(two_sites(), {"pools.east.gpu": "b200-sxm", "pools.old": old})
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    view = view_of(scenario, site_power_w=1.05 * contract_w)
    on_the_way = [settled(DualPrice(scenario), view, ticks) for ticks in range(1, 60)]
    assert any(abs(b200 - a100) > 0.1 for b200, _, a100 in on_the_way)


def test_agft_sweeps_its_arms_from_high_to_low_and_then_chooses(scenario):
    rule = Agft(scenario, arms=5, warm_up=3)
    view = view_of(scenario, running_requests=10.0, generated_tokens=1000.0, pool_power_w=1000.0)
    state, clocks = rule.initial_state(1), []
    for _ in range(8):
        clock, state = rule.clocks(view, state)
        clocks.append(round(float(clock[0, 0]), 3))
    assert clocks == [1.0, 1.0, 1.0, 1.0, 0.85, 0.7, 0.55, 0.4]


def test_agft_learns_which_clock_saves_energy(scenario):
    """Power falls with the square of the clock and tokens do not: it ends at low clocks."""
    rule = Agft(scenario, arms=5, warm_up=3)
    state, clock, ends = rule.initial_state(1), np.ones((1, 2)), []
    for _ in range(300):
        view = view_of(scenario, running_requests=10.0, generated_tokens=1000.0, pool_power_w=1000.0 * clock**2)
        clock, state = rule.clocks(view, state)
        ends.append(clock.mean())
    assert np.mean(ends[-50:]) < 0.6
