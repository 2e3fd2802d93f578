"""Actions are controls in [-1, 1]: what -1, 0 and 1 mean, and that encode undoes decode."""

from __future__ import annotations

import numpy as np
import pytest

from tests.envs.scenarios import TWO_ROUTES, two_routes
from tests.interface.rows import decoded, segment_of
from tokenfleet.envs.interface.action import FleetAction
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.capacity import capacity_rps, capacity_share
from tokenfleet.envs.vector import FleetVectorEnv

FLOOR = load_scenario("tiny").pools["lab-8b"].gpu_spec.clock_floor_fraction


def test_only_classes_with_a_choice_have_routes() -> None:
    assert FleetAction(load_scenario("tiny")).table[0].labels == ()
    assert FleetAction(two_routes()).table[0].labels == (
        "chat-8b to lab-8b",
        "chat-8b to lab-8b-too",
        "batch-8b to lab-8b",
        "batch-8b to lab-8b-too",
    )


def test_the_middle_of_the_box_is_a_sane_fleet() -> None:
    controls = decoded(FleetAction(two_routes()))
    # Two replicas against one of the same kind; the 70B class has one pool.
    np.testing.assert_allclose(controls.route_share[0], [[2 / 3, 0, 1 / 3], [0, 1, 0], [2 / 3, 0, 1 / 3]])
    np.testing.assert_allclose(controls.clock_fraction, (FLOOR + 1) / 2)
    assert controls.awake_fraction.tolist() == [[0.5, 1.0, 1.0]]  # what fits the contract at the clock floor
    assert np.isinf(controls.admit_rate_rps).all()


def test_minus_one_closes_a_route_and_all_closed_means_by_capacity() -> None:
    action = FleetAction(two_routes())
    controls = decoded(action, route_weight=[-1, 0.5, -1, -1])
    np.testing.assert_allclose(controls.route_share[0, 0], [0, 0, 1])
    np.testing.assert_allclose(controls.route_share[0, 2], [2 / 3, 0, 1 / 3])


def test_clocks_run_from_the_floor_to_one() -> None:
    controls = decoded(FleetAction(load_scenario("tiny")), clock_fraction=[-1, 1])
    assert controls.clock_fraction[0].tolist() == [FLOOR, 1.0]


def test_sleep_takes_more_than_noise_around_the_middle_and_every_number_is_within_reach() -> None:
    action = FleetAction(load_scenario("default"))  # where 1, 3, 1 and 4 of 1, 4, 1 and 4 replicas fit the contract
    for value, replicas in (
        (-1.0, [0, 0, 0, 0]),
        (-0.96, [0, 0, 0, 0]),
        (-0.81, [0, 1, 0, 2]),
        (-0.66, [1, 3, 1, 3]),
        (-0.6, [1, 3, 1, 4]),
        (0.6, [1, 3, 1, 4]),
        (1.0, [1, 4, 1, 4]),
    ):
        awake = decoded(action, awake_fraction=value).awake_fraction[0] * [1, 4, 1, 4]
        assert awake.tolist() == replicas


def test_admission_is_a_rate_below_zero_and_no_limit_above() -> None:
    controls = decoded(FleetAction(load_scenario("tiny")), admit_rate_rps=[-1, -0.75, 0.01])
    assert controls.admit_rate_rps[0].tolist() == [0.0, 4.75, np.inf]


BATTERY = {"sites.lab.battery": {"power_w": 5000.0, "energy_j": 1e6}}


def test_a_battery_charges_at_minus_one_rests_at_zero_and_discharges_at_one() -> None:
    action = FleetAction(load_scenario("tiny", BATTERY))
    for value, power_w in ((-1.0, -5000.0), (0.0, 0.0), (0.5, 2500.0), (1.0, 5000.0)):
        assert decoded(action, battery_power=value).battery_power_w == [[power_w]]


def test_a_fleet_without_a_battery_has_no_entry_for_one() -> None:
    action = FleetAction(load_scenario("tiny"))
    assert next(part.labels for part in action.table if part.name == "battery_power") == ()
    assert decoded(action).battery_power_w is None


def test_encode_undoes_decode_of_a_battery() -> None:
    action = FleetAction(load_scenario("tiny", BATTERY))
    controls = action.decode(np.random.default_rng(0).uniform(-1.2, 1.2, (50, *action.space.shape)))
    again = action.decode(action.encode(controls))
    np.testing.assert_allclose(again.battery_power_w, controls.battery_power_w, atol=1e-3)


PRICED = {"classes.chat-70b.token_price_factor": {"low": 0.5, "high": 2.5}}


def test_a_price_runs_from_the_lowest_to_the_highest_factor_of_its_class() -> None:
    action = FleetAction(load_scenario("tiny", PRICED))
    assert segment_of(action, "token_price_factor").labels == ("chat-70b",)
    for value, factor in ((-1.0, 0.5), (0.0, 1.5), (1.0, 2.5)):
        assert decoded(action, token_price_factor=value).token_price_factor.tolist() == [[1.0, factor, 1.0]]


def test_prices_are_fixed_where_no_class_says_otherwise() -> None:
    action = FleetAction(load_scenario("tiny"))
    assert segment_of(action, "token_price_factor").labels == ()
    assert decoded(action).token_price_factor is None


def test_encode_undoes_decode_of_a_price_and_no_price_is_the_list_price() -> None:
    action = FleetAction(load_scenario("tiny", PRICED))
    controls = action.decode(np.random.default_rng(0).uniform(-1.2, 1.2, (50, *action.space.shape)))
    again = action.decode(action.encode(controls))
    np.testing.assert_allclose(again.token_price_factor, controls.token_price_factor, atol=1e-6)
    neutral = action.decode(action.encode(Controls.neutral(1, np.ones((3, 2)))))
    np.testing.assert_allclose(neutral.token_price_factor, 1.0, atol=1e-6)


@pytest.mark.parametrize("beyond", [1.5, np.inf])
def test_out_of_range_counts_as_the_nearer_end(beyond: float) -> None:
    action = FleetAction(two_routes())
    for sign in (-1, 1):
        outside = action.decode(np.full((1, *action.space.shape), sign * beyond))
        at_the_end = action.decode(np.full((1, *action.space.shape), sign * 1.0))
        np.testing.assert_array_equal(outside.route_share, at_the_end.route_share)
        np.testing.assert_array_equal(outside.clock_fraction, at_the_end.clock_fraction)
        np.testing.assert_array_equal(outside.admit_rate_rps, at_the_end.admit_rate_rps)


def test_nan_is_refused_and_located() -> None:
    action = FleetAction(two_routes())
    rows = np.zeros((3, *action.space.shape), np.float32)
    rows[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN in entries \[\[1, 2\]\]"):
        action.decode(rows)


def test_a_wrong_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \[N, 7\] \(got \[2, 6\]\)"):
        FleetAction(load_scenario("tiny")).decode(np.zeros((2, 6)))


def test_encode_undoes_decode() -> None:
    action = FleetAction(two_routes())
    rng = np.random.default_rng(0)
    controls = action.decode(rng.uniform(-1.2, 1.2, (200, *action.space.shape)))
    encoded = action.encode(controls)
    assert encoded.dtype == np.float32
    assert all(action.space.contains(row) for row in encoded)
    again = action.decode(encoded)
    np.testing.assert_allclose(again.route_share, controls.route_share, atol=1e-6)
    np.testing.assert_allclose(again.clock_fraction, controls.clock_fraction, atol=1e-6)
    np.testing.assert_allclose(again.awake_fraction, controls.awake_fraction, atol=1e-6)
    np.testing.assert_allclose(again.admit_rate_rps, controls.admit_rate_rps, rtol=1e-5, atol=1e-5)


def test_what_the_box_cannot_say_becomes_the_nearest_it_can() -> None:
    scenario = two_routes()
    action = FleetAction(scenario)
    controls = Controls.neutral(1, np.zeros((3, 3)))
    controls.admit_rate_rps[0] = [1e6, 1.0, np.inf]
    again = action.decode(action.encode(controls))
    np.testing.assert_allclose(again.route_share[0], capacity_share(scenario))
    np.testing.assert_allclose(again.admit_rate_rps[0], [np.inf, 1.0, np.inf], rtol=1e-6)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    action = FleetAction(two_routes())
    rows = np.random.default_rng(1).uniform(-1, 1, (67, *action.space.shape)).astype(np.float32)
    rows[::5, :4] = -1.0
    together = action.decode(rows)
    for index in range(len(rows)):
        alone = action.decode(rows[index : index + 1])
        for name in ("route_share", "clock_fraction", "awake_fraction", "admit_rate_rps"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[index])


def test_capacity_follows_replicas() -> None:
    one, two = capacity_rps(two_routes())[0, [2, 0]]
    assert two == pytest.approx(2 * one)


@pytest.mark.parametrize(("load", "low", "high"), [(0.6, 0.95, 1.0), (1.5, 0.0, 0.5)])
def test_capacity_is_about_what_the_engine_can_serve(load: float, low: float, high: float, engine: str) -> None:
    capacity = capacity_rps(load_scenario("tiny"))[0, 0]
    workload = {
        "kind": "poisson",
        "request_class": "chat-8b",
        "rate_rps": load * capacity,
        "prompt": {"median_tokens": 600, "sigma": 0.8, "max_tokens": 4096},
        "output": {"median_tokens": 120, "sigma": 0.6, "max_tokens": 1000},
    }
    unbound = {"sites.lab.grid.cap_fraction": 1.0, "sites.lab.grid.demand_response": []}
    envs = FleetVectorEnv("tiny", 2, overrides={"workload": {"chat": workload}, **unbound}, engine=engine)
    envs.reset(seed=0)
    full_clocks = np.ones(envs.action_space.shape, np.float32)
    for _ in range(envs.scenario.horizon_ticks):
        *_, info = envs.step(full_clocks)
    attainment = info["episode_metrics"]["slo_attainment/chat-8b"]
    assert ((low <= attainment) & (attainment <= high)).all(), attainment


def test_the_scenarios_differ_only_by_the_pool() -> None:
    assert set(two_routes().pools) - set(load_scenario("tiny").pools) == {
        key.removeprefix("pools.") for key in TWO_ROUTES
    }


CACHE = {"pools.lab-8b.prefix_cache": True}


def test_only_classes_that_a_prefix_cache_serves_have_an_affinity() -> None:
    assert [part.labels for part in FleetAction(load_scenario("tiny")).table if part.name == "prefix_affinity"] == [()]
    table = FleetAction(load_scenario("tiny", CACHE)).table
    assert [part.labels for part in table if part.name == "prefix_affinity"] == [("chat-8b", "batch-8b")]


def test_affinity_runs_from_load_alone_over_one_to_two_and_encodes_back() -> None:
    action = FleetAction(load_scenario("tiny", CACHE))
    rows = np.zeros((3, action.space.shape[0]), np.float32)
    column = next(part.columns for part in action.table if part.name == "prefix_affinity")
    rows[:, column] = np.array([-1.0, 0.0, 1.0])[:, None]
    controls = action.decode(rows)
    assert controls.prefix_affinity is not None
    np.testing.assert_allclose(controls.prefix_affinity[:, 0], [0.0, 1.0, 2.0])
    np.testing.assert_allclose(controls.prefix_affinity[:, 1], 1.0)  # a class without a cache
    np.testing.assert_allclose(action.encode(controls)[:, column], rows[:, column])


def test_who_can_stand_by_has_a_knob_and_nobody_else() -> None:
    action = FleetAction(load_scenario("tiny", {"pools.lab-70b.standby": {}}))
    controls = decoded(action, standby_fraction=0.5)
    assert controls.standby_fraction is not None
    assert controls.standby_fraction.tolist() == [[0.0, 0.75]]
    assert FleetAction(load_scenario("tiny")).decode(np.zeros((1, 7))).standby_fraction is None
