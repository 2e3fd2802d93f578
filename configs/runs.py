"""The folder of a training run: which configuration it holds, and whether it may be started or resumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from tokenfleet.configs.manifest import COMPLETE, RUNNING, describe, read_manifest, write_manifest
from tokenfleet.configs.schema import TrainConfig, parse_config
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.spec import SpecError, shown

CONFIG_FILE = "config.yaml"


def start_run(config: TrainConfig, folder: Path) -> None:
    """Write down what the run is, or note that it goes on: `config.yaml` and `manifest.json`."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    earlier = read_manifest(folder) if (folder / CONFIG_FILE).exists() else {}
    started = [*earlier.get("started", []), now]
    write_manifest(folder, {"status": RUNNING, "started": started, **describe(config)})
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


def check_new_folder(folder: Path) -> None:
    """Make sure that a new run may be written to `folder`.

    Raises:
        SpecError: another run is there.
    """
    if (folder / CONFIG_FILE).exists():
        hint = f"choose another folder, or go on with resume={folder}"
        raise SpecError([f"hydra.run.dir: {folder} already holds a run; {hint}"])


def resumed_config(
    folder: Path, composed: Mapping[str, Any], overrides: Sequence[str], scenario_folder: Path | None = None
) -> TrainConfig:
    """The configuration of an interrupted run.

    Args:
        folder: of the run.
        composed: what the command line composed to.
        overrides: what the command line said; each must agree with the run.
        scenario_folder: see `parse_config`.

    Raises:
        SpecError: there is no run to go on with, it is complete, or the command line says something else.
    """
    if not folder.is_dir():
        raise SpecError([f"resume: no such folder {str(folder)!r}"])
    if not (folder / CONFIG_FILE).is_file():
        raise SpecError([f"resume: {folder} holds no run of train.py ({CONFIG_FILE} is missing); start a new run"])
    config = _kept_config(folder)
    if read_manifest(folder).get("status") == COMPLETE:
        raise SpecError([f"resume: {folder} is complete ({config.total_timesteps} steps); start a new run"])
    wanted = parse_config(TrainConfig, composed, scenario_folder).model_dump(mode="json")
    problems = _conflicts(config.model_dump(mode="json"), wanted, overrides)
    if problems:
        raise SpecError(problems)
    return config


def _kept_config(folder: Path) -> TrainConfig:
    """The configuration that a run was started with."""
    data = read_yaml(folder / CONFIG_FILE)
    if "algo" not in data:
        raise SpecError([f"resume: {folder} holds no run of train.py ({CONFIG_FILE} has no algo); start a new run"])
    try:
        return parse_config(TrainConfig, data)
    except SpecError as error:
        raise SpecError([f"{folder / CONFIG_FILE}: {line}" for line in error.problems]) from None


def _conflicts(running: Any, wanted: Any, overrides: Sequence[str]) -> list[str]:
    keys = {override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))}
    problems = []
    for key in sorted(keys - {"resume"}):
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
