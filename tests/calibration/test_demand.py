"""Recorded sessions come out of the originals as stated, and the fitted agent follows what it was not fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.claims.demand import QUANTITIES
from calibration.extract.sessions import session_calls
from calibration.fit.demand import agents, arrivals, streams
from calibration.fit.demand.sessions import lognormals, prefill_overstatement, statistics
from tokenfleet.envs.catalog import SHIPPED, load_sessions, read_yaml
from tokenfleet.envs.layers.agents import HawkesStream
from tokenfleet.envs.layers.agents.hawkes import hawkes_fano_factor

ROOT = Path(__file__).parents[2]


# --- converting the record ---


def call(t, tokens, blocks, think=0.0, stop="tool_use", api=5.0, kind="tool_result"):
    return {
        "t": t, "in": tokens, "out": 10, "stop": stop, "input_types": [kind], "hash_rle": blocks,
        **({} if api is None else {"api_time": api}), **({} if think is None else {"think_time": think}),
    }  # fmt: skip


def session(requests, tool_tokens=128):
    return {"id": "one", "tool_tokens": tool_tokens, "requests": requests}


def test_prefixes_waits_and_turns_of_a_conversation():
    record = session([
        call(0.0, 640, [[1, 10]], kind="text"),
        call(8.0, 900, [[1, 14]], think=3.0, stop="end_turn"),
        call(113.0, 1000, [[1, 4], [20, 11]], think=100.0, kind="text"),
        call(121.0, 700, [[90, 10]], think=3.0),
    ])  # fmt: skip
    rows = session_calls(record, (1.0, 0.0))
    assert [row["reusable_tokens"] for row in rows] == [0, 640, 256, 0]
    assert [row["wait_s"] for row in rows] == [0, 3, 100, 3]
    assert [row["begins_turn"] for row in rows] == [True, False, True, False]
    assert [row["tool_tokens"] for row in rows] == [128, 128, 128, None]
    assert [row["waits_for"] for row in rows] == [[], [0], [1], [2]]


def test_sub_agents_are_launched_side_by_side_and_joined_unless_in_the_background():
    def agent(t, duration_s, status="completed"):
        duration_ms = None if duration_s is None else duration_s * 1e3
        calls = [call(0.0, 300, [[50, 4]]), call(9.0, 400, [[50, 6]], think=4.0)]
        return {"t": t, "duration_ms": duration_ms, "status": status, "tool_tokens": 64, "requests": calls}

    record = session([
        call(0.0, 640, [[1, 10]], kind="text"),
        agent(20.0, 14.0), agent(21.0, 14.5), agent(6.0, None, "async_launched"),
        call(25.0, 900, [[1, 14]], think=20.0),
    ])  # fmt: skip
    rows = session_calls(record, (1.0, 0.0))
    assert [row["conversation"] for row in rows] == [0, 1, 3, 2, 1, 3, 2, 0]
    assert [row["waits_for"] for row in rows] == [[], [0], [0], [0], [1], [2], [3], [0, 4, 6]]
    assert [row["wait_s"] for row in rows] == [0, 1.0, 1.0, 1.5, 4, 4, 4, pytest.approx(25 - 20.5)]


def test_a_call_without_a_recorded_time_gets_one_and_the_clock_still_holds():
    record = session([
        call(0.0, 640, [[1, 10]], kind="text", api=None, think=None, stop=""),
        call(30.0, 900, [[1, 14]], think=33.0, kind="text"),
    ])  # fmt: skip
    first, second = session_calls(record, (2.0, 0.5))
    assert first["service_s"] == 7.0
    assert second["wait_s"] == 23.0
    assert not second["begins_turn"]


# --- the fitted agent ---


def test_the_shipped_agent_is_the_fit():
    assert agents.shipped_differences() == []


@pytest.mark.parametrize("quantity", [*QUANTITIES, "think_time_s"])
def test_the_agent_has_the_tail_that_it_was_fitted_to(quantity):
    """Within 20 % at the ninth decile, where the validation split is too small to tell."""
    invented = getattr(statistics(agents.generated(), "train"), quantity)
    recorded = getattr(statistics(load_sessions("coding-agents"), "train"), quantity)
    assert np.quantile(invented, 0.9) == pytest.approx(np.quantile(recorded, 0.9), rel=0.2)


def test_the_agent_reuses_and_waits_as_sessions_do_that_it_was_not_fitted_to():
    invented = statistics(agents.generated(), "train")
    recorded = statistics(load_sessions("coding-agents"), "validation")
    assert invented.reusable_share == pytest.approx(recorded.reusable_share, abs=0.01)
    assert invented.reusable_share == pytest.approx(0.963, abs=0.005)
    assert invented.busy_share == pytest.approx(recorded.busy_share, abs=0.03)


def test_two_numbers_a_quantity_are_the_published_ones():
    """The lognormals that others quote for the full record of 739 sessions."""
    fitted = lognormals(load_sessions("coding-agents"), "train")
    assert fitted["calls_per_session"] == pytest.approx((3.667, 1.156), abs=0.05)
    assert fitted["new_tokens"] == pytest.approx((6.709, 1.254), abs=0.1)
    assert fitted["tool_wait_s"] == pytest.approx((2.537, 1.279), abs=0.1)


def test_the_report_reads():
    assert "reusable_share" in agents.report()


# --- arrivals ---


def test_the_shipped_descriptions_of_demand_are_the_fit():
    assert streams.shipped_differences() == []


def test_the_hawkes_process_is_by_default_the_one_fitted_to_production_chat():
    ratio, decay_s = arrivals.fit_hawkes()
    defaults = {name: field.default for name, field in HawkesStream.model_fields.items()}
    assert ratio == pytest.approx(defaults["branching_ratio"], abs=0.001)
    assert decay_s == pytest.approx(defaults["decay_s"], abs=0.01)
    for window_s, recorded in arrivals.recorded_fano_factors().items():
        assert hawkes_fano_factor(ratio, decay_s, window_s) == pytest.approx(recorded, rel=0.12)


def test_ignoring_reuse_overstates_what_recorded_agents_prefill_27_times():
    record = load_sessions("coding-agents")
    assert prefill_overstatement(record, np.flatnonzero(record.conversation == 0)) == pytest.approx(27.0, abs=0.5)


@pytest.mark.parametrize("name", ["mooncake-chat", "servegen-m-large", "servegen-m-small", "azure-coding-2024"])
def test_a_converted_record_names_its_source_and_licence(name):
    kind = {"mooncake": "trace", "servegen": "clients", "azure": "rate"}[name.split("-")[0]]
    about = read_yaml(SHIPPED / kind / f"{name}.yaml")
    assert about.get("license") == "Apache-2.0" or "CC-BY-4.0" in about["sources"][0]
    assert name in (ROOT / "NOTICE").read_text(encoding="utf-8")
