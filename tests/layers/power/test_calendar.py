"""The calendar: splits that never meet, windows inside of them, seasons and hours that bound where episodes begin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.layers.power.series import (
    CalendarSpec,
    draw_calendar,
    split_blocks,
)
from tokenfleet.envs.layers.power.series.calendar import HOURS_PER_YEAR, longest_window_h
from tokenfleet.envs.spec import SpecError

SPLITS = ("train", "validation", "test")


def test_the_splits_deal_out_the_whole_year_and_share_no_hour() -> None:
    owned = np.zeros(HOURS_PER_YEAR, dtype=int)
    for split in SPLITS:
        for begin, end in split_blocks(split):
            owned[begin:end] += 1
    assert owned.tolist() == [1] * HOURS_PER_YEAR


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), split=st.sampled_from(SPLITS), window_h=st.floats(0.01, longest_window_h()))
def test_a_window_lies_inside_its_split_neighbours_included(seed: int, split: str, window_h: float) -> None:
    calendar = draw_calendar(CalendarSpec(), window_h * 3600.0, split, np.random.default_rng(seed))
    for first_h in (0.0, 0.5, 1.0):  # where a series may begin; its entries that interpolation touches:
        lowest = np.floor(calendar.start_h - first_h)
        highest = np.floor(calendar.start_h + window_h - first_h) + 1
        assert any(begin <= lowest and highest <= end for begin, end in split_blocks(split))


def test_windows_reach_every_hour_of_the_day_and_every_season() -> None:
    rng = np.random.default_rng(0)
    for split in SPLITS:
        start_h = np.array([draw_calendar(CalendarSpec(), 600.0, split, rng).start_h for _ in range(3000)])
        assert np.bincount((start_h % 24).astype(int), minlength=24).min() > 60
        assert np.bincount((start_h // (HOURS_PER_YEAR / 4)).astype(int), minlength=4).min() > 500


@settings(max_examples=100, deadline=None)
@given(
    days=st.tuples(st.integers(0, 300), st.integers(36, 64)),
    hours=st.tuples(st.floats(0.0, 20.0), st.floats(0.1, 4.0)),
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 2**32),
)
def test_a_season_and_hours_bound_where_an_episode_begins(
    days: tuple[int, int], hours: tuple[float, float], split: str, seed: int
) -> None:
    """Five weeks and a day hold a week of every split."""
    first, last, earliest, latest = days[0], days[0] + days[1], hours[0], hours[0] + hours[1]
    spec = CalendarSpec(first_day=first, last_day=last, start_hours_utc=(earliest, latest))
    start_h = draw_calendar(spec, 3600.0, split, np.random.default_rng(seed)).start_h
    assert any(begin < start_h < end for begin, end in split_blocks(split))
    assert first <= start_h // 24 <= last
    assert earliest - 1e-9 <= start_h % 24 <= latest + 1e-9


def test_every_allowed_hour_is_equally_likely() -> None:
    """Days 15 to 22 hold six train days (three weeks end on day 20) and two of the validation week, of three hours."""
    spec, rng = CalendarSpec(first_day=15, last_day=22, start_hours_utc=(6, 9)), np.random.default_rng(1)
    start_h = np.array([draw_calendar(spec, 3600.0, "train", rng).start_h for _ in range(3000)])
    days = np.bincount((start_h // 24).astype(int), minlength=23)
    assert days[:15].sum() == days[21:].sum() == 0
    np.testing.assert_allclose(days[15:21], 500, atol=100)  # 5 standard deviations
    assert (start_h % 24).mean() == pytest.approx(7.5, abs=0.08)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"first_day": 200, "last_day": 100}, r"first_day \(200\) must not be after last_day \(100\)"),
        ({"first_day": 365}, "first_day: .*less than or equal to 364"),
        ({"start_hours_utc": [9, 9]}, "the earliest hour 9 must be before the latest 9"),
        ({"start_hours_utc": [9, 25]}, "start_hours_utc.*less than or equal to 24"),
    ],
)
def test_a_season_that_is_none_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        CalendarSpec.parse(data)


def test_a_sped_up_calendar_passes_a_day_in_ten_minutes() -> None:
    calendar = draw_calendar(CalendarSpec(speedup=144), 600.0, "train", np.random.default_rng(0))
    hour = calendar.hour(np.array([0.0, 600.0]))
    assert hour[1] - hour[0] == pytest.approx(24.0)
