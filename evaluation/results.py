"""Episode rows and their files: one flat row per policy and episode, Parquet (zstd) or CSV.

Columns stand in a fixed order: who (`policy`, `policy_hash`, `algorithm`, `training_seed`, `learned`), where
(`environment`, `scenario`, `split`, `config_hash`), which episode (`episode`, `seed`), then the metrics in the order of
`tokenfleet.evaluation.metrics`. Two rows are about the same episode when `config_hash`, `split` and `seed` agree.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.files import csv_rows, version_of
from tokenfleet.envs.files.limits import CELLS_PER_ROW, MIB, TABLE_BYTES
from tokenfleet.envs.files.writing import replaced
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.metrics import in_order

SUFFIXES = (".parquet", ".csv")
RESULT_ROWS = 200_000
"""Most rows that are read: twenty policies on ten thousand episodes."""
_BATCH_ROWS = 64
_MOST_PARTS = 100_000
"""Of a Parquet file's own description."""


@dataclass(frozen=True)
class EpisodeRow:
    """What one policy made of one episode.

    Attributes:
        policy: label, unique within a study, for example `least_work` or `ppo-seed0`.
        policy_hash: of the weights, or of a baseline's name and parameters; empty where nobody knows.
        algorithm: what checkpoints that differ only in their training seed share; for a baseline its own label.
        training_seed: None for a baseline.
        learned: whether the policy comes from a checkpoint.
        environment: Gymnasium id.
        scenario: name of the scenario; empty for a foreign environment.
        split: which part of the traces and random streams the episode is from; empty for a foreign environment.
        config_hash: of the environment or its scenario; equal for rows that may be compared.
        episode: position in the study, from 0.
        seed: that the environment was reset with.
        metrics: columns of `tokenfleet.evaluation.metrics`; NaN where the episode has no such number.
    """

    policy: str
    algorithm: str
    training_seed: int | None
    learned: bool
    environment: str
    scenario: str
    split: str
    config_hash: str
    episode: int
    seed: int
    policy_hash: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """Environment, split, policy and seed: a study holds one row of each."""
        return self.config_hash, self.split, self.policy, self.policy_hash, self.seed


_READ: dict[str, Callable[[str], Any]] = {
    "policy": str,
    "policy_hash": str,
    "algorithm": str,
    "training_seed": lambda text: int(text) if text else None,
    "learned": lambda text: {"True": True, "False": False}[text],
    "environment": str,
    "scenario": str,
    "split": str,
    "config_hash": str,
    "episode": int,
    "seed": int,
}
"""Identity columns, and how each is read from CSV."""

IDENTITY = tuple(_READ)


def merge_rows(*parts: Iterable[EpisodeRow]) -> list[EpisodeRow]:
    """All rows, a later row replacing an earlier one of the same environment, split, policy and seed."""
    return list({row.key: row for part in parts for row in part}.values())


def write_rows(path: str | Path, rows: Sequence[EpisodeRow]) -> Path:
    """Write rows as the suffix says, whole or not at all.

    Raises:
        SpecError: an unknown suffix, or a place that cannot be written.
    """
    path = _known_suffix(path)
    write = _write_parquet if path.suffix == ".parquet" else _write_csv
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as draft:
            write(draft, _columns(rows))
    except OSError as error:
        raise SpecError([f"results: cannot write {path}: {error.strerror or error}"]) from None
    return path


def read_rows(path: str | Path) -> list[EpisodeRow]:
    """Rows of a file that `write_rows` wrote.

    Raises:
        SpecError: an unknown suffix, no such file, one that is too large, or not a file of episode rows.
    """
    path = _known_suffix(path)
    if not path.is_file():
        raise SpecError([f"results: there is no file {path}"])
    try:
        columns = (_read_parquet if path.suffix == ".parquet" else _read_csv)(path)
        return _rows(columns)
    except SpecError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError([f"results: {path} is not a file of episode rows ({type(error).__name__}: {error})"]) from None


def append_rows(path: str | Path, rows: Sequence[EpisodeRow]) -> Path:
    """Add rows to a file, new or old; a row replaces one with the same `EpisodeRow.key`.

    Raises:
        SpecError: see `read_rows` and `write_rows`.
    """
    before = read_rows(path) if _known_suffix(path).is_file() else []
    return write_rows(path, merge_rows(before, rows))


def _known_suffix(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise SpecError([f"results: {path} must end in one of {', '.join(SUFFIXES)}"])
    return path


def _columns(rows: Sequence[EpisodeRow]) -> dict[str, list[Any]]:
    metrics = in_order(name for row in rows for name in row.metrics)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in IDENTITY}
    return columns | {name: [float(row.metrics.get(name, np.nan)) for row in rows] for name in metrics}


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[EpisodeRow]:
    missing = [name for name in IDENTITY if name not in columns]
    if missing:
        raise ValueError(f"missing columns {', '.join(missing)}")
    metrics = [name for name in columns if name not in _READ]
    count = len(columns["policy"])
    return [
        EpisodeRow(
            **{name: columns[name][i] for name in IDENTITY}, metrics={name: float(columns[name][i]) for name in metrics}
        )
        for i in range(count)
    ]


def _write_parquet(path: Path, columns: Mapping[str, list[Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    types = {"training_seed": pa.int64(), "learned": pa.bool_(), "episode": pa.int64(), "seed": pa.int64()}
    text = dict.fromkeys((name for name in IDENTITY if name not in types), pa.string())
    arrays = {name: pa.array(values, (types | text).get(name, pa.float64())) for name, values in columns.items()}
    parquet.write_table(pa.table(arrays), path, compression="zstd")


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    if version_of(path).size_bytes > TABLE_BYTES:
        raise _too_large(path)
    limits = {"thrift_string_size_limit": TABLE_BYTES, "thrift_container_size_limit": _MOST_PARTS}
    with parquet.ParquetFile(path, **limits) as file:
        meta = file.metadata
        claimed = sum(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
        if meta.num_rows > RESULT_ROWS or meta.num_columns > CELLS_PER_ROW or claimed > TABLE_BYTES:
            raise _too_large(path)
        batches, num_bytes = [], 0
        # A few rows at a time: a claim may be false, and a long text that many rows share is unpacked for each.
        for batch in file.iter_batches(_BATCH_ROWS):
            num_bytes += batch.nbytes
            if num_bytes > TABLE_BYTES:
                raise _too_large(path)
            batches.append(batch)
        columns: dict[str, list[Any]] = pa.Table.from_batches(batches, file.schema_arrow).to_pydict()
    return columns


def _too_large(path: Path) -> SpecError:
    limits = f"{RESULT_ROWS:,} rows, {CELLS_PER_ROW:,} columns or {TABLE_BYTES // MIB} MiB"
    return SpecError([f"results: {path} has more than {limits}; give the rows of fewer episodes"])


def _write_csv(path: Path, columns: Mapping[str, list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(["" if value is None else value for value in row])


def _read_csv(path: Path) -> dict[str, list[Any]]:
    rows = (cells for _, cells in csv_rows(path, RESULT_ROWS + 1, "give the rows of fewer episodes"))
    names = next(rows, [])
    values = list(zip(*rows, strict=True)) or [()] * len(names)
    return {name: [_READ.get(name, float)(text) for text in column] for name, column in zip(names, values, strict=True)}
