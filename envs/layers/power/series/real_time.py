"""What a real-time market adds to the day-ahead price: a wandering residual, and spikes that die away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.series.calendar import Calendar
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, Spec

Float64Array = NDArray[np.float64]

SETTLEMENT_H = 1.0 / 12.0
"""American real-time markets dispatch every five minutes; the price holds in between."""
WARM_UP_DECAYS = 5.0


class RealTimePriceSpec(Spec):
    """Residual of the real-time price around the day-ahead price [USD/MWh]: r = x + j - mean(j).

    x is an Ornstein-Uhlenbeck process, dx = -reversion x dt + sigma sqrt(2 reversion) dW; j jumps up by exponential
    amounts at the times of a Poisson process and decays exponentially. r has mean zero: a market without a premium.

    The defaults are fitted to the one shipped price that moves like a real-time price, PJM 2023, around its own median
    of the same hour in the week before and after (`python -m calibration.fit.real_time_price`); a residual against
    published day-ahead prices would be better data.

    Attributes:
        sigma_usd_per_mwh: standard deviation of x.
        reversion_per_h: how fast x returns.
        spikes_per_h: rate of jumps.
        spike_usd_per_mwh: mean jump.
        spike_decay_per_h: how fast j dies away.
    """

    sigma_usd_per_mwh: NonNegativeFloat = 7.4
    reversion_per_h: PositiveFloat = 0.23
    spikes_per_h: NonNegativeFloat = 0.053
    spike_usd_per_mwh: NonNegativeFloat = 40.5
    spike_decay_per_h: PositiveFloat = 0.38

    @property
    def mean_spike_usd_per_mwh(self) -> float:
        """Mean of j: rate times mean jump over decay."""
        return self.spikes_per_h * self.spike_usd_per_mwh / self.spike_decay_per_h

    def draw(self, calendar: Calendar, time_s: Float64Array, rng: np.random.Generator) -> Residual:
        """One path, at the increasing `time_s` of the episode, all chance drawn from `rng`."""
        hour = calendar.hour(time_s)
        interval = np.floor(hour / SETTLEMENT_H).astype(np.int64)
        warm_up = math.ceil(WARM_UP_DECAYS / (self.spike_decay_per_h * SETTLEMENT_H))
        count = int(interval[-1] - interval[0]) + 1
        wander = self._wander(rng.standard_normal(count))
        spike = self._spikes(rng, warm_up + count)[warm_up:]
        row = interval - interval[0]
        return Residual(self, wander[row], spike[row] - self.mean_spike_usd_per_mwh)

    def go_on(
        self, path: Residual, tick: int, calendar: Calendar, time_s: Float64Array, rng: np.random.Generator
    ) -> Residual:
        """A path that is `path` up to entry `tick`, and behind it one that may follow, all chance drawn from `rng`.

        What holds at `tick` holds to the end of its settlement interval.

        Args:
            path: drawn at the same `time_s`.
            tick: the last entry that is kept.
            calendar: of the episode.
            time_s: as for `draw`.
            rng: decides what follows.
        """
        interval = np.floor(calendar.hour(time_s) / SETTLEMENT_H).astype(np.int64)
        row = interval[tick + 1 :] - interval[tick]
        count = int(row[-1]) if len(row) else 0
        keep = math.exp(-self.reversion_per_h * SETTLEMENT_H)
        noise = self.sigma_usd_per_mwh * _noise(keep) * rng.standard_normal(count)
        wander = _decayed_sum(np.r_[path.wander[tick], noise], keep)
        begun = path.spike[tick] + self.mean_spike_usd_per_mwh
        spike = _decayed_sum(np.r_[begun, self._jumps(rng, count)], math.exp(-self.spike_decay_per_h * SETTLEMENT_H))
        return Residual(
            self,
            np.concatenate([path.wander[: tick + 1], wander[row]]),
            np.concatenate([path.spike[: tick + 1], spike[row] - self.mean_spike_usd_per_mwh]),
        )

    def _wander(self, normal: Float64Array) -> Float64Array:
        keep = math.exp(-self.reversion_per_h * SETTLEMENT_H)
        return self.sigma_usd_per_mwh * _decayed_sum(normal * np.r_[1.0, np.full(len(normal) - 1, _noise(keep))], keep)

    def _spikes(self, rng: np.random.Generator, count: int) -> Float64Array:
        return _decayed_sum(self._jumps(rng, count), math.exp(-self.spike_decay_per_h * SETTLEMENT_H))

    def _jumps(self, rng: np.random.Generator, count: int) -> Float64Array:
        """By how much the price jumps in each of `count` settlement intervals."""
        jumps = rng.poisson(self.spikes_per_h * SETTLEMENT_H, count)
        # A sum of exponentials is a gamma variate; shape 0 is no jump.
        return np.where(jumps > 0, self.spike_usd_per_mwh * rng.standard_gamma(np.maximum(jumps, 1)), 0.0)


@dataclass(frozen=True)
class Residual:
    """A path of the residual.

    Attributes:
        spec: its law.
        wander, spike: its two parts at the asked times, each of mean zero [USD/MWh].
    """

    spec: RealTimePriceSpec
    wander: Float64Array
    spike: Float64Array

    @property
    def now(self) -> Float64Array:
        """The residual itself [USD/MWh]."""
        return self.wander + self.spike

    def expected(self, lead_h: float) -> Float64Array:
        """What is left of it after `lead_h` on average, given the present: the best forecast [USD/MWh]."""
        wander = self.wander * math.exp(-self.spec.reversion_per_h * lead_h)
        return wander + self.spike * math.exp(-self.spec.spike_decay_per_h * lead_h)


def _noise(keep: float) -> float:
    """The standard deviation that keeps x[i + 1] = keep x[i] + noise at variance one."""
    return math.sqrt(1.0 - keep * keep)


def _decayed_sum(amounts: Float64Array, keep: float) -> Float64Array:
    """y[i] = keep y[i - 1] + amounts[i].

    >>> _decayed_sum(np.array([4.0, 0.0, 1.0]), 0.5).tolist()
    [4.0, 2.0, 2.0]
    """
    total, sums = 0.0, []
    for amount in amounts.tolist():
        total = keep * total + amount
        sums.append(total)
    return np.array(sums)
