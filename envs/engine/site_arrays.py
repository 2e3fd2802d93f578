"""Sites and rows to flat arrays: the part of `FleetArrays` that says how power gets to the pools."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.facility import RoomSpec, fixed_w, pue
from tokenfleet.envs.layers.power import BatterySpec, ProtectionSpec, heat_to_trip_s
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def site_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    """Every column of sites, rows and power nodes, by name."""
    return {
        **_facility_arrays(scenario),
        **_room_arrays(scenario),
        **_battery_arrays(scenario),
        **_node_arrays(scenario),
    }


def _facility_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    worst = (scenario.uncertainty.pue_factor or (1.0, 1.0))[1]
    facilities = {name: site.facility for name, site in scenario.sites.items()}
    design_pue = np.array([pue(f, np.array(f.design_outdoor_c)) for f in facilities.values()])
    return {
        "pue": 1.0 + (design_pue - 1.0) * worst,
        "fixed_w": worst * np.array([fixed_w(f, scenario.it_nameplate_w(name)) for name, f in facilities.items()]),
        "design_outdoor_c": np.array([f.design_outdoor_c for f in facilities.values()]),
        "solar": places(scenario.sites, scenario.solar_sites),
    }


def _room_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    rooms = [site.facility.room for site in scenario.sites.values()]
    nameplate_w = np.array([scenario.it_nameplate_w(name) for name in scenario.sites])

    def column(value: Callable[[RoomSpec], float]) -> Float64Array:
        return np.array([0.0 if room is None else value(room) for room in rooms], dtype=np.float64)

    return {
        "room": places(scenario.sites, scenario.rooms),
        "room_supply_c": column(lambda room: room.supply_c),
        "room_k_per_w": column(lambda room: room.rise_k) / nameplate_w,
        "room_response": column(lambda room: -math.expm1(-scenario.tick_s / room.time_constant_s)),
        "room_limit_c": column(lambda room: room.limit_c),
        "room_release_c": column(lambda room: room.limit_c - room.hysteresis_k),
        "derate_clock_fraction": column(lambda room: room.derate_clock_fraction),
    }


def _battery_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    batteries = [site.battery for site in scenario.sites.values()]

    def column(value: Callable[[BatterySpec], float], without: float = 0.0) -> Float64Array:
        return np.array([without if battery is None else value(battery) for battery in batteries], dtype=np.float64)

    return {
        "battery": places(scenario.sites, scenario.batteries),
        "battery_limit_w": column(lambda battery: battery.power_w),
        "battery_charge_efficiency": column(lambda battery: battery.charge_efficiency, without=1.0),
        "battery_discharge_efficiency": column(lambda battery: battery.discharge_efficiency, without=1.0),
        "battery_capacity_j": column(lambda battery: battery.energy_j),
        "battery_lowest_j": column(lambda battery: battery.min_charge_fraction * battery.energy_j),
        "battery_highest_j": column(lambda battery: battery.max_charge_fraction * battery.energy_j),
        "battery_initial_j": column(lambda battery: battery.initial_charge_fraction * battery.energy_j),
    }


def places(names: Iterable[str], some: Iterable[str]) -> Int64Array:
    """Where each of `names` stands among `some` of them, -1 where it is not among them."""
    place = {name: index for index, name in enumerate(some)}
    return np.array([place.get(name, -1) for name in names], dtype=np.int64)


def _node_arrays(scenario: Scenario) -> dict[str, NDArray[np.generic]]:
    nodes: list[ProtectionSpec] = [*(site.grid for site in scenario.sites.values()), *scenario.rows.values()]
    return {
        "meter_window_ticks": np.array([max(whole_ticks(node.meter_window_s, scenario.tick_s), 1) for node in nodes]),
        "brake_delay_s": np.array([node.brake.delay_s for node in nodes]),
        "brake_clock_fraction": np.array([node.brake.clock_fraction for node in nodes]),
        "recovery_ratio": np.array([node.brake.recovery_ratio for node in nodes]),
        "release_fraction": np.array([node.brake.release_fraction for node in nodes]),
        "release_delay_s": np.array([node.brake.release_delay_s for node in nodes]),
        "control_lag_ticks": np.array([whole_ticks(node.brake.control_lag_s, scenario.tick_s) for node in nodes]),
        "pickup_ratio": np.array([node.breaker.pickup_ratio for node in nodes]),
        "trip_exponent": np.array([node.breaker.curve_exponent for node in nodes]),
        "trip_heat_s": np.array([heat_to_trip_s(node.breaker) for node in nodes]),
        "cooling_s": np.array([node.breaker.cooling_s for node in nodes]),
        "restart_s": np.array([node.breaker.restart_s for node in nodes]),
    }


def whole_ticks(span_s: float, tick_s: float) -> int:
    """The ticks that `span_s` reaches into; a hair past a whole number, as 0.3 / 0.1 gives, is that number.

    >>> [whole_ticks(span_s, 0.1) for span_s in (0.0, 0.05, 0.3, 0.31)]
    [0, 1, 3, 4]
    """
    return math.ceil(span_s / tick_s - 1e-9)
