"""A site's grid connection: its contract, its price, and the cap of every moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.power.events import CapEvent, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.layers.power.programme import ProgrammeSpec
from tokenfleet.envs.layers.power.protection import ProtectionSpec
from tokenfleet.envs.layers.power.regulation import RegulationSpec
from tokenfleet.envs.layers.power.series import CarbonSignal, PriceSignal, RealTimePriceSpec
from tokenfleet.envs.layers.power.tariff import TariffSpec
from tokenfleet.envs.spec import PositiveFloat

Float64Array = NDArray[np.float64]


class CapSpec(ProtectionSpec):
    """A limit on power, stated in one of two ways, and what watches it.

    Attributes:
        cap_fraction: the limit as a share of the nameplate power behind it.
        cap_w: the limit in watts, instead [W].
        demand_response: events that lower it and are announced.
        emergencies: events that lower it and are not.
    """

    cap_fraction: PositiveFloat | None = None
    cap_w: PositiveFloat | None = None
    demand_response: tuple[DemandResponseSpec, ...] = ()
    emergencies: tuple[EmergencySpec, ...] = ()

    @model_validator(mode="after")
    def _one_way_to_state_the_cap(self) -> Self:
        if (self.cap_fraction is None) == (self.cap_w is None):
            given = f"got cap_fraction={self.cap_fraction} and cap_w={self.cap_w}"
            raise ValueError(f"give exactly one of cap_fraction (of nameplate) and cap_w [W], the other null ({given})")
        return self

    def contract_w(self, nameplate_w: float) -> float:
        """The cap outside any event [W]."""
        return self.cap_w if self.cap_w is not None else float(self.cap_fraction or 0.0) * nameplate_w

    @property
    def events(self) -> tuple[DemandResponseSpec | EmergencySpec, ...]:
        """Everything that can lower the cap."""
        return (*self.demand_response, *self.emergencies)


class GridSpec(CapSpec):
    """A site's grid connection.

    The nameplate is the site's facility power with every GPU at its TDP and every server on, at the design temperature.

    Attributes:
        price_usd_per_mwh: day-ahead price [USD/MWh]: a number, a recorded series or a generator.
        carbon_g_per_kwh: average intensity of generation, in the same ways [g/kWh].
        real_time_price: what a real-time market adds; without it the site pays the day-ahead price.
        tariff: what is paid beyond the market's price: carbon, peak hours, the highest window, ramps.
        programme: what demand response pays and costs; without it, nothing.
        regulation: what is offered for frequency regulation; without it, nothing.
    """

    price_usd_per_mwh: PriceSignal = 60.0
    carbon_g_per_kwh: CarbonSignal = 400.0
    real_time_price: RealTimePriceSpec | None = None
    tariff: TariffSpec | None = None
    programme: ProgrammeSpec | None = None
    regulation: RegulationSpec | None = None

    @model_validator(mode="after")
    def _money_holds_what_the_brake_does_not(self) -> Self:
        if self.programme is None and (free := unenforced(self)):
            raise ValueError(
                f"demand_response.{free[0]}.enforced: false means that only money holds the cap; give the grid a "
                "`programme`, or leave the event enforced"
            )
        return self


def unenforced(limit: CapSpec) -> list[int]:
    """Which of the demand-response events no brake holds."""
    return [place for place, event in enumerate(limit.demand_response) if not event.enforced]


def draw_events(limit: CapSpec, rng: np.random.Generator) -> list[CapEvent]:
    """The events of one episode."""
    return [event.draw(rng) for event in limit.events]


def cap_schedule_w(events: Sequence[CapEvent], contract_w: float, time_s: Float64Array) -> Float64Array:
    """The cap at each `time_s`, in its shape [W]; overlapping events multiply."""
    factor = np.ones_like(time_s)
    for event in events:
        factor = factor * event.cap_factor(time_s)
    return contract_w * factor


def rating_schedule_w(events: Sequence[CapEvent], contract_w: float, time_s: Float64Array) -> Float64Array:
    """What the breaker can carry at each `time_s`, in its shape [W]: the contract less what emergencies take."""
    return cap_schedule_w([event for event in events if event.limits_rating], contract_w, time_s)


def brake_schedule_w(events: Sequence[CapEvent], contract_w: float, time_s: Float64Array) -> Float64Array:
    """The cap that the brake enforces at each `time_s`, in its shape [W]; only `enforced` events lower it."""
    return cap_schedule_w([event for event in events if event.enforced], contract_w, time_s)


def announced_cap_w(events: Sequence[CapEvent], contract_w: float, now_s: Float64Array, lead_s: float) -> Float64Array:
    """The cap at `now_s + lead_s` as known at `now_s`, in its shape [W]: an event counts from its notice on."""
    factor = np.ones_like(now_s)
    for event in events:
        factor = np.where(event.is_known(now_s), factor * event.cap_factor(now_s + lead_s), factor)
    return contract_w * factor
