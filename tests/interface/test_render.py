"""Frames show what the view holds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.conftest import ENGINE
from tests.envs.scenarios import SECOND_8B_POOL
from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.picture import Picture
from tokenfleet.envs.interface.render import text_frame
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.vector import FleetVectorEnv

TINY = load_scenario("tiny")


def views_of(scenario: Scenario, ticks: int, **values: object) -> Record:
    """`ticks` views, one a tick from the start, with these values in all of them."""
    layout = Layout(VIEW, axis_sizes(scenario))
    views = Record(layout, np.zeros((ticks, layout.width), np.float32))
    views["time_fraction"][:] = np.arange(ticks) / scenario.horizon_ticks
    views["cap_w"][:] = views["announced_cap_w"][:] = 8000.0
    views["awake_replicas"][:] = 2.0
    for name, value in values.items():
        views[name][:] = value
    return views


def red_pixels(frame: np.ndarray) -> int:
    """How many pixels are clearly redder than they are green or blue."""
    red, green, blue = (frame[..., channel].astype(int) for channel in range(3))
    return int((red - np.maximum(green, blue) > 40).sum())


def test_the_text_is_a_table_of_sites_and_pools() -> None:
    frame = text_frame(
        TINY,
        views_of(
            TINY,
            13,
            site_power_w=4000.0,
            waiting_requests=[7, 120],
            running_requests=[31, 64],
            clock_fraction=[1.0, 0.55],
            awake_replicas=[2, 1],
            kv_reserved_fraction=[0.25, 0.5],
            pool_power_w=[900.0, 2400.0],
        ),
    )
    assert frame.splitlines() == [
        "tiny  12 s of 60 s",
        "",
        "site     power against cap                 kW   cap kW  state",
        "lab      [#########---------|------]     4.00     8.00  ok",
        "",
        "pool        queue  running   clock    awake     kv       kW  profile (error)",
        "lab-8b          7       31    100%      2/2    25%      0.9  measured (1%)",
        "lab-70b       120       64     55%      1/2    50%      2.4  measured (1%)",
    ]


@pytest.mark.parametrize(
    ("values", "state"),
    [
        (
            {"site_power_w": 9000.0, "brake_timer_s": 3.0},
            "[##################|!!----]     9.00     8.00  above cap for 3 s",
        ),
        ({"braked": 1.0}, "BRAKED"),
        ({"dark_remaining_s": 14.0, "braked": 1.0}, "DARK, boots in 14 s"),
    ],
)
def test_the_text_says_what_is_wrong_at_a_site(values: dict[str, float], state: str) -> None:
    assert text_frame(TINY, views_of(TINY, 2, **values)).splitlines()[3].endswith(state)


def test_a_picture_shows_power_above_the_cap_in_red() -> None:
    below = Picture(TINY).draw(views_of(TINY, 30, site_power_w=6000.0))
    above = Picture(TINY).draw(views_of(TINY, 30, site_power_w=9000.0))
    assert below.shape == above.shape == (640, 1080, 3)
    assert below.dtype == np.uint8
    # 30 s of 60, and the ninth part of the height: a thirty-sixth of a panel of a quarter of a million pixels.
    assert 4000 < red_pixels(above) - red_pixels(below) < 20_000


def test_a_picture_shows_how_requests_ended() -> None:
    quiet = Picture(TINY).draw(views_of(TINY, 30))
    busy = Picture(TINY).draw(views_of(TINY, 30, completed_in_slo=[9, 0, 0], refused=[0, 4, 0]))
    changed = (quiet != busy).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1000
    assert rows.min() > 400
    assert columns.min() > 540


@pytest.mark.parametrize("pools", [2, 6, 10])
def test_any_number_of_pools_is_drawn_without_a_warning(pools: int) -> None:
    scenario = load_scenario("tiny", {f"pools.extra-{index}": SECOND_8B_POOL for index in range(pools - 2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = Picture(scenario)
        for ticks in (1, 2, 60):
            assert picture.draw(views_of(scenario, ticks)).std() > 0.0


@pytest.mark.parametrize("scenario", ["tiny", "default", "burst"])
def test_environments_render_their_episode_so_far(scenario: str) -> None:
    env = FleetEnv(scenario, engine=ENGINE, render_mode="rgb_array")
    env.action_space.seed(0)
    env.reset(seed=0)
    first = env.render()
    for _ in range(20):
        env.step(env.action_space.sample())
    later = env.render()
    assert (first != later).any()
    np.testing.assert_array_equal(later, env.render())
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), first)


def test_a_batch_renders_one_frame_a_fleet_and_forgets_the_last_episode() -> None:
    envs = FleetVectorEnv("tiny", 2, overrides={"horizon_ticks": 4}, engine=ENGINE, render_mode="ansi")
    envs.reset(seed=0)
    seconds = []
    for _ in range(6):
        envs.step(np.zeros(envs.action_space.shape, np.float32))
        frames = envs.render()
        assert len(frames) == 2
        seconds.append(frames[0].splitlines()[0])
    assert seconds == [f"tiny  {second} s of 4 s" for second in (1, 2, 3, 4, 0, 1)]


def test_without_a_render_mode_there_is_no_frame() -> None:
    env = FleetEnv("tiny", engine=ENGINE)
    env.reset(seed=0)
    assert env.render() is None
