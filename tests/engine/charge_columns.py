"""Random charges, demand-response programmes and calls for `random_fleets`."""

from __future__ import annotations

import numpy as np

from tests.engine.site_columns import places
from tokenfleet.envs.engine.arrays import FleetArrays


def charge_columns(rng: np.random.Generator, most_w: np.ndarray) -> dict[str, np.ndarray]:
    """Tariffs and programmes of sites that draw `most_w` at most, with prices that a wrong watt shows in."""
    sites = len(most_w)
    return {
        "charges": places(rng.random(sites) < 0.5),
        "demand_window_ticks": rng.choice([1, 2, 5], sites),
        "demand_usd_per_w": rng.uniform(0.0, 2.0, sites),
        "ratchet_w": rng.uniform(0.0, 0.6, sites) * most_w,
        "ramp_limit_w": np.where(rng.random(sites) < 0.3, np.inf, rng.uniform(0.0, 0.2, sites) * most_w),
        "ramp_usd_per_w": rng.uniform(0.0, 1.0, sites),
        "programme": places(rng.random(sites) < 0.5),
        "baseline_ticks": rng.choice([0, 1, 3], sites),
        "initial_baseline_w": rng.uniform(0.3, 1.2, sites) * most_w,
        "contract_w": rng.uniform(0.5, 1.0, sites) * most_w,
        "availability_usd_per_s": rng.uniform(0.0, 1.0, sites),
        "activation_usd_per_j": rng.uniform(0.0, 1e-2, sites),
        "damages_usd_per_j": rng.uniform(0.0, 1e-2, sites),
        "rebound_level": rng.uniform(0.5, 1.2, sites),
        "rebound_usd_per_j": rng.uniform(0.0, 1e-2, sites),
        "regulation": places(rng.random(sites) < 0.5),
        "regulation_base_ticks": rng.choice([1, 4], sites),
        "regulation_initial_base_w": rng.uniform(0.3, 1.2, sites) * most_w,
        "regulation_w": rng.uniform(0.05, 0.5, sites) * np.maximum(most_w, 1.0),
        "regulation_usd_per_s": rng.uniform(0.0, 1.0, sites),
        "regulation_usd_per_mileage": rng.uniform(0.0, 1.0, sites),
        "regulation_least_score": rng.choice([0.0, 0.4], sites),
    }


def agreement_columns(rng: np.random.Generator, classes: int) -> dict[str, np.ndarray]:
    """Agreements of most classes, with up to three steps of credit in windows of a few ticks."""
    steps = np.arange(3) < rng.integers(1, 4, (classes, 1))
    return {
        "agreement": places(rng.random(classes) < 0.7),
        "agreement_window_ticks": rng.choice([1, 2, 5], classes),
        "agreement_ttft_s": np.where(rng.random(classes) < 0.5, np.inf, rng.uniform(0.02, 2.0, classes)),
        "agreement_below_share": np.where(steps, rng.uniform(0.2, 1.0, (classes, 3)), 0.0),
        "agreement_credit_fraction": np.where(steps, rng.uniform(0.0, 1.0, (classes, 3)), 0.0),
    }


def random_calls(rng: np.random.Generator, arrays: FleetArrays, cap_w: np.ndarray) -> dict[str, np.ndarray]:
    """What programmes call, in any order of phases, and brakes that hold some of it only."""
    shape = arrays.horizon_ticks, arrays.sizes["C"]
    phase = rng.integers(0, 4, shape).astype(np.float64)
    contract_w = arrays.contract_w[arrays.programme >= 0]
    called_w = np.where(phase == 2.0, rng.uniform(0.05, 0.9, shape), 0.0) * contract_w
    return {
        "brake_cap_w": np.where(arrays.programme >= 0, cap_w * rng.choice([1.0, 1.3], cap_w.shape), cap_w),
        "called_w": called_w,
        "call_phase": phase,
        "regulation_signal": rng.uniform(-1.0, 1.0, (arrays.horizon_ticks, arrays.sizes["U"])),
    }
