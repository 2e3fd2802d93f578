"""The folder of an evaluation: what it had begun with, and the batches that it has behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tokenfleet.configs.manifest import COMPLETE, describe, read_manifest
from tokenfleet.configs.runs import CONFIG_FILE, check_new_folder, start_run
from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.episodes import Candidate
from tokenfleet.evaluation.journal import Journal

JOURNAL_FILE = ".journal.jsonl"
log = logging.getLogger(__name__)


def open_journal(config: EvaluateConfig, folder: Path, candidates: Iterable[Candidate]) -> Journal:
    """The batches that an evaluation has behind it; `config.yaml` and `manifest.json` are written with the first one.

    Until then there is nothing to lose, and an evaluation that cannot begin leaves nothing in the way of the next.

    Args:
        config: of the evaluation.
        folder: of the evaluation; one process at a time.
        candidates: that it compares.

    Raises:
        SpecError: the folder holds another run, or the evaluation began with other policies.
    """
    policies = {candidate.label: candidate.source for candidate in candidates}
    begin = partial(start_run, config, folder, policies=policies)
    if (folder / CONFIG_FILE).exists():
        earlier, now = read_manifest(folder), describe(config)
        if earlier.get("status") == COMPLETE or _differs(earlier, now, "config_sha256"):
            check_new_folder(EvaluateConfig, folder)
        _check_policies(folder, earlier.get("policies", policies), policies)
        if _differs(earlier, now, "versions") or _differs(earlier, now, "git_commit"):
            log.warning("the evaluation began with other versions of the software (manifest.json); its rows may differ")
        begin()
    journal = Journal(folder / JOURNAL_FILE, before_first=begin)
    if journal.episodes:
        log.info("going on: %d of %d episodes are done", journal.episodes, len(policies) * config.episodes)
    return journal


def _differs(earlier: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    """Whether two manifests disagree; a manifest that was lost agrees with everything."""
    return key in earlier and bool(earlier[key] != now[key])


def _check_policies(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Make sure that every policy is still what it was: training may have replaced a checkpoint meanwhile."""
    changed = [label for label in {**before, **now} if before.get(label) != now.get(label)]
    if changed:
        hint = "bring the old checkpoint back, or start a new run"
        raise SpecError([f"resume: {folder} began with another {label}; {hint}" for label in changed])
