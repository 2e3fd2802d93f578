"""What a site pays for power beyond the price of energy: carbon, peak hours, its highest window, and steep ramps."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.power.series.calendar import HOURS_PER_DAY, HourOfDay
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, Spec

Float64Array = NDArray[np.float64]

GRAMS_PER_TONNE = 1e6
G_PER_KWH_TO_T_PER_MWH = 1e-3
WATTS_PER_KW = 1e3
WATTS_PER_MW = 1e6


class TimeOfUseSpec(Spec):
    """An adder on the price in certain hours of the day: a peak tariff.

    Californian schedules for large customers are dearer from 16:00 to 21:00 (PG&E Electric Schedule B-20).

    Attributes:
        usd_per_mwh: added to the price of a MWh in these hours; may be below 0.
        from_hour, to_hour: local standard hours of the day, the second one excluded; a span may cross midnight.
        utc_offset_h: local standard time minus UTC [h].
    """

    usd_per_mwh: Annotated[float, Field(allow_inf_nan=False)]
    from_hour: HourOfDay
    to_hour: HourOfDay
    utc_offset_h: Annotated[float, Field(ge=-14, le=14)]

    @model_validator(mode="after")
    def _span_is_not_empty(self) -> Self:
        if self.from_hour == self.to_hour:
            raise ValueError(f"from_hour and to_hour are both {self.from_hour:g}; give 0 and 24 for the whole day")
        return self

    def adder_usd_per_mwh(self, hour: Float64Array) -> Float64Array:
        """What it adds at `hour` [h after 1 January 00:00 UTC], of any shape.

        >>> evening = TimeOfUseSpec(usd_per_mwh=40.0, from_hour=16, to_hour=21, utc_offset_h=-8)
        >>> evening.adder_usd_per_mwh(np.array([23.0, 24.0, 28.9, 29.0])).tolist()
        [0.0, 40.0, 40.0, 0.0]
        """
        local = np.mod(hour + self.utc_offset_h, HOURS_PER_DAY)
        after, before = local >= self.from_hour, local < self.to_hour
        inside = after & before if self.from_hour < self.to_hour else after | before
        return np.where(inside, self.usd_per_mwh, 0.0)


class DemandChargeSpec(Spec):
    """A charge on the highest metered window of the episode, above what has been paid for already.

    Windows lie end to end from the start of the episode, as a utility's metering intervals do, and the meter takes the
    mean of each. Utilities mostly use 15 minutes (*demand interval*); short episodes need shorter windows. A month's
    charge falls due as soon as one window sets a new peak, so `usd_per_kw` is the whole rate of a month, not a share of
    it: 10 to 25 USD/kW and month in PG&E's schedules E-20 and B-20.

    Attributes:
        usd_per_kw: for each kW of the highest window above the ratchet.
        window_s: length of a window, in whole ticks rounded up; a window that the episode cuts off counts with its
            energy so far [s].
        ratchet_fraction: share of the contract that is paid for in any case: this month's peak so far, or the share of
            last year's highest that a ratchet clause bills.
    """

    usd_per_kw: PositiveFloat
    window_s: PositiveFloat = 900.0
    ratchet_fraction: NonNegativeFloat

    @property
    def usd_per_w(self) -> float:
        """The charge for each watt [USD/W]."""
        return self.usd_per_kw / WATTS_PER_KW


class RampChargeSpec(Spec):
    """A charge on power that changes faster than the grid's operator allows.

    Operators state ramp limits for large loads in their interconnection terms, as NERC's Large Loads Task Force
    recommends (*Characteristics and Risks of Emerging Large Loads*, 2025); what breaking one costs is the user's to
    state.

    Attributes:
        limit_fraction_per_s: highest change of mean power from one tick to the next, up or down, as a share of the
            contract for each second.
        usd_per_mw: for each MW beyond that, in every tick.
    """

    limit_fraction_per_s: PositiveFloat
    usd_per_mw: PositiveFloat

    @property
    def usd_per_w(self) -> float:
        """The charge for each watt [USD/W]."""
        return self.usd_per_mw / WATTS_PER_MW


class TariffSpec(Spec):
    """What a site pays for its power beyond the price of energy.

    Attributes:
        carbon_usd_per_t: price of a tonne of CO2e of the electricity bought: an allowance (65 EUR on average in the EU
            ETS in 2024), a tax, or a company's own internal price.
        time_of_use: adders by the hour of the day, which sum.
        demand_charge: on the highest window.
        ramp_charge: on steep changes.
    """

    carbon_usd_per_t: PositiveFloat | None = None
    time_of_use: tuple[TimeOfUseSpec, ...] = ()
    demand_charge: DemandChargeSpec | None = None
    ramp_charge: RampChargeSpec | None = None

    @property
    def has_charges(self) -> bool:
        """Whether it charges for anything but energy."""
        return self.demand_charge is not None or self.ramp_charge is not None

    @property
    def carbon_usd_per_g(self) -> float:
        """Price of a gram of CO2e."""
        return (self.carbon_usd_per_t or 0.0) / GRAMS_PER_TONNE

    def adder_usd_per_mwh(self, hour: Float64Array, carbon_g_per_kwh: float | Float64Array) -> Float64Array:
        """What a MWh costs more than the market's price at `hour` [h after 1 January 00:00 UTC], of any shape.

        >>> TariffSpec(carbon_usd_per_t=50.0).adder_usd_per_mwh(np.zeros(1), 400.0).tolist()
        [20.0]
        """
        carbon = (self.carbon_usd_per_t or 0.0) * G_PER_KWH_TO_T_PER_MWH * carbon_g_per_kwh
        adders = [span.adder_usd_per_mwh(hour) for span in self.time_of_use]
        return sum(adders, start=np.zeros_like(hour)) + carbon
