"""The folder of a run of any script: its configuration, how it stands, and whether it may be started or resumed."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from tokenfleet.cli.lock import LOCK_FILE, has_writer
from tokenfleet.cli.manifest import MANIFEST_FILE, config_hash, describe, read_manifest, write_manifest
from tokenfleet.cli.wrappers import not_resumable
from tokenfleet.configs.entry import ConfigType, EntryConfig
from tokenfleet.configs.parsing import parse_config
from tokenfleet.configs.schema import EvaluateConfig, TrainConfig, TuneConfig
from tokenfleet.envs.files import read_yaml, yaml_text
from tokenfleet.envs.files.writing import replace_file, sync_folder
from tokenfleet.envs.scenario.provenance import pool_facts, pool_lines
from tokenfleet.envs.spec import SpecError, shown
from tokenfleet.policies.learned.layout import CHECKPOINTS, SNAPSHOTS
from tokenfleet.policies.learned.trust import refuse_untrusted

log = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
JOURNAL_FILE, SEARCH_FILE = ".journal.jsonl", "search.json"
RUNNING, COMPLETE, INTERRUPTED, FAILED = "running", "complete", "interrupted", "failed"


@contextlib.contextmanager
def recorded_run(config: EntryConfig, folder: Path, **known: Any) -> Iterator[None]:
    """Write down a new run, or note that it goes on, and note its end unless it is complete.

    `config.yaml` and `manifest.json` are on disk before the first step. A new run that is refused, interrupted or out
    of memory before it has kept anything leaves the folder as it was.

    Args:
        config: of the run.
        folder: of the run; one process at a time.
        known: more for the manifest, as plain data.
    """
    is_new = not is_run(folder)
    found = {path for path in folder.iterdir() if path.name != LOCK_FILE}
    try:
        _start_run(config, folder, known)
        for line in [] if config.scenario is None else pool_lines(config.scenario):
            log.info(line)
        yield
    except (SpecError, MemoryError, OSError, KeyboardInterrupt) as error:
        if is_new and not _has_kept_anything(folder):
            _remove(path for path in folder.iterdir() if path not in found)
        elif isinstance(error, KeyboardInterrupt):
            _end_run(folder, INTERRUPTED)
        else:
            _end_run(folder, FAILED, reason=_reason(error))
        raise
    except BaseException as error:
        _end_run(folder, FAILED, reason=_reason(error))
        raise


def finish_run(folder: Path, **outcome: float) -> None:
    """Note in `manifest.json` that the run is complete, and its result."""
    facts = {name: value if math.isfinite(value) else None for name, value in outcome.items()}
    _note_end(folder, COMPLETE, facts)


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run, however it stands."""
    return (folder / CONFIG_FILE).is_file()


def run_status(folder: Path) -> str:
    """How a run stands: as in its manifest, unless that is `running` and no process writes to the folder any more.

    Raises:
        SpecError: the manifest is damaged.
    """
    return RUNNING if has_writer(folder) else _recorded_status(folder)


def _recorded_status(folder: Path) -> str:
    """How a run stands that no other process writes to."""
    status = read_manifest(folder).get("status", RUNNING)
    return INTERRUPTED if status == RUNNING else str(status)


def check_same_run(config: EntryConfig, folder: Path) -> None:
    """Make sure that a folder, once it is locked, still holds no run, or the one to go on with.

    Another process may have begun a run there, or ended it, since the command was checked.

    Raises:
        SpecError: it holds another run, or one that is complete.
    """
    if not is_run(folder):
        return
    earlier = read_manifest(folder)
    if earlier.get("status") == COMPLETE or earlier.get("config_sha256", config_hash(config)) != config_hash(config):
        raise _holds_a_run(type(config), folder, _recorded_status(folder))


def not_restorable(config: EntryConfig) -> list[str]:
    """What a run could not bring back after an interruption, in words; whatever it is, the run cannot go on."""
    return not_resumable(config.env.wrappers) if isinstance(config, TrainConfig) else []


def check_new_folder(config_type: type[EntryConfig], folder: Path) -> None:
    """Make sure that a new run may be written to `folder`.

    Args:
        config_type: of the new run.
        folder: where it would go.

    Raises:
        SpecError: another run is there, of this script or of another one, or a process is about to begin one.
    """
    if is_run(folder):
        raise _holds_a_run(config_type, folder, run_status(folder))
    if has_writer(folder):
        raise SpecError([f"hydra.run.dir: {folder} is being written by another process; choose another folder"])


def _holds_a_run(config_type: type[EntryConfig], folder: Path, status: str) -> SpecError:
    script = _script(read_yaml(folder / CONFIG_FILE))
    is_own = script == config_type.script
    whose = "" if is_own else f" of {script}"
    go_on = f", or go on with resume={folder}" if is_own and status not in (RUNNING, COMPLETE) else ""
    return SpecError([f"hydra.run.dir: {folder} already holds a run{whose} ({status}); choose another folder{go_on}"])


def resumed_config(
    config_type: type[ConfigType],
    folder: Path,
    composed: Mapping[str, Any],
    overrides: Sequence[str],
    scenario_folder: Path | None = None,
) -> ConfigType:
    """The configuration of an interrupted run.

    Args:
        config_type: of the script.
        folder: of the run.
        composed: what the command line composed to.
        scenario_folder: see `parse_config`.
        overrides: what the command line said; each must agree with the run.

    Raises:
        SpecError: there is no run to go on with, it is complete, it names code that is not trusted, or the command
            line says something else.
    """
    if not folder.is_dir():
        raise SpecError([f"resume: no such folder {str(folder)!r}"])
    if not is_run(folder):
        cause = f"{CONFIG_FILE} is missing"
        raise SpecError([f"resume: {folder} holds no run of {config_type.script} ({cause}); start a new run"])
    keys = _overridden(overrides)
    if not any(key.partition(".")[0] == "scenario" for key in keys):
        composed = {**composed, "scenario": None}  # a default that nobody asked for
    wanted = parse_config(config_type, composed, scenario_folder)
    refuse_untrusted(_code_in(read_yaml(folder / CONFIG_FILE)), wanted.trust, f"resume: {folder / CONFIG_FILE}")
    config = _kept_config(config_type, folder)
    status = run_status(folder)
    if status == COMPLETE:
        raise SpecError([f"resume: {folder} is complete ({config.extent}); start a new run"])
    if status == RUNNING:
        raise SpecError([f"resume: {folder} is being written by another process; wait for it or stop it"])
    lost = not_restorable(config)
    if lost:
        hint = "write its get_state and set_state, or start a new run"
        raise SpecError([f"resume: {part} does not tell its state; {hint}" for part in lost])
    _check_config_is_the_same(config, folder)
    problems = _conflicts(config.kept(), wanted.kept(), keys)
    if problems:
        raise SpecError(problems)
    return config.model_copy(update={"trust": wanted.trust})


def _code_in(config: Mapping[str, Any]) -> list[Any]:
    """The parts of a configuration that may name code."""
    scenario = config.get("scenario")
    workload = scenario.get("workload") if isinstance(scenario, Mapping) else None
    streams = workload.values() if isinstance(workload, Mapping) else ()
    kinds = [stream.get("kind") for stream in streams if isinstance(stream, Mapping)]
    return [config.get("env"), config.get("algo"), config.get("policies"), config.get("policy"), kinds]


def _kept_config(config_type: type[ConfigType], folder: Path) -> ConfigType:
    """The configuration that a run was started with."""
    data = read_yaml(folder / CONFIG_FILE)
    if _script(data) != config_type.script:
        cause = f"holds a run of {_script(data)}, not of {config_type.script}"
        raise SpecError([f"resume: {folder} {cause}; start a new run"])
    try:
        return parse_config(config_type, data)
    except SpecError as error:
        raise SpecError([f"{folder / CONFIG_FILE}: {line}" for line in error.problems]) from None


def _script(kept: Mapping[str, Any]) -> str:
    """Which script wrote a configuration."""
    told_by = {"algo": TrainConfig.script, "evaluations": TuneConfig.script, "episodes": EvaluateConfig.script}
    return next((script for key, script in told_by.items() if key in kept), "another program")


def _check_config_is_the_same(config: EntryConfig, folder: Path) -> None:
    """A run may only go on with the configuration that it began with."""
    began_with = read_manifest(folder).get("config_sha256")
    if began_with is not None and began_with != config_hash(config):
        cause = f"{CONFIG_FILE} was changed or damaged, or the run is of another version of tokenfleet"
        raise SpecError(
            [f"resume: {folder / CONFIG_FILE} does not match its hash in {MANIFEST_FILE}; {cause}; start a new run"]
        )


def _start_run(config: EntryConfig, folder: Path, known: Mapping[str, Any]) -> None:
    earlier = read_manifest(folder) if is_run(folder) else {}
    started = [*earlier.get("started", []), _now()]
    pools = {} if config.scenario is None else {"pools": pool_facts(config.scenario)}
    write_manifest(folder, {"status": RUNNING, "started": started, **describe(config), **pools, **known})
    # Last, for a folder with a configuration is a run.
    text = yaml_text(config.kept(), allow_unicode=True)
    replace_file(folder / CONFIG_FILE, text.encode())
    sync_folder(folder.absolute().parent)


def _end_run(folder: Path, status: str, **facts: Any) -> None:
    """Note the end of an incomplete run, if the disk can still be written to."""
    with contextlib.suppress(OSError):
        _note_end(folder, status, facts)


def _note_end(folder: Path, status: str, facts: Mapping[str, Any]) -> None:
    write_manifest(folder, {**read_manifest(folder), "status": status, "finished": _now(), **facts})


def _has_kept_anything(folder: Path) -> bool:
    return any((folder / name).exists() for name in (SNAPSHOTS, CHECKPOINTS, JOURNAL_FILE, SEARCH_FILE))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _reason(error: BaseException) -> str:
    """An error in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _overridden(overrides: Sequence[str]) -> set[str]:
    """The keys that a command line says something about."""
    return {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}


def _conflicts(running: Any, wanted: Any, keys: set[str]) -> list[str]:
    problems = []
    for key in sorted(keys - {"resume", "trust"}):
        here, there = _at(running, key), _at(wanted, key)
        if here != there:
            has = "" if isinstance(here, (dict, list)) else f" has {shown(here)} and"
            problems.append(f"{key}: the resumed run{has} cannot be changed (got {_short(there)}); leave it out")
    return problems


def _at(tree: Any, dotted_key: str) -> Any:
    for part in dotted_key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return shown(value["name"])
    return shown(value)
