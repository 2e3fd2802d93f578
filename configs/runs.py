"""The folder of a run of either script: which configuration it holds, and whether it may be started or resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from tokenfleet.configs.manifest import COMPLETE, RUNNING, describe, read_manifest, write_manifest
from tokenfleet.configs.schema import ConfigType, EntryConfig, EvaluateConfig, TrainConfig, parse_config
from tokenfleet.envs.catalog import read_yaml
from tokenfleet.envs.spec import SpecError

CONFIG_FILE = "config.yaml"


def start_run(config: EntryConfig, folder: Path, **known: Any) -> None:
    """Write down what the run is, or note that it goes on: `config.yaml` and `manifest.json`.

    Args:
        config: of the run.
        folder: of the run.
        known: more for the manifest, as plain data.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    earlier = read_manifest(folder) if (folder / CONFIG_FILE).exists() else {}
    started = [*earlier.get("started", []), now]
    write_manifest(folder, {"status": RUNNING, "started": started, **describe(config), **known})
    # Last, for a folder with a configuration is a run.
    temporary = folder / f".{CONFIG_FILE}"
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / CONFIG_FILE)


def finish_run(folder: Path, **outcome: float) -> None:
    """Note in `manifest.json` that the run is complete, and what it came to."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    numbers = {name: value if math.isfinite(value) else None for name, value in outcome.items()}
    write_manifest(folder, {**read_manifest(folder), "status": COMPLETE, "finished": now, **numbers})


def check_new_folder(config_type: type[EntryConfig], folder: Path) -> None:
    """Make sure that a new run may be written to `folder`.

    Args:
        config_type: of the new run.
        folder: where it would go.

    Raises:
        SpecError: another run is there, of the same script or of the other.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    script = _script(read_yaml(folder / CONFIG_FILE))
    hint = f", or go on with resume={folder}" if script == config_type.script else ""
    raise SpecError([f"hydra.run.dir: {folder} already holds a run of {script}; choose another folder{hint}"])


def resumed_config(
    config_type: type[ConfigType], folder: Path, composed: Mapping[str, Any], overrides: Sequence[str]
) -> ConfigType:
    """The configuration of an interrupted run.

    Args:
        config_type: `TrainConfig` or `EvaluateConfig`.
        folder: of the run.
        composed: what the command line composed to.
        overrides: what the command line said; each must agree with the run.

    Raises:
        SpecError: there is no run to go on with, it is complete, or the command line says something else.
    """
    if not folder.is_dir():
        raise SpecError([f"resume: no such folder {str(folder)!r}"])
    if not (folder / CONFIG_FILE).is_file():
        raise SpecError(
            [f"resume: {folder} holds no run of {config_type.script} ({CONFIG_FILE} is missing); start a new run"]
        )
    config = _kept_config(config_type, folder)
    if read_manifest(folder).get("status") == COMPLETE:
        raise SpecError([f"resume: {folder} is complete ({config.extent}); start a new run"])
    wanted = parse_config(config_type, composed).model_dump(mode="json")
    problems = _conflicts(config.model_dump(mode="json"), wanted, overrides)
    if problems:
        raise SpecError(problems)
    return _kept_config(config_type, folder)


def _kept_config(config_type: type[ConfigType], folder: Path) -> ConfigType:
    """The configuration that a run was started with; reading it opens its catalogue folders."""
    data = read_yaml(folder / CONFIG_FILE)
    if _script(data) != config_type.script:
        raise SpecError(
            [f"resume: {folder} holds a run of {_script(data)}, not of {config_type.script}; start a new run"]
        )
    try:
        return parse_config(config_type, data)
    except SpecError as error:
        raise SpecError([f"{folder / CONFIG_FILE}: {line}" for line in error.problems]) from None


def _script(kept: Mapping[str, Any]) -> str:
    """Which script wrote a configuration."""
    told_by = {"algo": TrainConfig.script, "episodes": EvaluateConfig.script}
    return next((script for key, script in told_by.items() if key in kept), "another program")


def _conflicts(running: Any, wanted: Any, overrides: Sequence[str]) -> list[str]:
    keys = {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}
    problems = []
    for key in sorted(keys - {"resume"}):
        here, there = _at(running, key), _at(wanted, key)
        if here != there:
            shown = "" if isinstance(here, (dict, list)) else f" has {here!r} and"
            problems.append(f"{key}: the resumed run{shown} cannot be changed (got {_short(there)}); leave it out")
    return problems


def _at(tree: Any, dotted_key: str) -> Any:
    for part in dotted_key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return repr(value["name"])
    return repr(value)
