"""Benchmark results become runs: CSV tables under plain names, and what `vllm bench serve` writes."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tokenfleet.envs.fitting import Run, read_runs
from tokenfleet.envs.spec import SpecError

VLLM: dict[str, Any] = {
    "date": "20260301-120100",
    "backend": "vllm",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct",
    "num_prompts": 320,
    "request_rate": "inf",
    "max_concurrency": 32,
    "duration": 60.0,
    "completed": 320,
    "failed": 0,
    "total_input_tokens": 320 * 512,
    "total_output_tokens": 320 * 200,
    "output_throughput": 1066.7,
    "mean_ttft_ms": 80.0,
    "median_ttft_ms": 60.0,
    "p99_ttft_ms": 300.0,
    "mean_tpot_ms": 29.0,
    "median_tpot_ms": 28.0,
    "mean_itl_ms": 29.5,
    "median_itl_ms": 25.0,
}
"""The keys of vLLM 0.11's `vllm bench serve --save-result`, less those that nobody reads here."""


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    return path


def result(tmp_path: Path, name: str = "result.json", **changes: object) -> Path:
    path = tmp_path / name
    path.write_text(json.dumps({**VLLM, **changes}))
    return path


def read_one(path: Path) -> Run:
    (run,), _ = read_runs([path])
    return run


def test_names_may_have_spaces_and_units_in_words(tmp_path: Path) -> None:
    header = "avg_batch_size,Prompt tokens,avg_output_len,Median ITL (ms),avg_power_watts"
    run = read_one(table(tmp_path, f"{header}\n8,500,100,7.5,480\n"))
    assert (run.batch, run.prompt_tokens, run.median_step_s, run.power_w) == (8.0, 500.0, 0.0075, 480.0)


def test_a_row_of_a_table_is_a_run_in_si_units(tmp_path: Path) -> None:
    header = "run,batch,prompt_tokens,output_tokens,median_itl_ms,mean_tpot_ms,ttft_ms,power_w"
    run = read_one(table(tmp_path, f"{header}\nsmall,8,500,100,7.5,8,25,480\n"))
    assert (run.name, run.batch, run.prompt_tokens, run.output_tokens) == ("small", 8.0, 500.0, 100.0)
    assert (run.median_step_s, run.mean_step_s, run.ttft_s, run.power_w) == (0.0075, 0.008, 0.025, 480.0)
    assert run.context_tokens == 550.0  # half of the answer on average
    assert run.place.endswith("runs.csv:2")


@pytest.mark.parametrize(("column", "value"), [
    ("median_itl_ms", 7.5), ("median_itl_s", 0.0075), ("median_itl [ms]", 7.5), ("Median_ITL (us)", 7500),
])  # fmt: skip
def test_a_unit_may_be_written_in_several_ways(column: str, value: float, tmp_path: Path) -> None:
    run = read_one(table(tmp_path, f"batch,prompt_tokens,output_tokens,{column}\n8,500,100,{value}\n"))
    assert run.median_step_s == pytest.approx(0.0075)


def test_throughput_gives_the_mean_step(tmp_path: Path) -> None:
    run = read_one(table(tmp_path, "batch,prompt_tokens,output_tokens,output_tokens_per_s\n32,500,100,2000\n"))
    assert run.mean_step_s == pytest.approx(32 / 2000)


def test_of_throughput_the_time_to_the_first_token_is_taken_off(tmp_path: Path) -> None:
    """Two requests at a time, 100 tokens each at 100 tokens/s: 2 s each, 0.02 s to the first, 99 intervals."""
    header = "batch,prompt_tokens,output_tokens,output_tokens_per_s,ttft_ms"
    run = read_one(table(tmp_path, f"{header}\n2,500,100,100,20\n"))
    assert run.mean_step_s == pytest.approx(1.98 / 99)


def test_an_empty_cell_says_nothing(tmp_path: Path) -> None:
    header = "batch,prompt_tokens,output_tokens,median_itl_ms,ttft_ms"
    run = read_one(table(tmp_path, f"{header}\n8,500,100,7.5,\n"))
    assert run.ttft_s is None


def test_a_result_of_vllm_is_a_run(tmp_path: Path) -> None:
    run = read_one(result(tmp_path))
    assert (run.batch, run.prompt_tokens, run.output_tokens) == (32.0, 512.0, 200.0)
    assert (run.median_step_s, run.mean_step_s, run.ttft_s) == (0.025, 0.029, 0.060)


def test_a_result_of_vllm_dates_the_end_of_its_run_and_says_how_long_the_run_took(tmp_path: Path) -> None:
    """Dated 12:01:00, after 60 s; a date without a zone is in UTC."""
    run = read_one(result(tmp_path))
    noon = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc).timestamp()
    assert (run.start_s, run.end_s) == (noon, noon + 60.0)


def test_of_requests_that_wait_in_the_server_only_those_that_decode_count(tmp_path: Path) -> None:
    """A server that runs 16 of 32 at a time: 552 tokens/s at 29 ms each (Little's law)."""
    (run,), notes = read_runs([result(tmp_path, output_throughput=552.0)])
    assert run.batch == pytest.approx(16.0, abs=0.1)
    assert notes == ["result.json: 32 requests in flight, but tokens/s x TPOT = 16.0 of them decode"]


def test_without_a_limit_of_concurrency_littles_law_gives_the_batch(tmp_path: Path) -> None:
    run = read_one(result(tmp_path, max_concurrency=None))
    assert run.batch == pytest.approx(1066.7 * 0.029)


def test_listed_lengths_give_the_context(tmp_path: Path) -> None:
    """A token of the long answer is counted ten times as often as one of the short: (100 x 60 + 10 x 15) / 110."""
    run = read_one(result(tmp_path, input_lens=[10, 10], output_lens=[100, 10]))
    assert run.context_tokens == pytest.approx((100 * 60 + 10 * 15) / 110)


def test_answers_of_one_token_tell_ttft_alone(tmp_path: Path) -> None:
    run = read_one(result(tmp_path, total_output_tokens=320, median_itl_ms=0.0, mean_tpot_ms=0.0, mean_itl_ms=0.0))
    assert (run.median_step_s, run.mean_step_s, run.ttft_s) == (None, None, 0.060)


def test_a_folder_of_results_is_read_by_name_without_the_dashboards_copies(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "a.pytorch.json", "notes.txt"):
        result(tmp_path, name)
    runs, _ = read_runs([tmp_path])
    assert [run.name for run in runs] == ["a.json", "b.json"]


def test_results_appended_to_one_file_are_all_read(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps({**VLLM, "max_concurrency": many}) + "\n" for many in (28, 32)))
    runs, _ = read_runs([path])
    assert [run.batch for run in runs] == [28.0, 32.0]


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    _, notes = read_runs([table(tmp_path, "batch,prompt_tokens,output_tokens,ttft_ms,weather\n1,500,100,30,fair\n")])
    assert len(notes) == 1
    assert notes[0].endswith("runs.csv: columns that are not used: weather")


HEADER = "batch,prompt_tokens,output_tokens,median_itl_ms"
BAD_TABLES = {
    "": r"runs\.csv:1: the table is empty: it has no header",
    HEADER: r"runs\.csv: holds no run",
    "a,b,c\n1,2,3": r"runs\.csv:1: nothing says the batch; give 'batch', or 'max_concurrency', or ",
    "clock_mhz,power_limit_w,time_s\n1,2,3": r"runs\.csv:1: a sweep of clocks or power limits is fitted by `clocks`",
    "batch,prompt_tokens,output_tokens\n8,500,100": r"runs\.csv:1: nothing says the speed; give 'median_itl_ms', or",
    "batch,prompt_tokens,output_tokens,median_itl\n8,500,100,7": (
        r"runs\.csv:1: column 'median_itl' has no unit; call it median_itl_s or median_itl_ms or median_itl_us$"
    ),
    f"{HEADER},power\n8,500,100,7,480": r"column 'power' has no unit; call it power_w or power_kw",
    "batch,promt_tokens,output_tokens,median_itl_ms\n8,500,100,7": (
        r"runs\.csv:1: unknown column 'promt_tokens'; did you mean 'prompt_tokens'\?"
    ),
    f"{HEADER}\n8,500,100,-7": r"runs\.csv:2: median_itl_ms: must be a number above 0 \(got '-7'\)",
    f"{HEADER}\n8,500,100,7\n8,nan,100,7": r"runs\.csv:3: prompt_tokens: must be a number above 0 \(got 'nan'\)",
    f"{HEADER}\n8,500,inf,7": r"runs\.csv:2: output_tokens: must be a number above 0 \(got 'inf'\)",
    f"{HEADER}\n8,500,100,fast": r"runs\.csv:2: median_itl_ms: must be a number above 0 \(got 'fast'\)",
    f"{HEADER}\n0,500,100,7": r"runs\.csv:2: batch: must be a number above 0 \(got '0'\)",
    f"{HEADER}\n8,,100,7": r"runs\.csv:2: nothing says the prompt; give 'prompt_tokens', or 'total_input_tokens' and",
    f"{HEADER}\n8,500,100": r"runs\.csv:2: 3 values for 4 columns",
    f"{HEADER},batch\n8,500,100,7,8": r"runs\.csv:1: column 'batch' is given twice",
    f"{HEADER},start\n8,500,100,7,noon": r"runs\.csv:2: start: not a time \(got 'noon'\); write 2026-03-01 12:00:00",
    f"{HEADER},start,end\n8,500,100,7,2026-03-01 12:00:00,2026-03-01 11:00:00": (
        r"runs\.csv:2: end: must be after start \(got '2026-03-01 11:00:00'\)"
    ),
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_answered_with_its_line_and_column(text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=BAD_TABLES[text]):
        read_runs([table(tmp_path, text + "\n" if text else "")])


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_runs([table(tmp_path, f"{HEADER}\n8,500,100,-7\n8,500,100,7\n8,-1,100,7\n")])
    assert [problem.split(".csv:")[1][:2] for problem in caught.value.problems] == ["2:", "4:"]


@pytest.mark.parametrize(("content", "message"), [
    ("[1, 2]", r"result\.json: must be an object, a result of vllm bench serve \(got a list\)"),
    ("{", r"result\.json:1: not valid JSON: "),
    ("{}", r"result\.json: nothing says the batch; give 'batch', or 'max_concurrency', or "),
    (json.dumps({**VLLM, "completed": 0}), r"result\.json: completed: must be a number above 0 \(got 0\)"),
    (json.dumps({**VLLM, "median_itl_ms": "NaN"}), r"result\.json: median_itl_ms: must be a number above 0"),
])  # fmt: skip
def test_a_result_that_cannot_be_used_is_answered(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=message):
        read_runs([path])


def test_files_that_are_not_there_or_hold_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.csv: no such file"):
        read_runs([tmp_path / "none.csv"])
    with pytest.raises(SpecError, match=r"no \.json file in this folder"):
        read_runs([tmp_path])
    (tmp_path / "latin.csv").write_bytes(b"batch\xe9\n")
    with pytest.raises(SpecError, match=r"latin\.csv: not UTF-8 text"):
        read_runs([tmp_path / "latin.csv"])
