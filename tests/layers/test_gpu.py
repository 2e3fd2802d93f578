"""Board power: published numbers, the shape of the law, and its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import (
    Draw,
    GpuSpec,
    board_power_w,
    busy_floor_w,
    byte_energy_scale,
    clock_stretch,
    load_gpu,
    voltage_fraction,
)
from tokenfleet.envs.spec import SpecError

GPUS = catalog_names("gpu")
clocks = st.floats(0.05, 1.0)
bandwidths = st.floats(0.0, 8e12)
rates = st.floats(0.0, 2e15)


@pytest.fixture(params=GPUS)
def gpu(request: pytest.FixtureRequest) -> GpuSpec:
    return load_gpu(request.param)


def test_the_catalogue_has_the_promised_boards():
    assert set(GPUS) >= {
        "a100-sxm-40gb", "a100-sxm-80gb", "b200-sxm", "h100-sxm", "h200-sxm", "l40s", "mi300x", "rtx-4090",
        "rtx-pro-6000-blackwell-server", "rtx-pro-6000-blackwell-workstation", "v100-pcie-32gb",
    }  # fmt: skip


def test_every_board_names_its_sources_and_marks_assumptions(gpu):
    assert any("assumption" in source for source in gpu.sources)
    assert any("data sheet" in source for source in gpu.sources)


@pytest.mark.parametrize(("name", "peak", "bandwidth", "tdp_w"), [
    ("v100-pcie-32gb", 112e12, 0.9e12, 250.0),
    ("a100-sxm-40gb", 312e12, 1.555e12, 400.0),
    ("a100-sxm-80gb", 312e12, 2.039e12, 400.0),
    ("l40s", 362.05e12, 0.864e12, 350.0),
    ("mi300x", 1307.4e12, 5.3e12, 750.0),
    ("rtx-4090", 165.2e12, 1.008e12, 450.0),
    ("rtx-pro-6000-blackwell-server", 503.8e12, 1.597e12, 600.0),
    ("h100-sxm", 989.4e12, 3.35e12, 700.0),
    ("h200-sxm", 989.4e12, 4.8e12, 700.0),
    ("b200-sxm", 2250e12, 8e12, 1000.0),
])  # fmt: skip
def test_data_sheet_figures(name, peak, bandwidth, tdp_w):
    board = load_gpu(name)
    assert (board.peak_bf16_flops, board.memory_bandwidth_bytes_per_s, board.tdp_w) == (peak, bandwidth, tdp_w)


@pytest.mark.parametrize(("mhz", "measured_s", "measured_w"), [
    (1260, 0.05357, 388.2), (1080, 0.06204, 282.3), (855, 0.07773, 234.6),
])  # fmt: skip
def test_an_a100_slows_and_saves_as_perseus_measured(mhz, measured_s, measured_w):
    """The forward pass of a stage of GPT-3 took 50.16 ms at 1410 MHz and drew 474.6 W, on a board without a limit."""
    board = load_gpu("a100-sxm-80gb").model_copy(update={"tdp_w": 1000.0, "shoulder_slope": 1.0})
    flops = (474.6 - board.static_w) / board.joule_per_flop
    stretch = clock_stretch(mhz / 1410, board.compute_memory_fraction)
    assert stretch * 0.05016 == pytest.approx(measured_s, rel=0.04)
    assert board_power_w(board, 0.0, flops / stretch, mhz / 1410) == pytest.approx(measured_w, rel=0.06)


def test_a_board_that_only_holds_its_clock_draws_static_plus_floor(gpu):
    assert board_power_w(gpu, 0.0, 0.0, 1.0) == pytest.approx(gpu.static_w + gpu.floor_w)


def test_an_h100_decoding_draws_what_vllm_measures_within_ten_per_cent():
    """ML.ENERGY v3, Llama 3.1 70B on 4 H100, 8 sequences: 441 W per board at 17.0 ms an iteration."""
    read_per_s = 139.0e9 / 4 / 17.0e-3
    assert board_power_w(load_gpu("h100-sxm"), read_per_s, 0.02e15, 1.0) == pytest.approx(441.0, rel=0.1)


@pytest.mark.parametrize(("name", "low_w", "high_w"), [
    ("a100-sxm-80gb", 80, 84), ("h100-sxm", 109, 145), ("h200-sxm", 110, 150), ("b200-sxm", 192, 196),
    ("mi300x", 180, 195), ("l40s", 82, 83), ("v100-pcie-32gb", 36, 39),
])  # fmt: skip
def test_a_loaded_board_that_waits_draws_what_was_read_from_it(name, low_w, high_w):
    assert low_w <= load_gpu(name).idle_w <= high_w


def test_the_three_pieces_of_the_law_worked_by_hand():
    """Awake 100 W, limit 500 W; the knee is half-way, 300 W; beyond it a quarter of each watt shows."""
    board = hand_made(static_w=100.0, tdp_w=500.0, knee_fraction=0.5, shoulder_slope=0.25)
    draw = Draw.at_clock(board, 1.0)
    work_w = (0.0, 150.0, 200.0, 400.0, 1000.0, 2000.0)
    assert [draw.energy_j(1.0, joules) for joules in work_w] == pytest.approx([100, 250, 300, 350, 500, 500])


def test_a_byte_costs_its_core_share_less_at_a_lower_voltage():
    assert [byte_energy_scale(0.5, voltage) for voltage in (1.0, 0.8, 0.6)] == pytest.approx([1, 0.82, 0.68])


def test_a_byte_of_context_costs_as_much_inside_the_memory_as_a_byte_of_weights():
    board = hand_made(core_byte_fraction=0.6, joule_per_byte=1e-10, joule_per_context_byte=2e-10)
    assert (1 - board.core_context_fraction) * 2e-10 == pytest.approx((1 - 0.6) * 1e-10)
    assert hand_made(core_byte_fraction=0.0, joule_per_context_byte=0.5e-10).core_context_fraction == 0.0


def test_without_a_shoulder_power_is_the_sum_of_its_parts():
    board = hand_made(static_w=100.0, floor_w=50.0)
    assert board_power_w(board, 1e12, 1e14, 0.8, 1e12) == pytest.approx(
        100.0 + 50.0 * 0.512 + 100.0 + 100.0 + 0.64 * 100.0
    )


def hand_made(**changes: float) -> GpuSpec:
    """A board of 1 kW whose bytes cost 1e-10 J and whose FLOPs cost 1e-12 J, with no shoulder unless asked for."""
    values = {
        "tdp_w": 1000.0, "limit_fraction": 1.0, "idle_w": 1.0, "asleep_w": 1.0, "static_w": 100.0, "floor_w": 0.0,
        "joule_per_byte": 1e-10, "joule_per_flop": 1e-12, "memory_bytes": 1e9, "memory_bandwidth_bytes_per_s": 1e12,
        "peak_bf16_flops": 1e14, "voltage_floor_fraction": 0.76, "clock_floor_fraction": 0.1,
    }  # fmt: skip
    return GpuSpec.parse({"name": "hand-made", **values, **changes}, "gpu.hand-made")


@given(clocks, bandwidths, rates)
def test_busy_power_lies_between_idle_and_limit(clock, bytes_per_s, flops):
    for name in GPUS:
        board = load_gpu(name)
        watts = board_power_w(board, bytes_per_s, flops, max(clock, board.clock_floor_fraction))
        assert board.idle_w <= watts <= board.limit_w


@given(clocks, clocks, bandwidths, rates)
def test_power_does_not_fall_with_clock_or_work(one, other, bytes_per_s, flops):
    low, high = sorted((one, other))
    for name in GPUS:
        board = load_gpu(name)
        here_w = board_power_w(board, bytes_per_s, flops, low) * (1 - 1e-12)
        assert here_w <= board_power_w(board, bytes_per_s, flops, high)
        assert here_w <= board_power_w(board, bytes_per_s + 1e11, flops + 1e12, low)
        assert here_w <= board_power_w(board, bytes_per_s, flops, low, 1e11)


@given(clocks, st.floats(0.0, 1.0))
def test_stretch_is_between_none_and_the_whole_slowdown(clock, memory_fraction):
    assert clock_stretch(clock, memory_fraction) * (1 + 1e-12) >= 1.0
    assert clock_stretch(clock, memory_fraction) <= 1.0 / clock * (1 + 1e-12)


def test_stretch_is_exactly_one_at_full_clock():
    assert clock_stretch(1.0, 0.85) == 1.0


def test_voltage_stops_falling_at_its_floor():
    assert [voltage_fraction(clock, 0.76) for clock in (1.0, 0.9, 0.76, 0.5)] == [1.0, 0.9, 0.76, 0.76]


def test_arrays_give_what_scalars_give(gpu):
    clock = np.array([0.4, 0.6, 0.76, 1.0])
    work = np.array([0.0, 1e12, 2e12, 3e12])
    alone = [board_power_w(gpu, float(b), 100.0 * float(b), float(f)) for b, f in zip(work, clock, strict=True)]
    assert board_power_w(gpu, work, 100.0 * work, clock).tolist() == alone
    assert busy_floor_w(gpu, clock).tolist() == [busy_floor_w(gpu, float(f)) for f in clock]


@pytest.mark.parametrize(("change", "message"), [
    ({"tdp_w": -1}, r"gpu\.h100-sxm\.tdp_w: .*greater than 0 \(got -1\)"),
    ({"tdp": 700}, r"gpu\.h100-sxm\.tdp: unknown key; did you mean 'tdp_w'"),
    ({"idle_w": 400.0}, "idle_w must not exceed a busy board's least draw"),
    ({"asleep_w": 150.0}, "asleep_w must not exceed idle_w"),
    ({"floor_w": 900.0}, "must not exceed limit_fraction"),
    ({"tdp_w": float("nan")}, "tdp_w"),
])  # fmt: skip
def test_an_impossible_board_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        GpuSpec.parse({**load_entry("gpu", "h100-sxm"), **change}, "gpu.h100-sxm")


def test_a_user_adds_a_gpu_with_one_file(tmp_path: Path):
    (tmp_path / "gpu").mkdir()
    text = "\n".join(
        f"{key}: {value!r}" for key, value in load_gpu("h100-sxm").model_dump().items() if key != "sources"
    )
    (tmp_path / "gpu" / "my-gpu.yaml").write_text(text.replace("'h100-sxm'", "my-gpu"))
    assert load_gpu("my-gpu", [tmp_path]).tdp_w == 700.0


def test_an_unknown_gpu_is_answered_with_the_nearest_name():
    with pytest.raises(SpecError, match="unknown name 'h100-smx'; did you mean 'h100-sxm'"):
        load_gpu("h100-smx")


def test_a_data_sheet_alone_makes_a_board_that_draws_as_the_unmeasured_ones_of_the_catalogue() -> None:
    sheet = ("memory_bytes", "memory_bandwidth_bytes_per_s", "peak_bf16_flops", "tdp_w", "idle_w", "asleep_w")
    for name in ("l40s", "mi300x"):
        shipped = load_gpu(name)
        own = GpuSpec.parse({"name": "own", **{key: getattr(shipped, key) for key in sheet}})
        filled = ("static_w", "joule_per_byte", "joule_per_context_byte", "joule_per_flop", "core_byte_fraction")
        for key in (*filled, "knee_fraction", "shoulder_slope", "limit_fraction", "voltage_floor_fraction"):
            assert getattr(own, key) == pytest.approx(getattr(shipped, key), rel=0.01), (name, key)
        assert "joule_per_flop" in own.sources[-1]
        assert "tdp_w" not in own.sources[-1]


def test_a_board_states_the_joules_of_bytes_and_flops_together() -> None:
    entry = {"name": "own", "memory_bytes": 1e10, "memory_bandwidth_bytes_per_s": 1e12, "peak_bf16_flops": 1e14}
    with pytest.raises(SpecError, match=r"^gpu\.joule_per_flop: missing"):
        GpuSpec.parse({**entry, "tdp_w": 300.0, "joule_per_byte": 1e-10}, "gpu")
    with pytest.raises(SpecError, match=r"^gpu\.tdp_w: missing"):
        GpuSpec.parse(entry, "gpu")
