"""What power costs and earns beyond its energy, on ticks worked out by hand, on both engines.

The pool is idle and draws 40 W while it is awake, and 5 W asleep; it wakes at once.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.power.programme import CallPhase
from tokenfleet.envs.traces import RequestTable

WAKE = {"wake_s": 0.0}
AWAKE_W, ASLEEP_W = 40.0, 5.0


def at_power(engine: str, arrays: FleetArrays, power_w: list[float], cap_w: float = 1e12, **series: list[float]) -> Run:
    """So many ticks at these powers, and more at the last one; `series` of the episode likewise."""
    episode = plain_episode(arrays, RequestTable.empty(), cap_w=cap_w)
    columns = {name: np.array([[value] for value in _filled(values, arrays)]) for name, values in series.items()}
    base = neutral(arrays)
    awake = [np.full((1, 1), float(w == AWAKE_W)) for w in _filled(power_w, arrays)]
    return run(engine, arrays, replace(episode, **columns), [replace(base, awake_fraction=one) for one in awake])


def _filled(values: list[float], arrays: FleetArrays) -> list[float]:
    return values + [values[-1]] * (arrays.horizon_ticks - len(values))


def first(result: Run, name: str, count: int) -> list[float]:
    return result.outcomes[name][:count, 0].tolist()


CHARGES = {**WAKE, "charges": 0, "demand_window_ticks": 4, "demand_usd_per_w": 2.0, "ratchet_w": 10.0}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_highest_window_is_charged_as_soon_as_it_is_certain(engine):
    """Windows of 13.75 and 22.5 W on average, above a ratchet of 10 W; the second tick makes sure of 11.25 W."""
    power_w = [AWAKE_W, ASLEEP_W, ASLEEP_W, ASLEEP_W, AWAKE_W, AWAKE_W, ASLEEP_W, ASLEEP_W, ASLEEP_W]
    result = at_power(engine, one_pool(**CHARGES), power_w)
    assert first(result, "demand_charge_usd", 9) == [0.0, 2.5, 2.5, 2.5, 0.0, 12.5, 2.5, 2.5, 0.0]
    assert result.total("demand_charge_usd") == 2.0 * (22.5 - 10.0)
    assert result.views["peak_power_w"][[0, 4, 8], 0].tolist() == [10.0, 13.75, 22.5]
    assert result.views["window_fraction"][[0, 1, 4, 5], 0].tolist() == [0.0, 0.25, 1.0, 0.25]
    assert result.views["window_power_w"][[1, 2], 0].tolist() == [40.0, 22.5]


@pytest.mark.parametrize("engine", ENGINES)
def test_power_that_changes_too_fast_is_charged_up_and_down(engine):
    """35 W from tick to tick, of which 20 W are allowed."""
    arrays = one_pool(**WAKE, charges=0, ramp_limit_w=20.0, ramp_usd_per_w=0.1)
    result = at_power(engine, arrays, [AWAKE_W, AWAKE_W, ASLEEP_W, AWAKE_W])
    assert first(result, "ramp_charge_usd", 5) == pytest.approx([0.0, 0.0, 1.5, 1.5, 0.0])


PROGRAMME = {
    **WAKE,
    "programme": 0,
    "contract_w": 50.0,
    "initial_baseline_w": 50.0,
    "baseline_ticks": 2,
    "availability_usd_per_s": 3.0,
    "activation_usd_per_j": 2.0,
    "damages_usd_per_j": 7.0,
    "rebound_usd_per_j": 5.0,
}
NONE, ANNOUNCED, CALLED, REBOUND = (float(phase) for phase in CallPhase)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_call_pays_for_what_is_delivered_and_costs_what_is_drawn_above_it(engine):
    """20 of 50 W are called back: asleep the site delivers all of it, awake none, and is 10 W above the called cap."""
    result = at_power(
        engine,
        one_pool(**PROGRAMME),
        [AWAKE_W, AWAKE_W, ASLEEP_W, AWAKE_W],
        called_w=[0.0, 0.0, 20.0, 20.0, 0.0],
        call_phase=[NONE, ANNOUNCED, CALLED, CALLED, NONE],
    )
    assert first(result, "delivered_j", 5) == [0.0, 0.0, 20.0, 0.0, 0.0]
    assert first(result, "called_j", 5) == [0.0, 0.0, 20.0, 20.0, 0.0]
    assert first(result, "availability_usd", 5) == [3.0, 3.0, 3.0, 0.0, 3.0]
    assert first(result, "activation_usd", 5) == [0.0, 0.0, 40.0, 0.0, 0.0]
    assert first(result, "damages_usd", 5) == [0.0, 0.0, 0.0, 70.0, 0.0]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_baseline_stands_still_from_the_notice_on(engine):
    """A tick awake, one asleep; whoever sleeps after the notice does not lower it."""
    power_w = [AWAKE_W, ASLEEP_W, ASLEEP_W, ASLEEP_W]
    result = at_power(engine, one_pool(**PROGRAMME), power_w, call_phase=[NONE, NONE, ANNOUNCED, NONE])
    assert result.views["baseline_w"][:5, 0].tolist() == [50.0, 40.0, 22.5, 22.5, 5.0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stated_baseline_follows_no_meter(engine):
    arrays = one_pool(**{**PROGRAMME, "baseline_ticks": 0, "initial_baseline_w": 35.0})
    assert set(at_power(engine, arrays, [AWAKE_W]).views["baseline_w"][:, 0]) == {35.0}


@pytest.mark.parametrize("engine", ENGINES)
def test_rebound_is_what_is_drawn_above_the_tolerance_after_a_call(engine):
    """Awake at 40 W, 7 W above 110 % of a baseline of 30 W."""
    arrays = one_pool(**{**PROGRAMME, "baseline_ticks": 0, "initial_baseline_w": 30.0, "rebound_level": 1.1})
    result = at_power(engine, arrays, [AWAKE_W, AWAKE_W, ASLEEP_W], call_phase=[NONE, REBOUND, REBOUND])
    assert first(result, "rebound_usd", 3) == pytest.approx([0.0, 35.0, 0.0])


@pytest.mark.parametrize("engine", ENGINES)
def test_no_brake_holds_a_call_that_only_money_holds(engine):
    """30 W are asked for and the brake holds 50 W: the fleet stands above the cap as long as it likes."""
    result = at_power(engine, one_pool(**PROGRAMME), [AWAKE_W], cap_w=30.0, brake_cap_w=[50.0])
    assert result.total("above_cap_s") == 20.0
    assert result.total("brakes") == 0.0
    assert set(result.outcomes["unbraked_over_cap_w"][:, 0]) == {10.0}
    held = at_power(engine, one_pool(**PROGRAMME), [AWAKE_W], cap_w=30.0, brake_cap_w=[30.0])
    assert held.total("brakes") > 0.0
    assert held.total("unbraked_over_cap_w") == 0.0


REGULATION = {
    **WAKE,
    "regulation": 0,
    "regulation_base_ticks": 1,
    "regulation_initial_base_w": 40.0,
    "regulation_w": 70.0,
    "regulation_usd_per_s": 8.0,
    "regulation_usd_per_mileage": 4.0,
}


@pytest.mark.parametrize("engine", ENGINES)
def test_regulation_pays_for_following_the_signal(engine):
    """From 40 to 5 W is half of the capacity down, and back up; the third tick does not move."""
    result = at_power(
        engine,
        one_pool(**REGULATION),
        [ASLEEP_W, AWAKE_W, AWAKE_W],
        regulation_signal=[-0.5, 0.25, 1.0],
    )
    assert first(result, "regulation_score", 3) == pytest.approx([1.0, 0.75, 0.0])
    assert first(result, "regulation_usd", 3) == pytest.approx([8.0 + 0.5 * 4.0, 0.75 * (8.0 + 0.75 * 4.0), 0.0])
    assert result.views["regulation_response"][:4, 0].tolist() == pytest.approx([0.0, -0.5, 0.5, 0.0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tick_below_the_least_score_is_not_paid(engine):
    arrays = one_pool(**REGULATION, regulation_least_score=0.8)
    result = at_power(engine, arrays, [ASLEEP_W, AWAKE_W], regulation_signal=[-0.5, 0.25])
    assert first(result, "regulation_usd", 2) == pytest.approx([10.0, 0.0])


def test_the_demand_charge_is_that_of_the_highest_window():
    """Whatever the scenario: what was booked tick by tick is what a utility would bill at the end."""
    for seed in range(20):
        instance = random_instance(seed, load=3.0)
        result, a = run("native", instance.arrays, instance.episode, instance.controls), instance.arrays
        for s in np.flatnonzero(a.charges >= 0):
            length = int(a.demand_window_ticks[s])
            energy_j = np.pad(result.outcomes["energy_j"][:, s], (0, -a.horizon_ticks % length))
            highest_w = energy_j.reshape(-1, length).sum(axis=1).max() / (length * a.tick_s)
            charged_usd = result.outcomes["demand_charge_usd"][:, a.charges[s]].sum()
            assert charged_usd == pytest.approx(a.demand_usd_per_w[s] * max(highest_w - a.ratchet_w[s], 0.0), abs=1e-6)
