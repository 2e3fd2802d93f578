"""The observation is the view over the scenario's scales, cut to its bounds, and can be read back."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError

TINY = load_scenario("tiny")


def view_of(**values: object) -> Record:
    layout = Layout(VIEW, axis_sizes(TINY))
    view = Record(layout, np.zeros((1, layout.width), np.float32))
    for name, value in values.items():
        view[name][0] = value
    return view


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("waiting_requests", [512, 512]),  # 256 sequences, 2 replicas
        ("unprefilled_tokens", [4096, 4096]),  # 2048 tokens an iteration, 2 replicas
        ("kv_reserved_fraction", [1, 1]),
        ("awake_replicas", [2, 2]),
        ("pool_power_w", [2 * 950, 8 * 950]),  # 700 W boards, 250 W of server each
        ("generated_tokens", [5120, 5120]),  # 10 tokens/s for 512 sequences
        ("arrived", [8, 4.75, 2]),  # 4.75 = (3 * 15 + 10 * 5) / 20
        ("held_requests", [480, 285, 120]),
        ("ttft_mean_s", [0.5, 0.45, 45]),  # the batch class has only a deadline
        ("site_power_w", [1.2 * 10 * 950]),
        ("brake_timer_s", [10]),
        ("dark_remaining_s", [20]),
        ("announced_cap_w", [11400, 11400]),
        ("price_usd_per_mwh", [100]),
        ("carbon_g_per_kwh", [500]),
        ("time_fraction", [1]),
    ],
)
def test_scales_of_the_tiny_scenario(field: str, expected: list[float]) -> None:
    observation = FleetObservation(TINY)
    np.testing.assert_allclose(observation.scale[observation.layout.slice(field)], expected)


def test_an_entry_is_the_value_over_its_scale() -> None:
    observation = FleetObservation(TINY)
    row = observation.observe(view_of(waiting_requests=[128, 1024], cap_w=[7980], clock_fraction=[0.5, 1]))[0]
    named = Record(observation.layout, row[None])
    assert named["waiting_requests"][0].tolist() == [0.25, 2.0]
    assert named["cap_w"][0].tolist() == [np.float32(0.7)]
    assert named["clock_fraction"][0].tolist() == [0.5, 1.0]


def test_entries_are_cut_to_their_bounds() -> None:
    observation = FleetObservation(TINY)
    row = observation.observe(view_of(waiting_requests=[1e9, 0], dark_remaining_s=[1e6], arrived=[-5, 0, 0]))
    named = Record(observation.layout, row)
    assert named["waiting_requests"][0].tolist() == [10.0, 0.0]
    assert named["dark_remaining_s"][0].tolist() == [1.0]
    assert named["arrived"][0].tolist() == [0.0, 0.0, 0.0]
    assert observation.space.contains(row[0])
    assert row.dtype == np.float32


def test_an_observation_of_another_scenario_is_not_decoded() -> None:
    ours, theirs = (FleetObservation(load_scenario(name)) for name in ("tiny", "default"))
    with pytest.raises(ValueError, match=f"must have the {len(ours.scale)} numbers .*got {len(theirs.scale)}"):
        ours.decode(np.zeros((2, len(theirs.scale)), np.float32))


def test_decode_gives_back_the_view_in_its_units() -> None:
    observation = FleetObservation(TINY)
    view = view_of(waiting_requests=[100, 3], cap_w=[7980], price_usd_per_mwh=[60], arrived=[7, 3, 1])
    for rows in (observation.observe(view), observation.observe(view)[0]):
        decoded = observation.decode(rows)
        for field in VIEW:
            np.testing.assert_allclose(decoded[field.name], view[field.name], rtol=1e-6)


def test_an_observation_does_not_alias_the_view() -> None:
    observation = FleetObservation(TINY)
    view = view_of(cap_w=[7980])
    row = observation.observe(view)
    before = row.copy()
    view.rows[:] = 3.0
    np.testing.assert_array_equal(row, before)
    assert not np.shares_memory(row, view.rows)


def test_a_subset_keeps_the_order_of_the_table() -> None:
    observation = FleetObservation(TINY, fields=["cap_w", "waiting_requests"])
    assert [field.name for field in observation.layout] == ["waiting_requests", "cap_w"]
    assert observation.space.shape == (3,)
    row = observation.observe(view_of(waiting_requests=[512, 0], cap_w=[11400]))
    assert row.tolist() == [[1.0, 0.0, 1.0]]
    assert observation.decode(row)["cap_w"].tolist() == [[11400.0]]


def test_unknown_fields_are_named_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"unknown field 'waiting_request'; did you mean 'waiting_requests'\?"):
        FleetObservation(TINY, fields=["waiting_request"])
    with pytest.raises(SpecError, match="at least one field"):
        FleetObservation(TINY, fields=[])


def test_no_scale_is_zero_in_a_scenario_of_zeros() -> None:
    scenario = load_scenario(
        "tiny",
        {
            "sites.lab.grid.brake": {"delay_s": 0.0},
            "sites.lab.grid.breaker": {"restart_s": 0.0},
            "classes.idle": {
                "model": "llama-3.1-8b",
                "usd_per_million_input_tokens": 0,
                "usd_per_million_output_tokens": 0,
            },
        },
    )
    assert (FleetObservation(scenario).scale > 0).all()


def test_the_table_covers_every_entry_once() -> None:
    observation = FleetObservation(TINY)
    covered = [column for row in observation.table() for column in range(row.first, row.last + 1)]
    assert covered == list(range(observation.space.shape[0]))
    cap = next(row for row in observation.table() if row.name == "cap_w")
    assert (cap.unit, cap.low, cap.high) == ("W", 0.0, 2 * 11400.0)
