"""The hours of a day in a record: mean rate by hour, of weekdays and of weekends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.demand.counts import counts
from tokenfleet.envs.layers.agents.fitted import DAY_HOURS, DAY_S, DAYS, FIRST_WEEKEND_DAY, HOUR_S

FloatArray = NDArray[np.float64]
HARMONICS = 4
FEWEST_HOURS = 20
"""Hours of a kind of day that must be seen for its profile to be fitted."""
EMPTY_HOUR = 0.5
"""Requests that an hour without any counts as: a rate of 0 has no logarithm."""
RIDGE = 0.01
Profile = tuple[float, ...]


@dataclass(frozen=True)
class Hours:
    """Rate over its mean at the middle of each of 24 hours; None where the record does not tell."""

    weekday: Profile | None = None
    weekend: Profile | None = None

    def spec(self) -> dict[str, Profile]:
        """The keys of a `DemandSpec` that say it."""
        known = {"weekday": self.weekday, "weekend": self.weekend}
        return {name: profile for name, profile in known.items() if profile is not None}


def fit_hours(arrival_s: FloatArray, span_s: float, start_s: float | None) -> Hours:
    """The hourly profile of a record of a day or more.

    Args:
        arrival_s: times from the record's start, ascending, `[R]` [s].
        span_s: length of the record [s].
        start_s: when it begins, since a Monday's midnight [s]; None if unknown: then all days are taken to be alike,
            and the record to begin at midnight.
    """
    if span_s < DAY_S:
        return Hours()
    rates = counts(arrival_s, HOUR_S, span_s)
    clock = (start_s or 0.0) / HOUR_S + np.arange(len(rates), dtype=np.float64) + 0.5
    weekend = (clock // DAY_HOURS) % DAYS >= FIRST_WEEKEND_DAY
    if start_s is None or min(weekend.sum(), (~weekend).sum()) < FEWEST_HOURS:
        return Hours(weekday=_relative(_smooth(clock, rates), rates.mean()))
    return Hours(
        weekday=_relative(_smooth(clock[~weekend], rates[~weekend]), rates.mean()),
        weekend=_relative(_smooth(clock[weekend], rates[weekend]), rates.mean()),
    )


def _smooth(clock: FloatArray, rates: FloatArray) -> FloatArray:
    """Rate at the middle of each of 24 hours, by a few harmonics of its logarithm that keep the mean, `[24]`."""
    angle = 2.0 * np.pi * clock / DAY_HOURS
    logs = np.log(np.maximum(rates, EMPTY_HOUR))
    basis = _basis(angle)
    ridge = RIDGE * len(rates) * np.diag([0.0] + [1.0] * (basis.shape[1] - 1))
    found = np.linalg.solve(basis.T @ basis + ridge, basis.T @ logs)
    level = rates.mean() / np.exp(basis @ found).mean()
    middle = 2.0 * np.pi * (np.arange(DAY_HOURS) + 0.5) / DAY_HOURS
    return np.asarray(level * np.exp(_basis(middle) @ found))


def _basis(angle: FloatArray) -> FloatArray:
    waves = [wave(order * angle) for order in range(1, HARMONICS + 1) for wave in (np.cos, np.sin)]
    return np.column_stack([np.ones_like(angle), *waves])


def _relative(rate: FloatArray, mean: float) -> Profile:
    return tuple(float(f"{value / mean:.3g}") for value in rate)
