"""Rows that lack a time or a prompt: how many there are, where the first ones stand, and how to leave them out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.command_line import check_refusal, tree
from tests.demand.recordings import Do, served, write

HEADER = "arrival_s,prompt_tokens,output_tokens\n"
LOG = HEADER + "0,100,10\n,7,7\n1,,5\n1.5,200,20\n"
KEPT = [(0.0, 100, 10), (1.5, 200, 20)]


def test_rows_that_lack_something_are_counted_and_the_first_ones_named(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", LOG + "2,NaN,5\nnull,7,7\n")
    before = tree(tmp_path)
    first = r"line 3 \(arrival_s\), line 4 \(prompt_tokens\), line 6 \(prompt_tokens\), \.\.\."
    wanted = (
        rf"^log\.csv: 4 rows without a time or a prompt: {first}; mend them, or leave them out with --missing drop$"
    )
    check_refusal(do("import auto log.csv --out t.csv"), [wanted])
    assert tree(tmp_path) == before


def test_rows_that_lack_something_are_left_out_if_asked(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", LOG)
    done = do("import auto log.csv --out t.csv --missing drop")
    assert done.code == 0, done.errors
    assert "note: left out: 2 rows without a time or a prompt" in done.out
    assert served(tmp_path / "t.csv") == KEPT


def test_the_unit_of_times_is_read_from_the_first_row_that_has_one(do: Do, tmp_path: Path) -> None:
    write(
        tmp_path / "log.csv", HEADER.replace("arrival_s", "at") + ",7,7\n1715299200500,100,10\n1715299202000,200,20\n"
    )
    columns = "--column arrival=at --column prompt=prompt_tokens --column output=output_tokens"
    assert do(f"import auto log.csv --out t.csv --missing drop {columns}").code == 0
    assert served(tmp_path / "t.csv") == KEPT


def test_an_object_without_a_key_lacks_what_the_key_says(do: Do, tmp_path: Path) -> None:
    rows = [{"timestamp": 0, "input_length": 100, "output_length": 10}, {"timestamp": 500, "output_length": 10},
            {"timestamp": 1500, "input_length": 200, "output_length": 20}]  # fmt: skip
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    wanted = r"^log\.jsonl\.gz: 1 row without a time or a prompt: line 2 \(input_length\); "
    check_refusal(do("import auto log.jsonl.gz --out t.csv"), [wanted])
    assert do("import auto log.jsonl.gz --out t.csv --missing drop").code == 0
    assert served(tmp_path / "t.csv") == KEPT


def test_both_kinds_of_rows_are_told_at_once(do: Do, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", LOG + "3,5,0\n4,5,\n")
    wanted = [r"^log\.csv: 2 rows without", r"^log\.csv: 2 answers of no token, .*: line 6 .*, line 7 "]
    check_refusal(do("import auto log.csv --out t.csv"), wanted)
    assert do("import auto log.csv --out t.csv --missing drop --zero-outputs drop").code == 0
    assert served(tmp_path / "t.csv") == KEPT


@pytest.mark.parametrize(("rows", "options", "message"), [
    (",7,7\n", "--missing drop", r"^log\.csv:1: no request is left: every row lacks a time or a prompt$"),
    ("0,7,0\n", "--zero-outputs drop", r"^log\.csv: no request is left: every answer has no token$"),
    ("0,7,7\n", "--missing one", r"^--missing: unknown 'one' .choose from drop, refuse"),
    ("0,7,7\nsoon,7,7\n", "--missing drop", r"^log\.csv:3: arrival_s: not a time \(got 'soon'\)"),
])  # fmt: skip
def test_what_cannot_be_left_out_is_refused(do: Do, tmp_path: Path, rows: str, options: str, message: str) -> None:
    write(tmp_path / "log.csv", HEADER + rows)
    check_refusal(do(f"import auto log.csv --out t.csv {options}"), [message])
