"""The finished batches of a study on disk, one by one: an interrupted study goes on after them.

One line of JSON per batch behind a hash of it, flushed to disk when the batch ends. A line that is cut off does not
count, and its batch is run again: a process that is killed while it writes leaves such a line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.layers.ledger import Check, Entry, Ledger
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.events import EventCard
from tokenfleet.evaluation.results import EpisodeRow

_HASH_DIGITS = 16


@dataclass(frozen=True)
class EvaluatedBatch:
    """Results of one policy in episodes side by side.

    Attributes:
        rows: one per episode, in the order of the study's seeds.
        ledgers: of the same episodes, in the order of their ends; none for an environment that is not a fleet, or where
            nobody asked for ledgers.
        events: how their demand-response events went; none for an environment that is not a fleet.
    """

    rows: tuple[EpisodeRow, ...]
    ledgers: tuple[Ledger, ...] = ()
    events: tuple[EventCard, ...] = ()


class Journal:
    """The batches of one study that are done.

    Args:
        path: of the file; it need not exist yet.

    Raises:
        SpecError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        whole, self._batches = _read(path)
        if path.exists() and path.stat().st_size > len(whole):
            replace_file(path, whole)

    @property
    def episodes(self) -> int:
        """How many episodes are done, over all policies."""
        return sum(len(batch.rows) for batch in self._batches.values())

    def find(self, policy: str, seeds: Sequence[int]) -> EvaluatedBatch | None:
        """Results of the policy of this label in the episodes of these seeds; None if no batch of these exists."""
        return self._batches.get((policy, tuple(seeds)))

    def add(self, batch: EvaluatedBatch) -> EvaluatedBatch:
        """Keep a batch, and give it back as a later reader will find it.

        Raises:
            SpecError: the file cannot be written.
        """
        line = _encoded(batch)
        try:
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SpecError([f"results: cannot write {self._path}: {error.strerror or error}"]) from None
        kept = _decoded(line)
        assert kept is not None
        self._batches[_key(kept)] = kept
        return kept

    def remove(self) -> None:
        """Delete the file, once the study's results stand elsewhere."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[bytes, dict[tuple[str, tuple[int, ...]], EvaluatedBatch]]:
    """The lines that are whole, and their batches."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise SpecError([f"{path}: cannot be read ({error.strerror})"]) from None
    decoded = [(line, _decoded(line)) for line in lines]
    whole = b"".join(line for line, batch in decoded if batch is not None)
    return whole, {_key(batch): batch for _, batch in decoded if batch is not None}


def _key(batch: EvaluatedBatch) -> tuple[str, tuple[int, ...]]:
    return batch.rows[0].policy, tuple(row.seed for row in batch.rows)


def _encoded(batch: EvaluatedBatch) -> bytes:
    ledgers = [astuple(ledger) for ledger in batch.ledgers]
    events = [astuple(card) for card in batch.events]
    data = {"rows": [asdict(row) for row in batch.rows], "ledgers": ledgers, "events": events}
    text = json.dumps(data, default=_plain_number)
    return f"{_hash(text)} {text}\n".encode()


def _decoded(line: bytes) -> EvaluatedBatch | None:
    """The batch of a line; None where the line is not whole, or another version wrote it."""
    digest, _, text = line.decode(errors="replace").partition(" ")
    if not text.endswith("\n") or digest != _hash(text[:-1]):
        return None
    try:
        data = json.loads(text)
        rows = tuple(EpisodeRow(**row) for row in data["rows"])
        ledgers = tuple(_ledger(*parts) for parts in data["ledgers"])
        return EvaluatedBatch(rows, ledgers, tuple(EventCard(*card) for card in data["events"]))
    except (KeyError, TypeError, ValueError):
        return None


def _ledger(entries: Sequence[Any], checks: Sequence[Any]) -> Ledger:
    return Ledger(tuple(Entry(*entry) for entry in entries), tuple(Check(*check) for check in checks))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def _plain_number(value: Any) -> Any:
    """A NumPy scalar as a Python number."""
    return value.item()
