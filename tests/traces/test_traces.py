"""Request tables and the readers of public trace formats."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import load_trace, read_yaml
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable, Trace, arrival_order, read_trace, write_trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GENERIC = "arrival_s,prompt_tokens,output_tokens\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# --- the shipped trace ---


def test_the_azure_chat_trace_has_its_published_statistics():
    trace = load_trace("azure-chat-2023")
    assert len(trace) == 19366
    assert trace.arrival_s[0] == 0.0
    assert trace.mean_rate_rps == pytest.approx(5.53, abs=0.01)
    assert np.median(trace.prompt_tokens) == 1020
    assert np.median(trace.output_tokens) == 129
    assert abs(np.corrcoef(trace.prompt_tokens, trace.output_tokens)[0, 1]) < 0.25
    gaps_s = np.diff(trace.arrival_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(1.1, abs=0.1)


def test_the_azure_chat_trace_names_its_licence_and_attribution():
    about = read_yaml(Path(__file__).parents[2] / "envs/catalog/trace/azure-chat-2023.yaml")
    assert about["license"] == "CC-BY-4.0"
    assert "Splitwise" in about["attribution"]


def test_a_shared_trace_cannot_be_changed_by_one_reader():
    with pytest.raises(ValueError, match="read-only"):
        load_trace("azure-chat-2023").prompt_tokens[0] = 1


# --- formats ---


def test_azure_times_are_exact_to_the_tick_and_start_at_zero(tmp_path: Path):
    rows = "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n2023-11-17 00:00:00,1,1\n"
    trace = read_trace(write(tmp_path / "azure.csv", AZURE + rows))
    assert trace.arrival_s.tolist() == [0.0, 4.314579, 20653.31941]
    assert trace.prompt_tokens.tolist() == [374, 396, 1]
    assert trace.output_tokens.tolist() == [44, 109, 1]
    assert trace.name == "azure"


def test_azure_2024_times_with_an_offset_are_read(tmp_path: Path):
    rows = "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 02:00:01.009930+02:00,2399,6\n"
    assert read_trace(write(tmp_path / "week.csv", AZURE + rows)).arrival_s.tolist() == [0.0, 1.0]


def test_mooncake_is_read_in_milliseconds(tmp_path: Path):
    rows = (
        '{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n\n'
        '{"timestamp": 6500, "input_length": 7322, "output_length": 490, "hash_ids": []}\n'
    )
    trace = read_trace(write(tmp_path / "conversation.jsonl", rows))
    assert trace.arrival_s.tolist() == [0.0, 3.5]
    assert trace.prompt_tokens.tolist() == [6758, 7322]
    assert trace.output_tokens.tolist() == [500, 490]


def test_generic_columns_may_stand_in_any_order_with_others_between(tmp_path: Path):
    text = "output_tokens,user,arrival_s,prompt_tokens\n5,me,10.5,7\n6,you,11,8\n"
    trace = read_trace(write(tmp_path / "mine.csv", text))
    assert trace.arrival_s.tolist() == [0.0, 0.5]
    assert trace.output_tokens.tolist() == [5, 6]


def test_a_file_may_be_gzipped(tmp_path: Path):
    path = tmp_path / "mine.csv.gz"
    path.write_bytes(gzip.compress((GENERIC + "0,1,2\n").encode()))
    trace = read_trace(path)
    assert trace.name == "mine"
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([1], [2])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path):
    path = tmp_path / "excel.csv"
    path.write_bytes(("\ufeff" + GENERIC + "0,1,2\n1,3,4\n").replace("\n", "\r\n").encode())
    assert read_trace(path).prompt_tokens.tolist() == [1, 3]


requests = st.lists(
    st.tuples(st.floats(0, 1e6), st.integers(1, 200_000), st.integers(1, 200_000)), min_size=1, max_size=30
)


@given(requests)
def test_the_compact_form_keeps_every_bit(tmp_path_factory: pytest.TempPathFactory, rows):
    times, prompts, outputs = zip(*sorted(rows), strict=True)
    arrivals = np.array(times) - times[0]
    trace = Trace("kept", arrivals, np.array(prompts, dtype=np.int32), np.array(outputs, dtype=np.int32))
    path = tmp_path_factory.mktemp("npz") / "kept.npz"
    write_trace(trace, path)
    again = read_trace(path)
    assert again.name == "kept"
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        np.testing.assert_array_equal(getattr(again, column), getattr(trace, column))


# --- mistakes ---


@pytest.mark.parametrize(("text", "message"), [
    ("", r"bad\.csv:1: the trace is empty: it has no header"),
    (GENERIC, r"bad\.csv:1: the trace is empty: it has no request"),
    ("time,in,out\n0,1,2\n", r"bad\.csv:1: unknown columns 'time,in,out'; expected TIMESTAMP,.* or arrival_s,"),
    ("arrival_s,prompt_token,output_tokens\n", r"bad\.csv:1: column 'prompt_tokens' is missing; did you mean"),
    (GENERIC + "0,1,2\n1,x,2\n", r"bad\.csv:3: prompt_tokens: not a number \(got 'x'\)"),
    (GENERIC + "0,1,2\n1,,2\n", r"bad\.csv:3: prompt_tokens: not a number \(got ''\); mend or remove the row$"),
    (GENERIC + "0,0,2\n", r"bad\.csv:2: prompt_tokens: must be .* tokens, 1 to 100,000,000 \(got '0'\)"),
    (GENERIC + "0,1,-2\n", r"bad\.csv:2: output_tokens: must be .* tokens, 1 to 100,000,000 \(got '-2'\)"),
    (GENERIC + "0,1,2.5\n", r"bad\.csv:2: output_tokens: must be a whole number .*'2.5'"),
    (GENERIC + "0,1,1e12\n", r"bad\.csv:2: output_tokens: must be a whole number .*'1e12'"),
    (GENERIC + "0,nan,1\n", r"bad\.csv:2: prompt_tokens: must be a whole number .*'nan'"),
    (GENERIC + "nan,1,1\n", r"bad\.csv:2: arrival_s: must be finite \(got 'nan'\)"),
    (GENERIC + "inf,1,1\n", r"bad\.csv:2: arrival_s: must be finite \(got 'inf'\)"),
    (GENERIC + "soon,1,1\n", r"bad\.csv:2: arrival_s: not a time \(got 'soon'\)"),
    (GENERIC + "0,1,1\n5,1,1\n3,1,1\n", r"bad\.csv:4: times must not decrease \(this row is 2 s before the last\)"),
    (GENERIC + "0,1\n", r"bad\.csv:2: 2 values for 3 columns"),
    (AZURE + "16 November,1,1\n", r"bad\.csv:2: TIMESTAMP: not a time \(got '16 November'\); .* is not date, "),
])  # fmt: skip
def test_a_bad_csv_names_the_file_the_line_and_the_value(text, message, tmp_path: Path):
    with pytest.raises(SpecError, match=message):
        read_trace(write(tmp_path / "bad.csv", text))


@pytest.mark.parametrize(("text", "message"), [
    ('{"timestamp": 0,\n', r"bad\.jsonl:1: not valid JSON"),
    ("[1, 2]\n", r"bad\.jsonl:1: must be an object \(got list\)"),
    ('{"timestamp": 0, "input_length": 1}\n', r"bad\.jsonl:1: key 'output_length' is missing"),
    ('{"timestamp": 0, "input_length": 1, "output_length": true}\n', r"bad\.jsonl:1: output_length: must be a whole"),
    ('{"timestamp": null, "input_length": 1, "output_length": 1}\n', r"bad\.jsonl:1: timestamp: not a time .*None"),
    ("", r"bad\.jsonl:1: the trace is empty"),
])  # fmt: skip
def test_a_bad_jsonl_names_the_file_the_line_and_the_value(text, message, tmp_path: Path):
    with pytest.raises(SpecError, match=message):
        read_trace(write(tmp_path / "bad.jsonl", text))


def test_files_that_are_no_traces_are_refused(tmp_path: Path):
    with pytest.raises(SpecError, match=r"none\.csv: no such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(SpecError, match="not a trace file: its name must end in one of"):
        read_trace(write(tmp_path / "trace.txt", "x"))
    with pytest.raises(SpecError, match="not an archive of numbers"):
        read_trace(write(tmp_path / "bad.npz", "x"))
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(write(tmp_path / "bad.csv.gz", "not gzip"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress((GENERIC + "0,1,2\n").encode())[:-9])
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(tmp_path / "cut.csv.gz")
    (tmp_path / "latin.csv").write_bytes(b"\xe9")
    with pytest.raises(SpecError, match="not UTF-8"):
        read_trace(tmp_path / "latin.csv")


def test_an_archive_without_a_column_or_with_bad_values_is_refused(tmp_path: Path):
    np.savez(tmp_path / "short.npz", arrival_s=np.zeros(1), prompt_tokens=np.ones(1, dtype=np.int32))
    with pytest.raises(SpecError, match="column 'output_tokens' is missing"):
        read_trace(tmp_path / "short.npz")
    ones = np.ones(2, dtype=np.int32)
    np.savez(tmp_path / "late.npz", arrival_s=np.array([1.0, 0.0]), prompt_tokens=ones, output_tokens=ones)
    with pytest.raises(SpecError, match=r"late\.npz: requests.arrival_s: must not decrease"):
        read_trace(tmp_path / "late.npz")


# --- tables ---


def test_a_table_knows_its_length_and_may_be_empty():
    assert len(RequestTable.of([0.0, 1.0], [1, 2], [3, 4], class_id=7)) == 2
    assert len(RequestTable.empty()) == 0
    assert RequestTable.of([0.0], [1], [1], class_id=7).class_id.tolist() == [7]


@pytest.mark.parametrize(("change", "message"), [
    ({"arrival_s": np.array([1.0, 0.5])}, r"arrival_s: must not decrease \(row 1 has 0.5\)"),
    ({"arrival_s": np.array([-1.0, 0.5])}, "arrival_s: must be finite and not negative"),
    ({"arrival_s": np.array([0.0, np.inf])}, "arrival_s: must be finite and not negative"),
    ({"arrival_s": np.array([0, 1])}, "arrival_s: must be a 1-D float64 array"),
    ({"arrival_s": [0.0, 1.0]}, "arrival_s: must be a 1-D float64 array"),
    ({"prompt_tokens": np.ones(3, dtype=np.int32)}, "prompt_tokens: must be as long as arrival_s, 2"),
    ({"prompt_tokens": np.ones((2, 1), dtype=np.int32)}, "prompt_tokens: must be a 1-D int32 array"),
    ({"output_tokens": np.array([1, 0], dtype=np.int32)}, r"output_tokens: must be 1 to 100,000,000 \(got 0\)"),
    ({"class_id": np.array([0, -1], dtype=np.int32)}, r"class_id: must be 0 or more \(got -1\)"),
])  # fmt: skip
def test_a_table_that_an_engine_could_misread_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        dataclasses.replace(RequestTable.of([0.0, 1.0], [1, 1], [1, 1]), **change)


@pytest.mark.parametrize(("arrival_s", "columns", "message"), [
    ([0.0, np.inf], {}, "arrival_s: must be finite"),
    ([0.0, 1.0], {"predecessors": [0, 1], "edges": [(0, 1)]}, "arrival_s: a call with predecessors must have inf"),
    ([0.0, np.inf], {"predecessors": [0, 2], "edges": [(0, 1)]}, r"predecessors: .*\(row 1 waits for 1, .* says 2\)"),
    ([0.0, np.inf], {"predecessors": [0, 1], "edges": [(0, 5)]}, "successor: must be rows of the table, 0 to 1"),
])  # fmt: skip
def test_waiting_that_does_not_add_up_is_refused(arrival_s, columns, message):
    with pytest.raises(SpecError, match=message):
        RequestTable.of(arrival_s, [1, 1], [1, 1], **columns)


@given(st.lists(st.one_of(st.floats(0, 1e6), st.integers(0, 20).map(float), st.just(np.inf)), max_size=50))
def test_requests_are_ordered_as_a_stable_sort_orders_them(arrivals_s):
    column = np.array(arrivals_s, dtype=np.float64)
    np.testing.assert_array_equal(arrival_order(column), np.argsort(column, kind="stable"))
