"""The clock that a power limit forces: what holds it, what does not, and jobs worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.test_iteration import batches, law_of, mixed, profiles
from tokenfleet.envs.layers.gpu import LOWEST_CLOCK_FRACTION, Load, PowerCoefficients, clock_under_limit
from tokenfleet.envs.layers.llm.iteration import iteration_effort, iteration_time_s, iteration_work_j, unlimited_time_s

BOARD = PowerCoefficients(
    static_w=100.0, floor_w=0.0, core_byte_fraction=0.0, core_context_fraction=0.0, knee_fraction=1.0,
    shoulder_slope=1.0, limit_w=300.0, voltage_floor_fraction=0.1,
)  # fmt: skip


def test_work_of_the_core_alone_runs_at_the_cube_root_of_what_it_may_draw():
    """400 W at full clock where 200 W are left: F^3 = 1/2."""
    assert clock_under_limit(BOARD, Load(0.0, 1.0, 0.0, 400.0), 1.0) == pytest.approx(0.5 ** (1 / 3), rel=1e-9)


def test_below_the_floor_of_the_voltage_only_the_time_helps():
    """900 J of which V^2 is left, 729 / 400 / F W at F < V = 0.9 where 200 W are left: F = 200 / 729."""
    board = replace(BOARD, voltage_floor_fraction=0.9)
    assert clock_under_limit(board, Load(0.0, 1.0, 0.0, 900.0), 1.0) == pytest.approx(200 / 729, rel=1e-9)


def test_work_of_the_memory_alone_draws_less_only_by_taking_longer():
    """400 J of the memory's in F^-1 seconds: F = 1/2."""
    assert clock_under_limit(BOARD, Load(0.0, 1.0, 400.0, 0.0), 1.0) == pytest.approx(0.5, rel=1e-9)


def test_where_no_clock_holds_the_limit_the_lowest_is_taken():
    assert clock_under_limit(BOARD, Load(1.0, 0.0, 400.0, 0.0), 1.0) == LOWEST_CLOCK_FRACTION
    assert clock_under_limit(BOARD, Load(1.0, 0.0, 400.0, 0.0), 0.1) == 0.1


def test_many_at_once_give_what_each_gives_alone():
    core_j = np.array([250.0, 400.0, 800.0, 1e6])
    asked = np.array([[1.0], [0.9], [0.05]])
    zero = np.zeros_like(core_j)
    together = clock_under_limit(BOARD, Load(zero + 0.2, zero + 0.8, zero, core_j), asked)
    alone = [[clock_under_limit(BOARD, Load(0.2, 0.8, 0.0, float(j)), float(f)) for j in core_j] for f in asked[:, 0]]
    assert together.tolist() == alone


@given(profiles, batches, st.floats(0.2, 1.0))
def test_the_clock_in_force_is_the_highest_that_holds_the_limit(profile, work, asked):
    law, batch = law_of(profile), mixed(*work)

    def holds(clock: float) -> bool:
        physics = law.at_clock(clock)
        return not physics.draw.exceeds_limit(unlimited_time_s(physics, batch), iteration_work_j(physics, batch))

    effort = iteration_effort(law.at_clock(asked), batch)
    assert holds(effort.clock_fraction - 1e-7)
    assert effort.clock_fraction == asked or not holds(effort.clock_fraction + 1e-7)
    assert effort.time_s == pytest.approx(unlimited_time_s(law.at_clock(effort.clock_fraction), batch), rel=1e-9)


@given(profiles, batches, st.floats(0.2, 1.0))
def test_no_clock_above_the_one_in_force_changes_anything(profile, work, share):
    law, batch = law_of(profile), mixed(*work)
    effort = iteration_effort(law.at_clock(1.0), batch)
    clock = effort.clock_fraction + share * (1.0 - effort.clock_fraction)
    assert iteration_time_s(law.at_clock(clock), batch) == pytest.approx(effort.time_s, rel=1e-7)


@given(profiles, batches, st.floats(0.3, 0.95))
def test_a_lower_limit_takes_longer_and_draws_less(profile, work, share):
    law, batch = law_of(profile), mixed(*work)
    capped = replace(law, limit_w=max(share * law.limit_w, law.static_w + law.floor_w + 1.0))
    few, many = (iteration_effort(one.at_clock(1.0), batch) for one in (capped, law))
    assert few.time_s >= many.time_s * (1 - 1e-9)
    assert few.power_w <= many.power_w * (1 + 1e-9)
