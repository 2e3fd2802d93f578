"""The clock that a board finds under a power limit: as Zeus measured it, and the highest that keeps to the limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.fit.power.clock import clock_under_power_limit
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.layers.gpu import GpuSpec, board_power_w, clock_stretch, load_gpu

BOARDS = [load_gpu(name) for name in catalog_names("gpu")]


def test_capping_slows_training_as_zeus_measured():
    """Zeus, V100, BERT on SQuAD: 1.07, 1.12, 1.27 and 2.0 times as long at 200, 175, 150 and 100 W as at 250 W."""
    board = load_gpu("v100-pcie-32gb")
    full_flops = (1.07 * 228.0 - 0.07 * board.static_w - board.static_w) / board.joule_per_flop
    limits_w = np.array([250.0, 200.0, 175.0, 150.0, 100.0])
    time = clock_stretch(clock_under_power_limit(board, limits_w, 0.0, full_flops, 0.1), 0.1)
    assert time / time[0] == pytest.approx([1.0, 1.07, 1.12, 1.27, 2.0], rel=0.1)


@given(st.floats(0.1, 1.2), st.floats(0.0, 8e12), st.floats(0.0, 2e15), st.floats(0.0, 1.0))
def test_a_capped_clock_is_the_highest_that_keeps_to_its_limit(share, bytes_per_s, flops, memory_fraction):
    for board in BOARDS:
        limit_w = share * board.tdp_w
        clock = float(clock_under_power_limit(board, limit_w, bytes_per_s, flops, memory_fraction))
        assert board.clock_floor_fraction <= clock <= 1.0
        if clock > board.clock_floor_fraction:
            assert job_w(board, bytes_per_s, flops, clock, memory_fraction) <= limit_w * (1 + 1e-9)
        if clock < 1.0:
            assert job_w(board, bytes_per_s, flops, clock + 1e-6, memory_fraction) > limit_w


def job_w(board: GpuSpec, bytes_per_s: float, flops: float, clock: float, memory_fraction: float) -> float:
    stretch = clock_stretch(clock, memory_fraction)
    return board_power_w(board, bytes_per_s / stretch, flops / stretch, clock)
