"""From what Hydra composed to a checked configuration, with every mistake reported at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tokenfleet.configs.entry import CatalogConfig, ConfigType
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.tracking import parse_tracking


def parse_config(
    config_type: type[ConfigType], data: Mapping[str, Any], scenario_folder: Path | None = None
) -> ConfigType:
    """Check a composed configuration.

    Args:
        config_type: `TrainConfig`, `EvaluateConfig` or `TuneConfig`.
        data: plain data.
        scenario_folder: of the scenario's file, where its relative paths begin.

    Raises:
        SpecError: one line per mistake, in every section.
    """
    catalog = CatalogConfig.parse(data.get("catalog") or {}, "catalog")
    # Sections with a parser of their own, whose messages begin with the section's name.
    sections: dict[str, Callable[[Any], Any]] = {
        "scenario": partial(_scenario, search_paths=catalog.search_paths, folder=scenario_folder),
        "algo": parse_algorithm,
        "tracking": parse_tracking,
    }
    parsed: dict[str, Any] = {**data}
    problems: list[str] = []
    broken: set[str] = set()
    for section, parse in sections.items():
        if section in data and section in config_type.model_fields:
            try:
                parsed[section] = parse(data[section])
            except SpecError as error:
                problems += error.problems
                broken.add(section)
                del parsed[section]
    try:
        config = config_type.parse(parsed)
    except SpecError as error:
        rest = [line for line in error.problems if line.partition(":")[0] not in broken]
        raise SpecError([*rest, *problems]) from None
    if problems:
        raise SpecError(problems)
    return config


def _scenario(data: Any, search_paths: Sequence[str], folder: Path | None) -> Scenario | None:
    return None if data is None else load_scenario(data, None, search_paths, folder)
