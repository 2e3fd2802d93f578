"""The folder of an evaluation: its configuration, and its finished batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenfleet.cli.lock import only_writer
from tokenfleet.cli.manifest import describe, read_manifest
from tokenfleet.cli.runs import JOURNAL_FILE, check_same_run, finish_run, is_run, recorded_run
from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.journal import Journal

log = logging.getLogger(__name__)


@contextmanager
def recorded_evaluation(config: EvaluateConfig, folder: Path, candidates: Iterable[Candidate]) -> Iterator[Journal]:
    """Begin an evaluation in `folder`, or go on with the one there; it is complete at the end if no error was raised.

    Args:
        config: of the evaluation.
        folder: of the evaluation; locked against other processes.
        candidates: that it compares.

    Yields:
        The batches that are done.

    Raises:
        SpecError: another process writes to the folder, it holds another run, or the evaluation began with other
            policies.
    """
    policies = {candidate.label: candidate.source for candidate in candidates}
    with only_writer(folder):
        check_same_run(config, folder)
        if is_run(folder):
            _check_same_evaluation(config, folder, policies)
        with recorded_run(config, folder, policies=policies):
            journal = Journal(folder / JOURNAL_FILE)
            if journal.episodes:
                log.info("going on: %d of %d episodes are done", journal.episodes, len(policies) * config.episodes)
            yield journal
            finish_run(folder)
        journal.remove()


def _check_same_evaluation(config: EvaluateConfig, folder: Path, policies: Mapping[str, Any]) -> None:
    """Make sure that rows of two evaluations never mix: training may have replaced a checkpoint meanwhile."""
    earlier = read_manifest(folder)
    before = earlier.get("policies", policies)
    changed = [label for label in {**before, **policies} if before.get(label) != policies.get(label)]
    if changed:
        hint = "bring the old checkpoint back, or start a new run"
        raise SpecError([f"resume: {folder} began with another {label}; {hint}" for label in changed])
    now = describe(config)
    if any(earlier.get(key, now[key]) != now[key] for key in ("versions", "git_commit")):
        log.warning("the evaluation began with another version of the software (manifest.json); rows may differ")
