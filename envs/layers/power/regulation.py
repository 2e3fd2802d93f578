"""Frequency regulation: a site follows the grid's signal around its own mean power, and is paid by how closely."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.tariff import WATTS_PER_MW
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, Spec, UnitFraction
from tokenfleet.envs.units import SECONDS_PER_HOUR

Float64Array = NDArray[np.float64]
_NORMAL = NormalDist()


class RegulationSpec(Spec):
    """Capacity on offer for frequency regulation, the signal that it follows, and its pay.

    The signal r is an Ornstein-Uhlenbeck process of mean 0 and deviation `sigma`, cut to [-1, 1]: at 1 the site is
    asked to draw its whole capacity more than its base, at -1 as much less. Its base is its own mean power over the
    `base_s` before the tick. PJM's fast signal (RegD) has the same form: a number in [-1, 1] every two seconds with a
    mean of 0, so that stores of energy can follow it; the University of Delaware has published two weeks of it
    (udel.edu/V2G, April 2013). The deviation and the time of return are assumptions of that order.

    A tick scores `max(1 - |response - r|, 0)`, the response being power less base over capacity: the precision score of
    PJM's Manual 12 without its parts for delay and correlation. The pay is the score times what a tick of perfect
    following is worth: capacity in time, and mileage, the way that the signal went (FERC Order 755).

    Attributes:
        capacity_fraction: share of the contract that is offered, up and down.
        capability_usd_per_mw_h: for each MW offered and hour.
        mileage_usd_per_mw: for each MW that the signal moves, up or down.
        least_score: a tick of a lower score is not paid; assumption.
        base_s: over which the base averages, in whole ticks rounded up [s].
        sigma: standard deviation of the signal before it is cut.
        return_s: time in which the signal forgets [s].
    """

    capacity_fraction: PositiveFraction
    capability_usd_per_mw_h: NonNegativeFloat = 20.0
    mileage_usd_per_mw: NonNegativeFloat = 0.5
    least_score: UnitFraction = 0.25
    base_s: PositiveFloat = 60.0
    sigma: PositiveFloat = 0.5
    return_s: PositiveFloat = 60.0

    def usd_per_s(self, contract_w: float) -> float:
        """Pay of a second of perfect following, without mileage [USD]."""
        return self.capacity_mw(contract_w) * self.capability_usd_per_mw_h / SECONDS_PER_HOUR

    def usd_per_mileage(self, contract_w: float) -> float:
        """Pay of perfect following where the signal moves by 1 [USD]."""
        return self.capacity_mw(contract_w) * self.mileage_usd_per_mw

    def capacity_mw(self, contract_w: float) -> float:
        """What is offered [MW]."""
        return self.capacity_fraction * contract_w / WATTS_PER_MW

    def draw(self, ticks: int, tick_s: float, rng: np.random.Generator) -> Float64Array:
        """The signal before it is cut, before every tick, `[ticks]`."""
        return self.go_on(self.sigma * rng.standard_normal(), ticks, tick_s, rng)

    def go_on(self, first: float, ticks: int, tick_s: float, rng: np.random.Generator) -> Float64Array:
        """A signal before it is cut, `[ticks]`, that begins at `first`."""
        keep = math.exp(-tick_s / self.return_s)
        noise = self.sigma * math.sqrt(1.0 - keep * keep) * rng.standard_normal(max(ticks - 1, 0))
        path = [first]
        for step in noise.tolist():
            path.append(keep * path[-1] + step)
        return np.array(path[:ticks])

    def beyond_the_cut(self, value: float, rng: np.random.Generator) -> float:
        """A value before it is cut that is sent as `value` is; nobody sees how far beyond the cut a signal stands.

        Drawn from the values of the signal at any time; how long it has been beyond the cut is not used.
        """
        if abs(value) <= 1.0:
            return value
        chance = _NORMAL.cdf(-1.0 / self.sigma) * (1.0 - rng.random())
        return math.copysign(-self.sigma * _NORMAL.inv_cdf(chance), value) if chance > 0.0 else value


def cut(signal: Float64Array) -> Float64Array:
    """A signal, of any shape, as it is sent: cut to [-1, 1]."""
    return np.clip(signal, -1.0, 1.0)
