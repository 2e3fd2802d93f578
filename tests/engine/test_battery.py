"""Batteries and solar panels: who feeds a site, by hand on both engines, and what is conserved whatever is asked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.battery import Battery
from tokenfleet.envs.traces import RequestTable

NOTHING = RequestTable.empty()
each_engine = pytest.mark.parametrize("engine", ENGINES)


def with_battery(**changes: object) -> FleetArrays:
    """`one_pool`, idle at 40 W, with a battery of 30 W that holds 10 to 90 J, now 50 J, at 80 % each way."""
    battery = {
        "battery": 0,
        "battery_limit_w": 30.0,
        "battery_charge_efficiency": 0.8,
        "battery_discharge_efficiency": 0.8,
        "battery_capacity_j": 100.0,
        "battery_lowest_j": 10.0,
        "battery_highest_j": 90.0,
        "battery_initial_j": 50.0,
    }
    return one_pool(**{**battery, **changes})


def asked(engine: str, arrays: FleetArrays, power_w: list[float], solar_w: float = 0.0, cap_w: float = 1e12) -> Run:
    """An idle fleet whose battery is asked for `power_w`, one a tick; then it rests."""
    episode = plain_episode(arrays, NOTHING, cap_w=cap_w)
    tape = [replace(neutral(arrays), battery_power_w=np.array([[value]])) for value in power_w]
    rest = [neutral(arrays)] * (arrays.horizon_ticks - len(tape))
    return run(engine, arrays, replace(episode, solar_w=np.full_like(episode.solar_w, solar_w)), tape + rest)


@each_engine
def test_a_battery_discharges_at_its_power_until_it_is_at_its_lowest(engine):
    """Of the 40 J above its lowest, 32 J reach the busbar: 30 J in the first second and 2 J in the next."""
    result = asked(engine, with_battery(), [100.0, 100.0, 100.0])
    assert result.outcomes["battery_discharge_j"][:4, 0].tolist() == pytest.approx([30.0, 2.0, 0.0, 0.0])
    assert result.outcomes["power_w"][:4, 0].tolist() == pytest.approx([10.0, 38.0, 40.0, 40.0])
    assert result.views["battery_charge_fraction"][:3, 0].tolist() == pytest.approx([0.5, 0.125, 0.1])
    assert result.views["battery_power_w"][1, 0] == pytest.approx(30.0)


@each_engine
def test_a_battery_charges_at_its_power_until_it_is_full(engine):
    """40 J fit, which take 50 J from the busbar."""
    result = asked(engine, with_battery(), [-100.0, -25.0, -100.0])
    assert result.outcomes["battery_charge_j"][:4, 0].tolist() == pytest.approx([30.0, 20.0, 0.0, 0.0])
    assert result.outcomes["power_w"][:3, 0].tolist() == pytest.approx([70.0, 60.0, 40.0])
    assert result.views["battery_charge_fraction"][2, 0] == pytest.approx(0.9)
    assert result.views["battery_power_w"][1, 0] == pytest.approx(-30.0)


@each_engine
def test_solar_power_serves_the_site_before_the_battery_does(engine):
    """Of 40 W, 25 W are solar; the battery is asked for 30 W and may give 15 W."""
    result = asked(engine, with_battery(solar=0), [30.0], solar_w=25.0)
    assert result.outcomes["battery_discharge_j"][0, 0] == pytest.approx(15.0)
    assert result.outcomes["energy_j"][:2, 0].tolist() == pytest.approx([0.0, 15.0])
    assert result.views["solar_power_w"][1, 0] == pytest.approx(25.0)


@each_engine
def test_a_charging_battery_takes_up_solar_power_and_the_rest_is_curtailed(engine):
    """100 W of sun over 40 W of load: 20 W charge the battery, 40 W go to waste."""
    result = asked(engine, with_battery(solar=0), [-20.0], solar_w=100.0)
    assert result.outcomes["solar_j"][:2, 0].tolist() == pytest.approx([60.0, 40.0])
    assert result.total("energy_j") == 0.0


@each_engine
def test_the_meter_the_brake_and_the_breaker_see_the_grid_and_not_the_facility(engine):
    """40 W over a cap of 35 W; 10 W from the battery keep it for as long as the 32 J last: three seconds."""
    result = asked(engine, with_battery(), [10.0] * 5, cap_w=35.0)
    assert result.outcomes["above_cap_s"][:5, 0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert result.outcomes["facility_energy_j"][:5, 0].tolist() == pytest.approx([40.0] * 5)


@each_engine
def test_a_battery_rests_while_its_site_is_dark(engine):
    arrays = with_battery(trip_heat_s=1.0, brake_delay_s=1e9)
    result = asked(engine, arrays, [0.0, *[-30.0] * 6], cap_w=20.0)
    assert result.outcomes["trips"][0, 0] == 1.0
    assert result.outcomes["battery_charge_j"][:6, 0].tolist() == pytest.approx([0.0] * 5 + [30.0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_energy_is_conserved_whatever_is_asked(seed):
    instance = random_instance(seed, load=3.0)
    a, result = instance.arrays, run("native", instance.arrays, instance.episode, instance.controls)
    o = {name: result.outcomes[name] for name in ("energy_j", "facility_energy_j", "solar_j")}
    charge_j, discharge_j = result.outcomes["battery_charge_j"], result.outcomes["battery_discharge_j"]
    assert np.all(o["energy_j"] >= 0.0)
    assert np.all((o["solar_j"] >= 0.0) & (o["solar_j"] <= instance.episode.solar_w * a.tick_s * (1 + 1e-12)))
    supplied_j = o["energy_j"] + discharge_j + o["solar_j"]
    np.testing.assert_allclose(supplied_j, o["facility_energy_j"] + charge_j, rtol=1e-9, atol=1e-9)
    gained_j = charge_j * a.battery_charge_efficiency - discharge_j / a.battery_discharge_efficiency
    stored_j = a.battery_initial_j + np.cumsum(gained_j, axis=0)
    slack_j = 1e-9 * (1.0 + a.battery_capacity_j)
    assert np.all((stored_j >= a.battery_lowest_j - slack_j) & (stored_j <= a.battery_highest_j + slack_j))
    for s, index in enumerate(a.battery):
        if index >= 0:
            seen = result.views["battery_charge_fraction"][1:, index]
            np.testing.assert_allclose(seen, stored_j[:, s] / a.battery_capacity_j[s], rtol=1e-6, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    tape=st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.0, 100.0)), max_size=30),
    efficiency=st.floats(0.5, 1.0),
)
def test_a_store_keeps_its_balance_and_its_bounds(tape, efficiency):
    battery = Battery(with_battery(battery_charge_efficiency=efficiency), 0)
    for asked_w, need_j in tape:
        before_j = battery.stored_j
        charge_j, discharge_j = battery.run(asked_w, need_j)
        assert min(charge_j, discharge_j) == 0.0
        assert discharge_j <= need_j
        assert 10.0 <= battery.stored_j <= 90.0
        assert battery.stored_j - before_j == pytest.approx(charge_j * efficiency - discharge_j / 0.8, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_battery_at_rest_and_no_sun_change_nothing(seed):
    """The grid then gives what the facility consumes, to the last bit."""
    instance = random_instance(seed, load=3.0)
    dark = replace(instance.episode, solar_w=np.zeros_like(instance.episode.solar_w))
    tape = [replace(tick, battery_power_w=None) for tick in instance.controls]
    result = run("native", instance.arrays, dark, tape)
    np.testing.assert_array_equal(result.outcomes["energy_j"], result.outcomes["facility_energy_j"])
