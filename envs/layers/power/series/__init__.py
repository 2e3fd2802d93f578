"""What a site cannot choose, hour by hour: price, carbon intensity, temperature, sun.

`calendar` says when in the year an episode lies and keeps the splits apart; `signals` are the quantities in time,
recorded or generated; `real_time` is what a real-time market adds to a day-ahead price; `forecast` is what a policy is
told of the hours ahead; `solar` turns irradiance into power. Series feed layers 1 and 2 and know nothing of them.
"""

from __future__ import annotations

from tokenfleet.envs.layers.power.series.calendar import Calendar, CalendarSpec, draw_calendar, split_blocks
from tokenfleet.envs.layers.power.series.forecast import EventForecastSpec, ForecastSpec
from tokenfleet.envs.layers.power.series.real_time import RealTimePriceSpec
from tokenfleet.envs.layers.power.series.signals import (
    SIGNAL_KINDS,
    CarbonSignal,
    IrradianceSignal,
    PriceSignal,
    SignalSpec,
    TemperatureSignal,
    is_constant,
    signal_at,
)
from tokenfleet.envs.layers.power.series.solar import SolarSpec
from tokenfleet.envs.splits import Split

__all__ = [
    "SIGNAL_KINDS",
    "Calendar",
    "CalendarSpec",
    "CarbonSignal",
    "EventForecastSpec",
    "ForecastSpec",
    "IrradianceSignal",
    "PriceSignal",
    "RealTimePriceSpec",
    "SignalSpec",
    "SolarSpec",
    "Split",
    "TemperatureSignal",
    "draw_calendar",
    "is_constant",
    "signal_at",
    "split_blocks",
]
