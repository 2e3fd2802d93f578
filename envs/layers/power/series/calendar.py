"""When in the year an episode lies: one window of hours for the whole fleet, inside the weeks of its split.

Hours count from 1 January 00:00 UTC, the year is 8,760 hours. Every site reads its signals at the same hour of UTC, so
that price, carbon, heat and sun of one place, and morning and evening of two, belong together, also in series of
different years (days of the week do not: a Monday of 2023 is a Sunday of 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog.hourly import HOURS_PER_YEAR
from tokenfleet.envs.spec import PositiveFloat, Spec
from tokenfleet.envs.splits import SPLITS, Split
from tokenfleet.envs.units import SECONDS_PER_HOUR

Float64Array = NDArray[np.float64]
Day = Annotated[int, Field(ge=0, le=364, strict=True)]
HourOfDay = Annotated[float, Field(ge=0, le=24)]

HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168
WEEKS = 52
WEEKS_DEALT: tuple[Split, ...] = ("train", "train", "train", "validation", "test")
"""Whose week each is, in turn from 1 January; five weeks against 52 let every split see every season."""
MARGIN_H = 1.0
"""Kept free at both ends of a block [h]: interpolation never reaches an hour of another split."""


class CalendarSpec(Spec):
    """How an episode's seconds run through the year.

    Attributes:
        speedup: hours of the calendar that pass in an hour of the episode; 144 lets a whole day pass in ten minutes.
            The speed-up is that of price, carbon, weather and sun, not of the fleet: the fleet then meets a day's swing
            in minutes.
        first_day: day of the year, counted from 0, from which episodes may begin.
        last_day: up to which they may.
        start_hours_utc: earliest and latest hour of the day at which they may begin [h of UTC]; any by default.
    """

    speedup: PositiveFloat = 1.0
    first_day: Day = 0
    last_day: Day = 364
    start_hours_utc: tuple[HourOfDay, HourOfDay] = (0.0, 24.0)

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.first_day > self.last_day:
            raise ValueError(f"first_day ({self.first_day}) must not be after last_day ({self.last_day})")
        if self.start_hours_utc[0] >= self.start_hours_utc[1]:
            raise ValueError(
                f"start_hours_utc: the earliest hour {self.start_hours_utc[0]:g} must be before the latest "
                f"{self.start_hours_utc[1]:g}"
            )
        return self

    def hours(self, seconds: float) -> float:
        """Calendar time that passes in `seconds` of an episode [h].

        >>> CalendarSpec(speedup=144).hours(600.0)
        24.0
        """
        return seconds * self.speedup / SECONDS_PER_HOUR


@dataclass(frozen=True)
class Calendar:
    """The window of one episode.

    Attributes:
        start_h: where it begins [h after 1 January 00:00 UTC].
        hours_per_s: calendar hours in a second of the episode.
    """

    start_h: float
    hours_per_s: float

    def hour(self, time_s: Float64Array) -> Float64Array:
        """Hour of the year at `time_s` of the episode, of any shape [h after 1 January 00:00 UTC]."""
        return self.start_h + self.hours_per_s * time_s


def split_blocks(split: Split) -> list[tuple[int, int]]:
    """Where the hours of a split lie: first hour and the one after the last of each block of whole weeks.

    The 365th day belongs to the last week.

    >>> split_blocks("train")[:2], split_blocks("validation")[0]
    ([(0, 504), (840, 1344)], (504, 672))
    """
    blocks: list[tuple[int, int]] = []
    for week in range(WEEKS):
        if WEEKS_DEALT[week % len(WEEKS_DEALT)] != split:
            continue
        begin = week * HOURS_PER_WEEK
        end = HOURS_PER_YEAR if week == WEEKS - 1 else begin + HOURS_PER_WEEK
        if blocks and blocks[-1][1] == begin:
            begin = blocks.pop()[0]
        blocks.append((begin, end))
    return blocks


def longest_window_h() -> float:
    """The longest window that fits a block of every split [h].

    >>> longest_window_h()
    166.0
    """
    return HOURS_PER_WEEK - 2 * MARGIN_H


def start_intervals_h(spec: CalendarSpec, window_s: float, split: Split) -> Float64Array:
    """Where a window may begin inside the split's blocks, the days and the hours asked for, `[I, 2]` [h].

    >>> morning = CalendarSpec(first_day=20, last_day=22, start_hours_utc=(6, 9))
    >>> start_intervals_h(morning, 3600.0, "train").tolist()
    [[486.0, 489.0]]

    Args:
        spec: how fast the calendar runs, and which days and hours it allows.
        window_s: the episode, and as far ahead of its end as forecasts look [s].
        split: whose weeks to draw from.
    """
    blocks_h = np.array(split_blocks(split), dtype=np.float64)
    first_h, last_h = blocks_h[:, :1] + MARGIN_H, blocks_h[:, 1:] - MARGIN_H - spec.hours(window_s)
    midnight_h = HOURS_PER_DAY * np.arange(spec.first_day, spec.last_day + 1)
    begin_h = np.maximum(first_h, midnight_h + spec.start_hours_utc[0])
    end_h = np.minimum(last_h, midnight_h + spec.start_hours_utc[1])
    intervals_h: Float64Array = np.stack([begin_h, end_h], axis=-1)[begin_h <= end_h]
    return intervals_h


def draw_calendar(spec: CalendarSpec, window_s: float, split: Split, rng: np.random.Generator) -> Calendar:
    """A window of `window_s` of the episode, every place that `start_intervals_h` allows equally likely.

    Args:
        spec: as for `start_intervals_h`.
        window_s: likewise.
        split: likewise.
        rng: all chance comes from it.
    """
    begin_h, end_h = start_intervals_h(spec, window_s, split).T
    free_h = end_h - begin_h
    place_h = rng.random() * free_h.sum()
    interval = min(int(np.searchsorted(np.cumsum(free_h), place_h, side="right")), len(free_h) - 1)
    start_h = begin_h[interval] + place_h - free_h[:interval].sum()
    return Calendar(start_h=float(start_h), hours_per_s=spec.speedup / SECONDS_PER_HOUR)


def window_problems(calendar: CalendarSpec, window_s: float) -> list[str]:
    """One line if some split's weeks hold no episode whose times and forecasts span `window_s`."""
    window_h, longest_h = calendar.hours(window_s), longest_window_h()
    if window_h > longest_h:
        return [
            f"calendar.speedup: the episode and its forecasts span {window_h:.0f} h of the year, but a split's weeks "
            f"hold {longest_h:.0f} h at a stretch; lower speedup, horizon_ticks, tick_s or forecast_lead_s "
            f"(got {calendar.speedup:g})"
        ]
    return [
        f"calendar: no {split} week holds an episode that begins in the days and hours asked for; widen first_day "
        f"to last_day (got {calendar.first_day} to {calendar.last_day}) or start_hours_utc"
        for split in SPLITS
        if not start_intervals_h(calendar, window_s, split).size
    ]
