"""The command as its user meets it: what it reads, prints and writes, and what a mistake is answered with."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.command_line import check_refusal, tree
from tests.demand.recordings import Do, demand, drawn, served, write
from tokenfleet.envs import FleetEnv
from tokenfleet.envs.demand.__main__ import COMMAND, FIT_EXAMPLES, IMPORT_EXAMPLES
from tokenfleet.envs.demand.importers import IMPORTERS
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.traces import FORMATS, Trace, read_clients, read_sessions, read_trace, write_trace

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.5+00:00,100,10\n2024-05-10 00:00:02+00:00,200,20\n"
)
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,100,10,110,API log\n"
BURST_LOST = BURST + "7,GPT-4,50,0,50,API log\n9.5,GPT-4,200,20,220,API log\n"
MOONCAKE = (
    '{"timestamp": 0, "input_length": 600, "output_length": 10, "hash_ids": [0, 1]}\n'
    '{"timestamp": 2000, "input_length": 1100, "output_length": 20, "hash_ids": [0, 1, 2]}\n'
)
BENCH = {"input_lens": [100, 200], "output_lens": [10, 20], "start_times": [1e6 + 0.5, 1e6 + 2.0], "ttfts": [1, 1]}
RATES = "model,client,window_start_s,rate_rps,iat_family,param1\na,7,0,2.0,Gamma,0.5\na,7,600,4.0,Weibull,0.7\n"
TOKENS = "model,client,field,p10,p50,p90,p99\na,7,input_tokens,10,100,500,900\na,7,output_tokens,5,20,50,90\n"


# --- import ---


@pytest.mark.parametrize(("record", "file", "text"), [
    ("azure-2024", "week.csv", AZURE),
    ("azure-2023", "hour.csv.gz", AZURE),
    ("burstgpt", "burst.csv", BURST + "6.5,GPT-4,200,20,220,API log\n"),
    ("mooncake", "chat.jsonl", MOONCAKE.replace("2000", "1500").replace("600", "100").replace("1100", "200")),
    ("vllm-bench", "bench.json", json.dumps(BENCH)),
    ("tokenfleet", "mine.csv", "arrival_s,prompt_tokens,output_tokens\n3,100,10\n4.5,200,20\n"),
    ("auto", "hour.csv", AZURE),
])  # fmt: skip
@pytest.mark.parametrize("out", ["trace.csv", "trace.csv.gz", "trace.npz"])
def test_every_record_becomes_a_trace(do: Do, tmp_path: Path, record: str, file: str, text: str, out: str) -> None:
    data = text.encode()
    (tmp_path / file).write_bytes(gzip.compress(data) if file.endswith(".gz") else data)
    done = do(f"import {record} {file} --out {out}")
    assert done.code == 0, done.errors
    assert served(tmp_path / out) == [(0.0, 100, 10), (1.5, 200, 20)]
    assert f"wrote {out}" in done.out


def test_conversations_and_clients_are_written_as_the_streams_read_them(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "chat.jsonl", MOONCAKE)
    write(tmp_path / "client_rates.csv", RATES)
    write(tmp_path / "client_token_stats.csv", TOKENS)
    assert do("import mooncake-conversations chat.jsonl --out chat.npz").code == 0
    sessions = read_sessions(tmp_path / "chat.npz")
    assert (len(sessions), sessions.reusable_tokens.tolist()) == (1, [0, 1024])
    assert do("import servegen . --out clients.npz").code == 0
    clients = read_clients(tmp_path / "clients.npz")
    assert clients.rate_rps.tolist() == [[2.0, 4.0]]
    assert clients.weibull.tolist() == [[False, True]]
    np.testing.assert_allclose(clients.prompt_tokens[0, 1:], [10, 100, 500, 900])


@pytest.mark.parametrize(("cells", "options"), [
    (("1715299200.5", "1715299202"), ""),
    (("1715299200500", "1715299202000"), ""),
    (("1715299200500000000", "1715299202000000000"), ""),
    (("2024-05-10T00:00:00.5Z", "2024-05-10T02:00:02+02:00"), ""),
    (("500", "2000"), "--time-unit ms"),
    (("10.5", "12"), ""),
])  # fmt: skip
def test_columns_are_mapped_and_any_clock_is_read(do: Do, tmp_path: Path, cells: tuple[str, str], options: str) -> None:
    write(tmp_path / "log.csv", f"at,who,in,out\n{cells[0]},a,100,10\n{cells[1]},b,200,20\n")
    columns = "--column arrival=at --column prompt=in --column output=out"
    done = do(f"import auto log.csv --out t.csv {columns} {options}")
    assert done.code == 0, done.errors
    (first, second) = served(tmp_path / "t.csv")
    assert (first, second[1:]) == ((0.0, 100, 10), (200, 20))
    assert second[0] == pytest.approx(1.5, abs=1e-6)
    assert ("Friday 2024-05-10 00:00 UTC" in done.out) == (cells[0].startswith(("17", "20")))


@pytest.mark.parametrize("times", [
    ("2023-11-16 18:15:46.5", "2023-11-16 18:15:48"),
    ("2023/11/16 18:15:46.5", "2023/11/16 18:15:48"),
    ("2023-11-16 18:15:46.500000 UTC", "2023-11-16 18:15:48 UTC"),
    ("1700158546500", "1700158548000"),
    ("1700158546.5", "1700158548"),
    ("0.0", "1.5"),
])  # fmt: skip
def test_azures_columns_may_hold_any_clock(do: Do, tmp_path: Path, times: tuple[str, str]) -> None:
    rows = [f"{tokens},{time},{10 * tokens}" for tokens, time in zip((10, 20), times, strict=True)]
    write(tmp_path / "log.csv", "\n".join(["", "GeneratedTokens,TIMESTAMP,ContextTokens", *rows, "", ""]))
    done = do("import azure-2023 log.csv --out t.csv")
    assert done.code == 0, done.errors
    assert served(tmp_path / "t.csv") == [(0.0, 100, 10), (1.5, 200, 20)]


def test_one_column_of_another_name_is_named_alone(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", "when,prompt_tokens,output_tokens\n1700158546500,100,10\n1700158548000,200,20\n")
    check_refusal(do("import auto log.csv --out t.csv"), [r"^log\.csv:1: column 'arrival_s' .* --column arrival=NAME$"])
    assert do("import auto log.csv --out t.csv --column arrival=when").code == 0
    assert served(tmp_path / "t.csv") == [(0.0, 100, 10), (1.5, 200, 20)]


def test_a_request_that_failed_has_an_answer_of_no_token(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", "arrival_s,prompt_tokens,output_tokens\n0,100,10\n1,50,\n2,200,20\n")
    check_refusal(
        do("import auto log.csv --out t.csv"),
        [r"^log\.csv: 1 answer of no token, .*: line 3 \(output_tokens\); .* --zero-outputs drop"],
    )
    assert do("import auto log.csv --out t.csv --zero-outputs drop").code == 0
    assert served(tmp_path / "t.csv") == [(0.0, 100, 10), (2.0, 200, 20)]


def test_keys_inside_of_objects_are_named_with_dots(do: Do, tmp_path: Path) -> None:
    rows = [{"created": 100 + k, "usage": {"prompt_tokens": 5 + k, "completion_tokens": 2}} for k in range(2)]
    write(tmp_path / "log.jsonl", "\n".join(json.dumps(row) for row in rows))
    columns = "--column arrival=created --column prompt=usage.prompt_tokens --column output=usage.completion_tokens"
    assert do(f"import auto log.jsonl --out t.csv {columns}").code == 0
    assert served(tmp_path / "t.csv") == [(0.0, 5, 2), (1.0, 6, 2)]


def test_rows_out_of_order_are_sorted_and_counted(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", "arrival_s,prompt_tokens,output_tokens\n9,3,1\n7,1,1\n8,2,1\n")
    done = do("import auto log.csv --out t.csv")
    assert served(tmp_path / "t.csv") == [(0.0, 1, 1), (1.0, 2, 1), (2.0, 3, 1)]
    assert "note: sorted: 1 request came before the one of the row above" in done.out


def test_answers_of_no_token_are_refused_dropped_or_taken_for_one(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "b.csv", BURST_LOST)
    refused = do("import burstgpt b.csv --out t.csv")
    check_refusal(
        refused, [r"^b\.csv: 1 answer of no token, .*: line 3 \(Response tokens\); .* --zero-outputs drop, .* one$"]
    )
    assert not (tmp_path / "t.csv").exists()
    assert "note: left out: 1 answer of no token" in do("import burstgpt b.csv --out t.csv --zero-outputs drop").out
    assert served(tmp_path / "t.csv") == [(0.0, 100, 10), (4.5, 200, 20)]
    do("import burstgpt b.csv --out one.csv --zero-outputs one")
    assert served(tmp_path / "one.csv") == [(0.0, 100, 10), (2.0, 50, 1), (4.5, 200, 20)]


@pytest.mark.parametrize(("typed", "message"), [
    ("import auto none.csv --out t.csv", r"^none\.csv: no such file$"),
    ("import auto a.csv --out t.parquet", r"^--out: must end in \.csv or \.csv\.gz or \.npz"),
    ("import auto a.parquet --out t.csv", r"^a\.parquet: nothing says how it is written; end its name in one of \.csv"),
    ("import auto odd.csv --out t.csv", r"^odd\.csv:1: unknown columns 'a,b'; expected .*, or name them with --column"),
    ("import auto log.csv --out t.csv", r"^log\.csv:1: .* --column arrival=at_time --column prompt=n_input "),
    ("import auto log.jsonl --out t.csv", r"^log\.jsonl:1: unknown keys 'at,use\.prompt'; .* prompt=use\.prompt "),
    ("import burstgpt dates.csv --out t.csv", r"^dates\.csv:2: Timestamp: not a time .*'31/12/2023'"),
    ("import auto dates.csv --out t.csv --time-unit date", r"^dates\.csv:2: .*; write dates as 2023-11-16 18:15:46"),
    ("import burstgpt a.csv --out t.csv", r"^a\.csv:1: column 'Timestamp' is missing .choose from ContextTokens"),
    ("import auto odd.csv --out t.csv --column arrival=a", r"^--column: name the column of prompt too"),
    ("import auto a.csv --out t.csv --column time=a", r"^--column: unknown role 'time' .choose from arrival, output"),
    ("import auto a.csv --out t.csv --column arrival", r"^--column: must be ROLE=NAME, as in arrival=timestamp"),
    ("import auto a.csv --out t.csv --time-unit h", r"^--time-unit: unknown 'h' .choose from auto, date"),
    ("import auto a.csv --out t.csv --zero-outputs keep", r"^--zero-outputs: unknown 'keep'"),
    ("import auto a.csv --out a.csv", r"^--out: a\.csv is already there; .* overwrite it with --force$"),
    ("import auto a.csv --out t.csv --model x", r"^--model: goes with servegen, not with auto; leave it out;"),
    ("import servegen . --out t.npz", r"^\.: no client_rates\.csv or client_rates\.csv\.gz in it"),
    ("import vllm-bench short.json --out t.csv", r"^short\.json:1: list 'start_times' is missing; .* --save-detailed"),
    ("fit few.csv", r"^few: too few requests to fit, at least 100 \(got \d+\)$"),
    ("fit a.csv --held-out 2", r"^--held-out: must be from 0 to 0\.9 \(got 2\)$"),
    ("fit a.csv --name azure/x", r"^--name: must be letters"),
    ("fit a.csv --start yesterday", r"^--start: must be a date, such as 2024-05-10T09:00 \(got 'yesterday'\)$"),
    ("fit a.csv --held-out 0 --leave-out", r"^--leave-out: nothing is held out"),
])  # fmt: skip
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing(do: Do, tmp_path: Path, typed: str, message: str) -> None:
    write(tmp_path / "a.csv", AZURE)
    write(tmp_path / "a.parquet", AZURE)
    write(tmp_path / "odd.csv", "a,b\n1,2\n")
    write(tmp_path / "log.csv", "at_time,n_input,n_output\n1,2,3\n")
    write(tmp_path / "log.jsonl", '{"at": 1, "use": {"prompt": 2}}\n')
    write(tmp_path / "dates.csv", "Timestamp,Request tokens,Response tokens\n31/12/2023,5,5\n")
    write(tmp_path / "short.json", '{"input_lens": [1], "output_lens": [1]}')
    few = "".join(f"{k},5,5\n" for k in range(60))
    write(tmp_path / "few.csv", "arrival_s,prompt_tokens,output_tokens\n" + few)
    before = tree(tmp_path)
    check_refusal(do(typed), [message])
    assert tree(tmp_path) == before


# --- fit ---


def test_a_fit_is_named_in_a_scenario_and_says_its_error(do: Do, tmp_path: Path) -> None:
    write_trace(drawn(demand(5.0, cascade={"swings": {5.0: 0.5}}), 1800.0), tmp_path / "mine.csv.gz")
    done = do("fit mine.csv.gz --name my-chat --out mine")
    assert done.code == 0, done.errors
    for name in ("rate_rps", "fano_1_s", "fano_60_s", "autocorrelation_10_s", "prompt_50_pct", "length_correlation"):
        assert re.search(rf"^{name} .*[-+]\d+\.\d", done.out, re.MULTILINE), name
    entry = yaml.safe_load((tmp_path / "mine" / "demand" / "my-chat.yaml").read_text())
    assert entry["sources"][1] == f"command: {COMMAND} fit mine.csv.gz --name my-chat --out mine"
    assert set(entry["held_out_errors"]) >= {"rate_rps", "fano_1_s", "output_mean"}
    stream = {"kind": "fitted", "demand": "my-chat", "request_class": "chat-8b", "rate_rps": 2.0}
    scenario = load_scenario("tiny", {"workload.mine": stream}, [tmp_path / "mine"])
    env = FleetEnv(scenario)
    env.reset(seed=0)
    assert len(env.batch.episodes[0].requests) > 20


def test_the_fit_that_left_the_rest_out_is_another(do: Do, tmp_path: Path) -> None:
    write_trace(drawn(demand(5.0), 600.0), tmp_path / "mine.npz")
    trace = read_trace(tmp_path / "mine.npz")
    first = trace.arrival_s < 0.5 * trace.duration_s
    columns = (trace.arrival_s, trace.prompt_tokens, trace.output_tokens)
    write_trace(Trace("begun", *(column[first] for column in columns)), tmp_path / "begun.npz")
    fitted = {}
    for name, typed in {
        "whole": "mine.npz", "part": "mine.npz --leave-out --held-out 0.5", "half": "begun.npz --held-out 0",
    }.items():  # fmt: skip
        assert do(f"fit {typed} --name {name}").code == 0
        fitted[name] = yaml.safe_load((tmp_path / "demand" / f"{name}.yaml").read_text())
    assert "the first 50% of its time" in fitted["part"]["sources"][0]
    rates, lengths = ({name: entry[key] for name, entry in fitted.items()} for key in ("rate_rps", "lengths"))
    assert rates["part"] == pytest.approx(rates["half"], rel=0.005)
    assert rates["part"] != pytest.approx(rates["whole"], rel=0.005)
    assert lengths["part"] == lengths["half"] != lengths["whole"]


def test_a_fit_of_which_nothing_is_held_out_says_that_no_error_is_known(do: Do, tmp_path: Path) -> None:
    write_trace(drawn(demand(5.0), 600.0), tmp_path / "mine.npz")
    assert "no error is known" in do("fit mine.npz --held-out 0").out


def test_an_entry_is_overwritten_only_by_force(do: Do, tmp_path: Path) -> None:
    write_trace(drawn(demand(5.0), 300.0), tmp_path / "mine.npz")
    assert do("fit mine.npz --force").code == 0
    before = tree(tmp_path)
    check_refusal(do("fit mine.npz"), [r"^--out: demand/mine\.yaml is already there; .* --force$"])
    assert tree(tmp_path) == before
    assert do("fit mine.npz --force").code == 0
    assert tree(tmp_path) == before, "one trace, one result"


def test_the_examples_of_the_help_run(do: Do, tmp_path: Path) -> None:
    rows = [f"{k},{50 + k % 7},{1 + k % 9}" for k in range(300)]
    write(tmp_path / "log.csv", "time,in,out\n" + "\n".join(rows))
    write(tmp_path / "mine.csv", "arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows))
    (tmp_path / "week.csv.gz").write_bytes(gzip.compress((tmp_path / "mine.csv").read_bytes()))
    write(tmp_path / "BurstGPT.csv", BURST_LOST)
    typed = [line.strip() for line in (IMPORT_EXAMPLES + "\n" + FIT_EXAMPLES).splitlines() if COMMAND in line]
    assert len(typed) == 5
    for line in typed:
        words = line.removeprefix(COMMAND)
        if "azure-2024" in words:
            (tmp_path / "week.csv.gz").write_bytes(gzip.compress(AZURE.encode()))
        elif "my-week" in words:
            (tmp_path / "week.csv.gz").write_bytes(gzip.compress((tmp_path / "mine.csv").read_bytes()))
        done = do(f"{words} --force")
        assert done.code == 0, (line, done.errors)


def test_the_help_of_import_says_what_every_kind_of_record_is(do: Do) -> None:
    lines = [" ".join(line.split()) for line in do("import --help").out.splitlines()]
    assert set(FORMATS) < set(IMPORTERS)
    assert [name for name, importer in IMPORTERS.items() if f"{name} {importer.doc}" not in lines] == []


def test_the_help_of_fit_names_every_format(do: Do) -> None:
    words = " ".join(do("fit --help").out.split())
    assert all(option in words for option in ("--held-out", "--leave-out", "--start", "--record"))


def test_an_unknown_kind_of_record_is_answered_with_those_that_there_are(do: Do) -> None:
    refused = do("import nonsense a.csv --out b.csv")
    assert refused.code == 2
    assert [name for name in IMPORTERS if name not in refused.errors] == []
