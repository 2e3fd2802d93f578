"""A study that is interrupted loses no episode, repeats none and ends with the same bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.known_answers import TINY
from tests.evaluation.synthetic import row
from tests.evaluation.test_candidates import write_checkpoint
from tests.evaluation.test_ledgers import ledger
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.journal import EvaluatedBatch, Journal
from tokenfleet.evaluation.ledgers import LedgerBook
from tokenfleet.evaluation.study import run_study
from tokenfleet.policies import PolicyContext, make_policy

EPISODES, BATCH_SIZE = 5, 2
BATCHES = 3 * 3
"""Of three policies."""


class PowerCut(BaseException):
    """The process dies here."""


class Environments:
    """Makes environments, and dies instead of making another one after so many."""

    def __init__(self, most: float = math.inf) -> None:
        self.made = 0
        self.most = most

    def __call__(self, count: int) -> Any:
        if self.made >= self.most:
            raise PowerCut
        self.made += 1
        return TINY(count)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[Candidate]:
    """A policy that plans, one that draws, and a network."""
    from tokenfleet.policies.learned.checkpoint import load_policy

    context = PolicyContext.from_env(TINY(1))
    trained = write_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint", "ppo")
    return [
        *(Candidate(make_policy(name, context), name) for name in ("least_work", "random")),
        Candidate(load_policy(trained), "ppo-seed0", "ppo", 0, learned=True),
    ]


def study(compared: list[Candidate], environments: Environments, journal: Journal | None) -> tuple[str, str, str]:
    """What comes of a study, as text that differs where a bit does."""
    book = LedgerBook()
    sizes = {"batch_size": BATCH_SIZE, "on_ledger": book.add}
    rows = run_study(environments, compared, EPISODES, 3, journal=journal, **sizes)  # type: ignore[arg-type]
    return repr([asdict(row) for row in rows]), book.csv(), book.audit()


@pytest.fixture(scope="module")
def whole(compared: list[Candidate], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """What comes of a study that nobody interrupts."""
    return study(compared, Environments(), Journal(tmp_path_factory.mktemp("whole") / "study.jsonl"))


@pytest.mark.parametrize("fatal", [1, 4, BATCHES - 1])
def test_a_study_that_dies_in_any_batch_goes_on_to_the_same_bits(
    fatal: int, compared: list[Candidate], whole: tuple[str, str, str], tmp_path: Path
) -> None:
    path = tmp_path / "study.jsonl"
    first, second = Environments(most=fatal), Environments()
    with pytest.raises(PowerCut):
        study(compared, first, Journal(path))
    cut = study(compared, second, Journal(path))
    assert first.made + second.made == BATCHES
    assert cut == whole


def test_a_journal_changes_no_number(compared: list[Candidate], whole: tuple[str, str, str]) -> None:
    def plain(text: str) -> str:
        return text.replace("np.float64(", "").replace(")", "")

    assert [plain(text) for text in whole] == [plain(text) for text in study(compared, Environments(), None)]


def batches() -> Iterator[EvaluatedBatch]:
    for first in (100, 102, 104):
        rows = tuple(row("a", seed, {"return": 0.1 * seed, "ttft_p99_s": math.nan}) for seed in (first, first + 1))
        yield EvaluatedBatch(rows, (ledger(0.1), ledger(math.inf)))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A journal of three batches of two episodes."""
    path = tmp_path / "study.jsonl"
    journal = Journal(path)
    for batch in batches():
        journal.add(batch)
    return path


def test_what_is_found_is_what_was_added(kept: Path) -> None:
    journal = Journal(kept)
    assert journal.episodes == 6
    assert [repr(journal.find("a", (seed, seed + 1))) for seed in (100, 102, 104)] == [repr(b) for b in batches()]
    assert journal.find("a", (100,)) is None
    assert journal.find("b", (100, 101)) is None


def test_a_line_that_was_cut_off_anywhere_does_not_count_and_is_in_nobodys_way(kept: Path) -> None:
    content = kept.read_bytes()
    last = content.index(b"\n", content.index(b"\n") + 1) + 1
    for length in (*range(last, last + 40), len(content) - 1):
        kept.write_bytes(content[:length])
        journal = Journal(kept)
        assert journal.episodes == 4
        journal.add(list(batches())[2])
        assert kept.read_bytes() == content


def test_only_the_batch_of_a_damaged_line_is_lost(kept: Path) -> None:
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b'"seed": 102', b'"seed": 902'))
    journal = Journal(kept)
    assert [journal.find("a", (seed, seed + 1)) is None for seed in (100, 102, 104)] == [False, True, False]


def test_a_line_of_another_version_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenfleet.evaluation import journal as module

    monkeypatch.setattr(module, "asdict", lambda row: asdict(row) | {"colour": "red"})
    with pytest.raises(AssertionError):
        Journal(tmp_path / "study.jsonl").add(next(batches()))
    assert Journal(tmp_path / "study.jsonl").episodes == 0


def test_a_journal_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="cannot write"):
        Journal(tmp_path / "file" / "study.jsonl").add(next(batches()))


def test_numbers_of_numpy_come_back_as_they_went(tmp_path: Path) -> None:
    import numpy as np

    batch = next(batches())
    values = {"return": np.float64(0.1), "length_steps": np.int64(3), "brakes": np.float32(0.1)}
    added = EvaluatedBatch((replace(batch.rows[0], metrics=values),))
    found = Journal(tmp_path / "study.jsonl").add(added)
    assert dict(found.rows[0].metrics) == {"return": 0.1, "length_steps": 3, "brakes": float(np.float32(0.1))}
