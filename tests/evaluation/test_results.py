"""Files of episode rows: whole or not at all, the same in either format."""

from __future__ import annotations

import math
import stat
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.synthetic import fleet_rows, row, rows_of
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.results import (
    IDENTITY,
    append_rows,
    merge_rows,
    read_rows,
    write_rows,
)

FORMATS = ["parquet", "csv"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_come_back_as_they_were_written(tmp_path: Path, suffix: str) -> None:
    rows = [
        row("least_work", 100, {"net_value_usd": 0.1 + 0.2, "brakes": 3.0}),
        row(
            "ppo-seed1",
            101,
            {"net_value_usd": -1e-300, "brakes": math.inf},
            algorithm="ppo",
            training_seed=1,
            learned=True,
        ),
        row('ppo, the "odd" one', 2**31 - 1, {"net_value_usd": 1.0, "brakes": 0.0}),
    ]
    assert read_rows(write_rows(tmp_path / f"rows.{suffix}", rows)) == rows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_number_comes_back_as_nan(tmp_path: Path, suffix: str) -> None:
    rows = [row("a", 100, {"return": 1.0}), row("b", 100, {"return": 2.0, "landings": 5.0, "brakes": math.nan})]
    read = read_rows(write_rows(tmp_path / f"rows.{suffix}", rows))
    assert math.isnan(read[0].metrics["landings"])
    assert math.isnan(read[1].metrics["brakes"])
    assert read[1].metrics["landings"] == 5.0


def test_both_formats_hold_the_same_numbers_to_the_bit(tmp_path: Path) -> None:
    rows = fleet_rows(10)
    first, second = (read_rows(write_rows(tmp_path / f"rows.{suffix}", rows)) for suffix in FORMATS)
    for one, other in zip(first, second, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(list(one.metrics.values()), list(other.metrics.values()))


def test_columns_stand_in_a_fixed_order(tmp_path: Path) -> None:
    rows = [
        row("a", 100, {"ttft_p99_s/chat": 1.0, "landings": 2.0, "brakes": 0.0, "net_value_usd": 1.0, "return": 3.0})
    ]
    header = write_rows(tmp_path / "rows.csv", rows).read_text().splitlines()[0]
    assert header.split(",") == [*IDENTITY, "return", "net_value_usd", "brakes", "ttft_p99_s/chat", "landings"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_study_is_a_file_without_rows(tmp_path: Path, suffix: str) -> None:
    assert read_rows(write_rows(tmp_path / f"rows.{suffix}", [])) == []


def test_merging_replaces_what_was_run_again_and_keeps_the_rest() -> None:
    before = rows_of("a", [1.0, 2.0])
    again = rows_of("a", [5.0])
    merged = merge_rows(before, again, rows_of("b", [7.0]))
    assert [(one.policy, one.seed, one.metrics["net_value_usd"]) for one in merged] == [
        ("a", 100, 5.0),
        ("a", 101, 2.0),
        ("b", 100, 7.0),
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_appending_starts_a_file_and_adds_to_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"rows.{suffix}"
    append_rows(path, rows_of("a", [1.0]))
    append_rows(path, rows_of("b", [2.0], metric="return"))
    assert [one.policy for one in read_rows(path)] == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"not a table", b"policy,seed\na,1\n"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    with pytest.raises(SpecError, match="not a file of episode rows"):
        read_rows(path)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", fleet_rows(5))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SpecError, match="not a file of episode rows"):
        read_rows(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no file"):
        read_rows(tmp_path / "rows.csv")
    with pytest.raises(SpecError, match=r"\.parquet, \.csv"):
        write_rows(tmp_path / "rows.xlsx", [])


def test_a_place_that_cannot_be_written_is_named_and_left_as_it_was(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(SpecError, match="cannot write"):
        write_rows(blocked / "rows.csv", rows_of("a", [1.0]))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_older_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", rows_of("a", [1.0]))
    unwritable = [row("b", 100, {"return": "no number"})]  # type: ignore[dict-item]
    with pytest.raises(ValueError):
        write_rows(path, unwritable)
    assert [one.policy for one in read_rows(path)] == ["a"]
    assert [one.name for one in tmp_path.iterdir()] == ["rows.parquet"]
    assert stat.S_ISREG(path.stat().st_mode)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_of_more_rows_than_anybody_needs_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(tmp_path / f"rows.{suffix}", rows_of("a", [1.0, 2.0, 3.0]))
    monkeypatch.setattr("tokenfleet.evaluation.results.RESULT_ROWS", 3)
    assert len(read_rows(path)) == 3
    monkeypatch.setattr("tokenfleet.evaluation.results.RESULT_ROWS", 2)
    with pytest.raises(SpecError, match=r"more than .*; give the rows of fewer episodes"):
        read_rows(path)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    one = write_rows(tmp_path / "one.parquet", rows_of("a" * 2**20, [1.0]))
    many = pa.concat_tables([parquet.read_table(one)] * 1000)
    path = tmp_path / "rows.parquet"
    parquet.write_table(many, path, compression="zstd")  # texts that are equal are kept once: 1 GiB in a few kB
    assert path.stat().st_size < 2**20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(SpecError, match=r"more than .* 128 MiB"):
        read_rows(path)
    assert pa.default_memory_pool().max_memory() < before + 2**28
