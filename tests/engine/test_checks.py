"""What both engines refuse, and that a refusal changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, neutral
from tests.engine.small_fleets import one_pool, plain_episode, two_pools
from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable
from tokenfleet.envs.spec import MAX_TOKENS, SpecError
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


@pytest.mark.parametrize(("name", "value", "message"), [
    ("awake_fraction", 1.5, r"controls\.awake_fraction: must be 0 to 1 \(got 1\.5\)"),
    ("awake_fraction", np.nan, r"controls\.awake_fraction: must be 0 to 1 \(got nan\)"),
    ("clock_fraction", np.nan, r"controls\.clock_fraction: must be 0 to 1 \(got nan\)"),
    ("clock_fraction", -0.1, r"controls\.clock_fraction: must be 0 to 1 \(got -0\.1\)"),
    ("route_share", -1.0, r"controls\.route_share: must be 0 to 1e\+100 \(got -1\.0\)"),
    ("route_share", np.inf, r"controls\.route_share: must be 0 to 1e\+100 \(got inf\)"),
    ("admit_rate_rps", -1.0, r"controls\.admit_rate_rps: must be 0 or more \(got -1\.0\)"),
    ("battery_power_w", np.nan, r"controls\.battery_power_w: must be a number \(got nan\)"),
    ("prefix_affinity", -1.0, r"controls\.prefix_affinity: must be 0 or more \(got -1\.0\)"),
    ("token_price_factor", np.nan, r"controls\.token_price_factor: must be 0 or more \(got nan\)"),
])  # fmt: skip
def test_a_control_outside_its_bounds_is_refused_and_nothing_has_happened(engine, name, value, message):
    arrays = one_pool()
    fleet = make_engine(engine, arrays, 1)
    fleet.reset(0, plain_episode(arrays, RequestTable.of([0.5], [10], [5])))
    filled = replace(
        neutral(arrays),
        battery_power_w=np.zeros((1, 1)),
        prefix_affinity=np.ones((1, 1)),
        token_price_factor=np.ones((1, 1)),
    )
    with pytest.raises(SpecError, match=message):
        fleet.step(replace(filled, **{name: np.full_like(getattr(filled, name), value)}))
    fleet.step(filled)
    assert fleet.outcome["arrived"].tolist() == [[1.0]]


def test_controls_of_another_batch_are_refused(engine):
    arrays = one_pool()
    fleet = make_engine(engine, arrays, 2)
    for index in range(2):
        fleet.reset(index, plain_episode(arrays, RequestTable.empty()))
    with pytest.raises(SpecError, match=r"controls\.route_share: shape \(1, 1, 1\), need \(2, 1, 1\)"):
        fleet.step(neutral(arrays))


@pytest.mark.parametrize(("change", "message"), [
    ({"cap_w": np.full((20, 1), np.nan)}, r"episode\.cap_w: must be .* \(got nan\)"),
    ({"cap_w": np.ones((19, 1))}, r"episode\.cap_w: shape \(19, 1\), need \(20, 1\)"),
    ({"pue": np.full((20, 1), -1.0)}, r"episode\.pue: .*got -1"),
    ({"decode_memory_fraction": np.array([1.5])}, r"episode\.decode_memory_fraction: must be 0 to 1 \(got 1\.5\)"),
    ({"requests": RequestTable.of([0.5], [1], [1], class_id=7)}, r"requests\.class_id: must be 0 to 0 \(got 7\)"),
    ({"requests": RequestTable.of([0.5], [1], [1], region_id=3)}, r"episode\.requests\.region_id: must be 0 to 0"),
    ({"failures": FailureTable(np.array([3]), np.array([5]), np.array([9.0]))}, r"failures\.replica: must be 0 to 0"),
    ({"failures": FailureTable(np.array([3]), np.array([0]), np.array([np.nan]))}, r"failures\.repaired_s: .*got nan"),
    ({"contexts": ContextTable(np.array([4]), np.array([0]))}, r"contexts\.row: must be 0 to 0 \(got 4\)"),
    ({"contexts": ContextTable(np.array([0]), np.array([0]))}, r"contexts\.row: .* \(row 0 is of none\)"),
])  # fmt: skip
def test_an_episode_that_does_not_fit_the_fleet_is_refused(engine, change, message):
    arrays = one_pool()
    episode = plain_episode(arrays, RequestTable.of([0.5], [10], [5]))
    with pytest.raises(SpecError, match=message):
        make_engine(engine, arrays, 1).reset(0, replace(episode, **change))


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_no_fleet_beyond_the_batch(engine, index):
    instance = random_instance(0)
    fleet = make_engine(engine, instance.arrays, 1)
    with pytest.raises(IndexError, match=rf"^index: must be 0, the only fleet \(got {index}\)$"):
        fleet.reset(index, instance.episode)
    with pytest.raises(IndexError, match=rf"^index: must be 0, the only fleet \(got {index}\)$"):
        fleet.request_log(index)


def test_a_log_that_was_taken_does_not_change_later(engine):
    arrays = one_pool()
    fleet = make_engine(engine, arrays, 1)
    fleet.reset(0, plain_episode(arrays, RequestTable.of([0.5], [10], [5])))
    log = fleet.request_log(0)
    fleet.step(neutral(arrays))
    assert np.isnan(log.first_token_s).all()
    assert np.isfinite(fleet.request_log(0).first_token_s).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"token_budget": 2**40}, r"fleet\.token_budget"),
    ({"kv_tokens": 2**50}, r"fleet\.kv_tokens"),
    ({"output_weight": MAX_TOKENS + 1}, r"fleet\.output_weight"),
    ({"tick_s": 1e6}, r"fleet\.tick_s, fleet\.horizon_ticks: .* at most 1e\+07 s together"),
    ({"tick_s": float("nan")}, r"fleet\.tick_s"),
])  # fmt: skip
def test_a_fleet_that_64_bits_or_a_clock_cannot_hold_is_refused(engine, change, message):
    with pytest.raises(SpecError, match=message):
        make_engine(engine, one_pool(**change), 1)


def test_a_fleet_without_a_pool_is_refused(engine):
    sizes = {**dict.fromkeys("WRBVTLF", 0), "S": 1, "P": 0, "K": 1}
    with pytest.raises(SpecError, match="fleet: has no pool"):
        make_engine(engine, FleetArrays.neutral(1.0, 4, sizes), 1)


def test_places_out_of_order_are_refused(engine):
    sizes = {**dict.fromkeys("WRVTLF", 0), "S": 2, "P": 1, "K": 1, "B": 2}
    arrays = FleetArrays.neutral(1.0, 4, sizes, battery=np.array([1, 0]))
    message = r"fleet\.battery: must number 2 in order from 0, and be -1 elsewhere \(got \[1 0\]\)"
    with pytest.raises(SpecError, match=message):
        make_engine(engine, arrays, 1)


@pytest.mark.parametrize(("change", "message"), [
    ({"takes_over": [False, True]}, r"fleet\.takes_over: must say which pools hand_off_to names"),
    ({"hand_off_to": [1, -1], "takes_over": [False, True]}, "only a pool where KV grows hands off"),
    ({"hand_off_to": [1, 0], "takes_over": [True, True], "kv_grows": [True, True]}, "cannot hand off in turn"),
])  # fmt: skip
def test_a_hand_off_that_no_engine_can_carry_out_is_refused(engine, change, message):
    arrays = two_pools(**{name: np.array(values) for name, values in change.items()})
    with pytest.raises(SpecError, match=message):
        make_engine(engine, arrays, 1)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("network_s", -0.1, r"fleet\.network_s: must be 0 or more \(got -0\.1\)"),
        ("priority", 2**63 - 1, r"fleet\.priority"),
        ("site", 1, r"fleet\.site: must be 0 to 0 \(got 1\)"),
        ("row", 0, r"fleet\.row: must be -1 to -1 \(got 0\)"),
        ("hand_off_to", 99, r"fleet\.hand_off_to: must be -1 to 0 \(got 99\)"),
        ("priced", -2, r"fleet\.priced: must be -1 to -1 \(got -2\)"),
        ("meter_window_ticks", 0, r"fleet\.meter_window_ticks: must be 1 to 2\.14748e\+09 \(got 0\)"),
    ],
)
def test_an_index_of_nothing_is_refused(engine, column, value, message):
    arrays = one_pool()
    with pytest.raises(SpecError, match=message):
        make_engine(engine, replace(arrays, **{column: np.full_like(getattr(arrays, column), value)}), 1)
