"""Clocks, sleep, caps, the brake and the breaker, on fleets worked out by hand, on both engines."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.runs import ENGINES, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

NOTHING = RequestTable.empty()
ONE_LONG = RequestTable.of([0.0], [10], [2000])  # decodes for 20 s at full clock


def controls(arrays: FleetArrays, **changes: float) -> Controls:
    """Neutral controls with some entries changed."""
    base = neutral(arrays)
    return replace(base, **{name: np.full_like(getattr(base, name), value) for name, value in changes.items()})


def test_half_the_clock_doubles_compute_bound_time(engine):
    """No part of this pool's time is memory-bound (memory fraction 0)."""
    arrays = one_pool()
    log = run(engine, arrays, plain_episode(arrays, ONE_LONG), [controls(arrays, clock_fraction=0.5)] * 20).log
    assert log.first_token_s[0] == pytest.approx(0.04)


def test_a_new_clock_holds_from_the_first_boundary_after_the_tick(engine):
    """100 iterations of 10 ms end before 1 s (the first is the prefill of 20 ms), the rest take 20 ms each."""
    arrays = one_pool(horizon_ticks=5)
    requests = RequestTable.of([0.005], [10], [200])
    tape = [controls(arrays)] + [controls(arrays, clock_fraction=0.5)] * 4
    log = run(engine, arrays, plain_episode(arrays, requests), tape).log
    decoded_by_1_s = 98  # boundaries at 0.025, 0.035 ... 1.005: the one that crosses the tick keeps its clock
    assert log.finished_s[0] == pytest.approx(0.025 + decoded_by_1_s * 0.01 + (199 - decoded_by_1_s) * 0.02)


def test_a_clock_is_in_force_after_its_latency(engine):
    """Asked for at 1 s and back at 3 s; two ticks late."""
    arrays = one_pool(clock_latency_ticks=2)
    tape = [controls(arrays)] + [controls(arrays, clock_fraction=0.5)] * 2 + [controls(arrays)] * 17
    result = run(engine, arrays, plain_episode(arrays, NOTHING), tape)
    assert result.views["clock_fraction"][1:8, 0].tolist() == [1.0, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0]


def test_the_brake_does_not_wait_for_the_latency_of_clocks(engine):
    arrays = one_pool(clock_latency_ticks=10)
    result = run(engine, arrays, plain_episode(arrays, ONE_LONG, cap_w=50.0))
    assert result.views["clock_fraction"][2:5, 0].tolist() == [1.0, 1.0, 0.25]


def test_busy_power_falls_with_clock_times_voltage_squared(engine):
    """Below the voltage floor of 0.76, power falls linearly with the clock."""
    arrays = one_pool(static_w=50.0, floor_w=100.0, horizon_ticks=2)
    for clock, voltage in ((1.0, 1.0), (0.8, 0.8), (0.5, 0.76)):
        result = run(engine, arrays, plain_episode(arrays, ONE_LONG), [controls(arrays, clock_fraction=clock)] * 2)
        assert result.outcomes["power_w"][1, 0] == pytest.approx(50.0 + 100.0 * clock * voltage**2)


def test_boards_never_draw_more_than_their_limit(engine):
    arrays = one_pool(limit_w=80.0)
    result = run(engine, arrays, plain_episode(arrays, ONE_LONG))
    assert result.outcomes["power_w"][1, 0] == pytest.approx(80.0)


def test_beyond_the_knee_only_the_shoulder_of_the_work_shows(engine):
    """Awake 100 W, limit 500 W, knee at 200 W, slope 1/2: iterations of 10 ms with 1 J and 4 J of work."""
    arrays = one_pool(limit_w=500.0, knee_fraction=0.25, shoulder_slope=0.5)
    for work_j, power_w in ((0.5, 150.0), (1.0, 200.0), (4.0, 350.0), (20.0, 500.0)):
        changed = replace(arrays, work_j=np.full((1, len(TOKEN_KNOTS)), work_j))
        result = run(engine, changed, plain_episode(changed, ONE_LONG))
        assert result.outcomes["power_w"][1, 0] == pytest.approx(power_w)


def test_a_growing_context_crosses_knee_and_limit_one_after_the_other(engine):
    """The context grows from 10 by one an iteration of 10 ms; each token costs 10 mJ, so 1 W more an iteration.

    Awake 100 W; knee at 200 W, after 100 tokens; limit 250 W, after 200. From there on 200 W of work are what the limit
    leaves power for, so the clock falls as 200 / tokens, and iterations stretch as it does.
    """
    arrays = one_pool(context_j=0.01, limit_w=250.0, knee_fraction=2 / 3, shoulder_slope=0.5, horizon_ticks=7)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [10], [400])))
    tokens = np.arange(11, 410)  # the first token comes with the prefill of 20 ms
    watts = np.minimum(np.minimum(100.0 + tokens, 150.0 + 0.5 * tokens), 250.0)
    step_s = 0.01 * np.maximum(tokens / 200, 1.0)
    assert result.log.finished_s[0] == pytest.approx(0.02 + step_s.sum(), rel=1e-9)
    idle_s = 7.0 - 0.02 - step_s.sum()
    expected_j = 0.02 * 100.0 + (step_s * watts).sum() + 40.0 * idle_s
    assert result.outcomes["power_w"][:, 0].sum() == pytest.approx(expected_j)


def test_work_beyond_the_limit_slows_down_to_the_clock_that_holds_it(engine):
    """A prompt of 10 takes 20 ms and 4 J at full clock, V^2 of it; 100 W awake leave 100 W of the limit for the work.

    At F the work is 4 F^2 J in 0.02 / F s, 200 F^3 W: the limit holds at F^3 = 1/2. Half the clock is asked for in vain
    where the limit already forces less, and in earnest where it does not.
    """
    arrays = one_pool(limit_w=200.0, token_j=0.4, voltage_floor_fraction=0.1)
    forced = 0.5 ** (1 / 3)
    for asked, clock in ((1.0, forced), (0.85, forced), (0.5, 0.5)):
        result = run(
            engine,
            arrays,
            plain_episode(arrays, RequestTable.of([0.0], [10], [1])),
            [controls(arrays, clock_fraction=asked)] * arrays.horizon_ticks,
        )
        assert result.log.first_token_s[0] == pytest.approx(0.02 / clock, rel=1e-9)
        watts = 200.0 if asked > forced else 100.0 + 200.0 * asked**3
        busy_s = 0.02 / clock
        assert result.outcomes["power_w"][0, 0] == pytest.approx(watts * busy_s + 40.0 * (1.0 - busy_s))


def test_no_limit_forces_a_clock_below_an_eighth(engine):
    """100 W awake and a limit of 80 W: the prompt of 20 ms takes eight times as long, and draws the limit."""
    arrays = one_pool(limit_w=80.0)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [10], [1])))
    assert result.log.first_token_s[0] == pytest.approx(8 * 0.02)
    assert result.outcomes["power_w"][0, 0] == pytest.approx(8 * 0.02 * 80.0 + (1.0 - 8 * 0.02) * 40.0)


@pytest.mark.parametrize(("bytes_j", "core_fraction"), [
    ({"work_j": np.ones((1, len(TOKEN_KNOTS)))}, "core_byte_fraction"), ({"context_j": 1e-3}, "core_context_fraction"),
])  # fmt: skip
def test_a_byte_keeps_its_share_inside_the_memory_at_any_clock(engine, bytes_j, core_fraction):
    """The same 400 tokens at full and half clock, 60 % of a byte's energy at the core's voltage, 0.76 at half."""
    arrays = one_pool(static_w=0.0, idle_w=0.0, **bytes_j, **{core_fraction: 0.6})
    episode = plain_episode(arrays, RequestTable.of([0.0], [10], [400]))
    full, half = (
        run(engine, arrays, episode, [controls(arrays, clock_fraction=clock)] * 20).outcomes["power_w"].sum()
        for clock in (1.0, 0.5)
    )
    assert half / full == pytest.approx(1 - 0.6 * (1 - 0.76**2))


def test_a_clock_below_the_floor_is_raised_to_it(engine):
    arrays = one_pool(clock_floor_fraction=0.4)
    result = run(engine, arrays, plain_episode(arrays, NOTHING), [controls(arrays, clock_fraction=0.01)] * 20)
    assert result.views["clock_fraction"][-1, 0] == pytest.approx(0.4)


def test_an_idle_replica_falls_asleep_at_once_and_wakes_after_its_load_time(engine):
    """Asleep 5 W, waking and idle 40 W; waking takes 5 s."""
    arrays = one_pool()
    tape = [controls(arrays, awake_fraction=0.0)] * 3 + [controls(arrays)] * 17
    result = run(engine, arrays, plain_episode(arrays, NOTHING), tape)
    assert result.outcomes["power_w"][:10, 0].tolist() == pytest.approx([5.0] * 3 + [40.0] * 7)
    assert result.views["waking_replicas"][4:9, 0].tolist() == [1.0] * 5
    assert result.views["awake_replicas"][9, 0] == 1.0


def test_a_busy_replica_drains_before_it_sleeps(engine):
    arrays = one_pool()
    requests = RequestTable.of([0.0, 1.5], [10, 10], [300, 1])
    result = run(
        engine,
        arrays,
        plain_episode(arrays, requests),
        [controls(arrays)] + [controls(arrays, awake_fraction=0.0)] * 19,
    )
    assert result.log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.REFUSED]
    assert result.outcomes["power_w"][:, 0][[1, 2, 4]].tolist() == pytest.approx([100.0, 100.0, 5.0])


def test_part_of_a_pool_can_sleep(engine):
    """Half of three replicas is rounded up to two."""
    arrays = one_pool(replicas=3)
    result = run(engine, arrays, plain_episode(arrays, NOTHING), [controls(arrays, awake_fraction=0.5)] * 20)
    assert result.views["awake_replicas"][-1, 0] == 2.0


def test_seconds_above_the_cap_are_counted_by_the_meter(engine):
    """Idle 40 W under a cap of 50 W; busy 100 W for the first two seconds."""
    arrays = one_pool()
    requests = RequestTable.of([0.0], [10], [199])  # busy for 2.0 s
    result = run(engine, arrays, plain_episode(arrays, requests, cap_w=50.0))
    assert result.total("above_cap_s") == 2.0
    assert result.total("over_cap_w") == pytest.approx(100.0)
    assert result.total("brakes") == 0.0


def test_the_brake_engages_after_its_delay_and_slows_the_site(engine):
    """100 W over a cap of 50 W for 3 s, then a quarter of the clock: iterations of 40 ms."""
    arrays = one_pool()
    result = run(engine, arrays, plain_episode(arrays, ONE_LONG, cap_w=50.0))
    assert result.outcomes["brakes"][:, 0].tolist() == [0, 0, 1] + [0] * 17
    assert result.views["clock_fraction"][2:5, 0].tolist() == [1.0, 1.0, 0.25]
    assert result.outcomes["generated_tokens"][5, 0] == 25


def test_the_brake_releases_when_power_has_stayed_well_below(engine):
    """Braked it draws 62.5 W (50 + 50 * 0.25), below 0.9 * 80 W for 2 s; released it draws 100 W again."""
    arrays = one_pool(static_w=50.0, floor_w=50.0, voltage_floor_fraction=1.0)
    result = run(engine, arrays, plain_episode(arrays, ONE_LONG, cap_w=80.0))
    assert result.views["braked"][:, 0].tolist()[:9] == [0, 0, 0, 1, 1, 0, 0, 0, 1]


def test_the_breaker_trips_and_the_site_restarts(engine):
    """Twice the cap, which the breaker carries for 5 s: dark for 4 s, then 5 s of loading at idle power."""
    arrays = one_pool(trip_heat_s=5.0, brake_delay_s=1e9)
    requests = RequestTable.of([0.0, 6.5], [10, 10], [2000, 10])
    result = run(engine, arrays, plain_episode(arrays, requests, cap_w=50.0))
    assert result.total("trips") == 1.0
    assert result.log.status.tolist() == [RequestStatus.REFUSED, RequestStatus.REFUSED]
    assert result.log.finished_s[0] == 5.0
    assert result.outcomes["power_w"][4:11, 0].tolist() == pytest.approx([100.0, 0.0, 0.0, 0.0, 0.0, 40.0, 40.0])
    assert result.views["dark_remaining_s"][5:10, 0].tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert result.views["awake_replicas"][14:16, 0].tolist() == [0.0, 1.0]


def test_pue_and_servers_count_towards_the_site(engine):
    arrays = one_pool(pue=1.5, host_w=20.0)
    result = run(engine, arrays, plain_episode(arrays, NOTHING))
    assert result.outcomes["power_w"][0, 0] == pytest.approx(1.5 * (40.0 + 20.0))
