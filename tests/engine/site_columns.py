"""Random columns of sites and rows for `random_fleets`: batteries, rooms, meters, brakes and breakers."""

from __future__ import annotations

import numpy as np


def places(has_one: np.ndarray) -> np.ndarray:
    """Index among the sites with one, -1 for the others."""
    return np.where(has_one, np.cumsum(has_one) - 1, -1).astype(np.int64)


def counts(some: dict[str, np.ndarray]) -> dict[str, int]:
    """How many have one, from such indices."""
    return {axis: int(index.max()) + 1 for axis, index in some.items()}


def room_columns(rng: np.random.Generator, room: np.ndarray, most_w: np.ndarray) -> dict[str, np.ndarray]:
    """Rooms that a few ticks of load, or of a hot day, bring to their limit and back."""
    sites = len(room)
    limit_c = rng.uniform(23.0, 28.0, sites)
    return {
        "room": room,
        "design_outdoor_c": rng.uniform(25.0, 38.0, sites),
        "room_supply_c": np.full(sites, 20.0),
        "room_k_per_w": rng.uniform(4.0, 20.0, sites) / np.maximum(most_w, 1.0),
        "room_response": rng.uniform(0.1, 0.9, sites),
        "room_limit_c": limit_c,
        "room_release_c": limit_c - rng.uniform(0.0, 2.0, sites),
        "derate_clock_fraction": rng.uniform(0.3, 0.9, sites),
    }


def battery_columns(rng: np.random.Generator, battery: np.ndarray) -> dict[str, np.ndarray]:
    """Batteries that a few ticks fill or empty."""
    present, sites = battery >= 0, len(battery)
    lowest, initial, highest = np.sort(rng.uniform(0.0, 1.0, (3, sites)), axis=0)
    capacity_j = np.where(present, rng.choice([500.0, 5_000.0], sites), 0.0)
    return {
        "battery": battery,
        "battery_limit_w": np.where(present, rng.uniform(10.0, 1_000.0, sites), 0.0),
        "battery_charge_efficiency": np.where(present, rng.uniform(0.7, 1.0, sites), 1.0),
        "battery_discharge_efficiency": np.where(present, rng.uniform(0.7, 1.0, sites), 1.0),
        "battery_capacity_j": capacity_j,
        "battery_lowest_j": lowest * capacity_j,
        "battery_highest_j": highest * capacity_j,
        "battery_initial_j": initial * capacity_j,
    }


def node_columns(rng: np.random.Generator, nodes: int) -> dict[str, np.ndarray]:
    """Meters, brakes and breakers that act within a few ticks."""
    return {
        "meter_window_ticks": rng.choice([1, 1, 2, 5], nodes),
        "brake_delay_s": rng.choice([0.0, 1.0, 3.0], nodes),
        "brake_clock_fraction": rng.uniform(0.1, 0.5, nodes),
        "recovery_ratio": rng.choice([0.0, 0.3, 1.0], nodes),
        "release_fraction": rng.uniform(0.6, 1.0, nodes),
        "release_delay_s": rng.choice([0.0, 2.0], nodes),
        "control_lag_ticks": rng.choice([0, 0, 1, 3], nodes),
        "pickup_ratio": rng.uniform(0.8, 1.3, nodes),
        "trip_exponent": rng.choice([0.7, 1.0, 2.0], nodes),
        "trip_heat_s": rng.choice([0.5, 2.0, 1e9], nodes),
        "cooling_s": rng.choice([4.0, 300.0], nodes),
        "restart_s": rng.choice([1.0, 3.0], nodes),
    }
