"""The real-time price wanders and spikes around its recorded hours, by the law that was fitted."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.fit import real_time_price
from tokenfleet.envs.layers.power.series import (
    RealTimePriceSpec,
)
from tokenfleet.envs.layers.power.series.calendar import Calendar


def path_of(spec: RealTimePriceSpec, days: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residual and what was expected of it an hour before, every five minutes."""
    time_s = np.arange(0.0, days * 86400.0, 300.0)
    residual = spec.draw(Calendar(start_h=1000.0, hours_per_s=1 / 3600), time_s, np.random.default_rng(seed))
    return residual.now, residual.expected(1.0)


def test_the_wandering_part_has_the_stated_spread_and_memory() -> None:
    now, _ = path_of(RealTimePriceSpec(sigma_usd_per_mwh=10, reversion_per_h=0.5, spikes_per_h=0), days=2000)
    assert now.std() == pytest.approx(10.0, rel=0.02)
    assert np.corrcoef(now[:-12], now[12:])[0, 1] == pytest.approx(np.exp(-0.5), abs=0.02)


def test_the_residual_has_mean_zero_although_spikes_only_rise() -> None:
    spec = RealTimePriceSpec()
    now, _ = path_of(spec, days=3000)
    assert now.mean() == pytest.approx(0.0, abs=0.4)
    assert now.min() > -spec.mean_spike_usd_per_mwh - 6 * spec.sigma_usd_per_mwh
    # Campbell's theorem: a shot noise of exponential jumps has variance rate * mean^2 / decay.
    spread = spec.sigma_usd_per_mwh**2 + spec.spikes_per_h * spec.spike_usd_per_mwh**2 / spec.spike_decay_per_h
    assert now.var() == pytest.approx(spread, rel=0.1)


def test_the_residual_holds_for_five_minutes_and_its_forecast_is_unbiased() -> None:
    time_s = np.arange(0.0, 3600.0, 1.0)
    residual = RealTimePriceSpec().draw(Calendar(1000.0, 1 / 3600), time_s, np.random.default_rng(1)).now
    assert len(np.unique(residual)) == 12
    now, expected = path_of(RealTimePriceSpec(), days=3000)
    assert (now[12:] - expected[:-12]).mean() == pytest.approx(0.0, abs=0.2)
    assert (now[12:] - expected[:-12]).std() < 0.8 * now.std()


def test_the_shipped_law_of_the_residual_is_the_fit() -> None:
    shipped = RealTimePriceSpec().model_dump(exclude_none=True)
    assert {name: pytest.approx(value, rel=0.02) for name, value in real_time_price.fit().items()} == shipped
