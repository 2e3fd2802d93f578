"""A log of requests tells a profile: the engine serves the same requests, and half of the log judges the other half."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.command_line import check_refusal, tree
from tests.fitting.typed import Fit, typed_into
from tokenfleet.envs.fitting.replay import Latencies, Server
from tokenfleet.envs.fitting.request_log import is_request_log, read_request_log
from tokenfleet.envs.layers.llm import expected_errors, load_model, load_profile
from tokenfleet.envs.spec import SpecError

HEADER = "arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s"
POOL = {"gpu": "h100-sxm", "model": "llama-3.1-8b", "token_budget": 8192, "kv_policy": "grow", "kv_watermark": 0.0}
PAIR = "--model llama-3.1-8b --gpu h100-sxm --own-gpu my-h100 --start roofline --out mine"


def served_by_the_catalogue(requests: int = 120, rate_rps: float = 12.0) -> tuple[Server, Latencies]:
    """What the shipped profile of an H100 makes of a chat, and who asked."""
    rng = np.random.default_rng(0)
    arrival_s = np.cumsum(rng.exponential(1.0 / rate_rps, requests))
    arrival_s -= arrival_s[0]
    prompt = np.clip(rng.lognormal(6.5, 1.0, requests), 10, 8000).astype(np.int32)
    output = np.clip(rng.lognormal(5.0, 0.7, requests), 2, 800).astype(np.int32)
    server = Server(POOL, arrival_s, prompt, output)
    return server, server.serve()


def lines(server: Server, served: Latencies) -> list[str]:
    columns = (served.arrival_s, server.prompt_tokens, server.output_tokens, served.ttft_s, served.e2e_s)
    return [f"{a:.6f},{p},{o},{t:.6f},{e:.6f}" for a, p, o, t, e in zip(*columns, strict=True)]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fit:
    monkeypatch.chdir(tmp_path)
    text = "\n".join([HEADER, *lines(*served_by_the_catalogue())]) + "\n"
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    return typed_into(capsys)


def test_a_log_of_known_boards_brings_a_roofline_to_those_boards(fit: Fit, tmp_path: Path) -> None:
    """The log is what the shipped profile makes of it: the half that was not fitted is met within 3 %."""
    done = fit(f"log.csv.gz {PAIR}")
    assert done.code == 0, done.errors
    entry = yaml.safe_load((tmp_path / "mine/profile/llama-3.1-8b_my-h100_tp1.yaml").read_text())
    assert entry["fit_errors"]["tpot_left_out"] < 0.03
    assert entry["fit_errors"]["e2e_left_out"] < 0.03
    assert "fitted to 120 requests of log.csv.gz" in entry["sources"][0]
    profile = load_profile("llama-3.1-8b", "my-h100", 1, [tmp_path / "mine"])
    assert profile.origin == "measured"
    errors = expected_errors(profile, load_model("llama-3.1-8b"))
    assert errors["decode_step"] == entry["fit_errors"]["tpot_left_out"]
    assert f"{100 * errors['decode_step']:.1f}%" in done.out


def test_a_log_in_seconds_or_milliseconds_or_written_by_vllm_gives_the_same_runs(tmp_path: Path) -> None:
    server, served = served_by_the_catalogue(40)
    rows = [HEADER.replace("ttft_s", "ttft_ms").replace("e2e_s", "latency_ms")]
    for line in lines(server, served):
        *others, ttft_s, e2e_s = line.split(",")
        rows.append(",".join([*others, f"{1e3 * float(ttft_s):.6f}", f"{1e3 * float(e2e_s):.6f}"]))
    (tmp_path / "ms.csv").write_text("\n".join(rows))
    gaps = [[step] * (n - 1) for step, n in zip(served.tpot_s.tolist(), server.output_tokens.tolist(), strict=True)]
    result = {
        "start_times": (served.arrival_s + 1e6).tolist(),
        "input_lens": server.prompt_tokens.tolist(),
        "output_lens": server.output_tokens.tolist(),
        "ttfts": served.ttft_s.tolist(),
        "itls": gaps,
    }
    (tmp_path / "bench.json").write_text(json.dumps(result))
    for name in ("ms.csv", "bench.json"):
        log = read_request_log(tmp_path / name)
        np.testing.assert_allclose(log.e2e_s, served.e2e_s, atol=2e-6)
        np.testing.assert_allclose(log.arrival_s, served.arrival_s, atol=2e-6)
    assert is_request_log(tmp_path / "ms.csv")


def test_requests_without_an_answer_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [HEADER, *(f"{30 - k},100,10,0.1,0.5" for k in range(30)), "31,100,0,0,0"]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    log = read_request_log(tmp_path / "log.csv")
    assert len(log) == 30
    assert (np.diff(log.arrival_s) > 0).all()
    assert log.notes == (f"{tmp_path / 'log.csv'}: left out: 1 request without an answer",)


def as_published(rows: int = 24) -> list[dict[str, Any]]:
    """Requests one second apart, to each of which the first token comes after 0.1 s and the last after 0.5 s."""
    return [{"arrival_s": float(k), "prompt_tokens": 100 + k, "output_tokens": 5} for k in range(rows)]


MOMENTS = [{**row, "first_token_s": row["arrival_s"] + 0.1, "last_token_s": row["arrival_s"] + 0.5}
           for row in as_published()]  # fmt: skip
DATED = [
    {
        "timestamp": f"2026-03-01T10:00:{k:02d}Z",
        "num_prompt_tokens": 100 + k,
        "num_output_tokens": 5,
        "TTFT [ms]": 100.0,
        "Latency (s)": 0.5,
    }
    for k in range(24)
]
PACED = [{**row, "ttft_s": 0.1, "tpot_ms": 100.0} for row in as_published()]


def as_csv(rows: list[dict[str, Any]]) -> str:
    return "\n".join(",".join(map(str, line)) for line in [rows[0], *(row.values() for row in rows)]) + "\n"


@pytest.mark.parametrize(("name", "text"), [
    ("log.csv", as_csv(MOMENTS)),
    ("log.csv", as_csv(DATED)),
    ("log.csv", as_csv(PACED)),
    ("log.csv", "\ufeff\r\n\r\n" + as_csv(MOMENTS).replace("\n", "\r\n") + "\r\n"),
    ("log.jsonl", "\n\n".join(json.dumps(dict(reversed(row.items()))) for row in MOMENTS)),
    ("log.jsonl.gz", "\n".join(map(json.dumps, PACED))),
], ids=["moments", "dates and brackets", "time per token", "from Windows", "objects", "gzipped objects"])  # fmt: skip
def test_a_log_may_be_written_in_many_ways(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    log = read_request_log(path)
    assert is_request_log(path)
    np.testing.assert_allclose(log.arrival_s, np.arange(24.0), atol=1e-6)
    np.testing.assert_allclose(log.ttft_s, 0.1, atol=1e-6)
    np.testing.assert_allclose(log.e2e_s, 0.5, atol=1e-6)
    assert log.prompt_tokens.tolist() == [100 + k for k in range(24)]


def test_a_request_without_times_has_no_answer(tmp_path: Path) -> None:
    rows = [HEADER, *(f"{k},100,10,0.1,0.5" for k in range(30)), "31,100,10,,", "32,100,,0.1,0.5", "33,100,10,nan,NaN"]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    assert len(read_request_log(tmp_path / "log.csv")) == 30


def test_a_dated_table_of_runs_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("timestamp,max_concurrency,ttft_ms\n2026-03-01,8,30\n")
    assert not is_request_log(tmp_path / "runs.csv")


@pytest.mark.parametrize(("text", "message"), [
    (HEADER.replace("ttft_s", "ttft") + "\n0,1,1,1,2\n", r":1: column 'ttft' has no unit; call it ttft_s or ttft_ms"),
    (HEADER.replace("arrival_s", "arrival") + "\n0,1,1,1,2\n", r":2: arrival: must be a date, or call it arrival_s"),
    (HEADER.replace(",", ";") + "\n0;1;1;1;2\n", r":1: semicolons part its columns; write commas there"),
    ("arrival_s,prompt_tokens,output_tokens,e2e_s\n0,1,1,1\n", r":1: nothing says the ttft; call its column ttft_s"),
    (f"{HEADER}\n" + "0,1,1,1,2\n" * 5, r": at least 20 requests with an answer are needed \(got 5\)"),
    (f"{HEADER}\n0,1,1,2,1\n", r":2: the first token must come after the request, not after the last"),
    (f"{HEADER}\n0,1,x,2,1\n", r":2: output_tokens: must be a number \(got 'x'\)"),
    (f"{HEADER}\n0,1.5,1,2,1\n", r":2: the prompt must be a whole number of tokens"),
    (f"{HEADER}\n0,1,1\n", r":2: 3 values for 5 columns"),
])  # fmt: skip
def test_a_bad_log_names_the_line_and_the_value(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(SpecError, match=message):
        read_request_log(tmp_path / "log.csv")


def test_mistakes_leave_nothing_behind(fit: Fit, tmp_path: Path) -> None:
    before = tree(tmp_path)
    check_refusal(fit(f"log.csv.gz log.csv.gz {PAIR}"), [r"runs: one log of requests at a time \(got 2 files\)"])
    check_refusal(
        fit(f"log.csv.gz {PAIR} --power-log x.csv"), [r"--power-log: a log of requests says nothing of watts"]
    )
    check_refusal(fit(f"log.csv.gz {PAIR} --kv-tokens 100000000"), [r"kv_tokens: 100000000 tokens do not fit"])
    assert tree(tmp_path) == before
