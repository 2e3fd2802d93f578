"""A scenario from whatever a user names it by: a catalogue name, a file, plain data, with overrides laid over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.catalog import PathLike, find, from_working_folder, read_yaml, reading, user_folders
from tokenfleet.envs.scenario.scenario import Scenario
from tokenfleet.envs.spec import SpecError, shown


def load_scenario(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    overrides: Mapping[str, Any] | None = None,
    search_paths: Sequence[PathLike] = (),
    base: PathLike | None = None,
) -> Scenario:
    """A scenario from a catalogue name, a YAML path, plain data, or itself.

    Args:
        scenario: for example `"default"`, `"my/scenario.yaml"` or a mapping.
        overrides: dotted keys and values laid over it, for example `{"sites.east.grid.cap_fraction": 0.6}`.
        search_paths: folders that are searched for named entries besides the shipped ones: the scenario, and its GPUs,
            models, profiles, recordings, series and all else. The scenario keeps these folders.
        base: where the relative paths of a mapping begin; by default the working folder. Paths of a file begin at its
            folder, paths of `overrides` at the working folder.

    Raises:
        SpecError: one line per mistake, naming the key.
    """
    folders = user_folders(search_paths)
    if isinstance(scenario, Scenario):
        if not overrides and set(folders) <= set(scenario.search_paths):
            return scenario
        data: dict[str, Any] = scenario.model_dump(mode="json")
        folders = (*scenario.search_paths, *folders)
    elif isinstance(scenario, Mapping):
        data = _copy(scenario)
    elif isinstance(scenario, (str, Path)):
        path = _scenario_path(scenario, folders)
        data, base = read_yaml(path), path.parent
    else:
        raise SpecError([f"scenario: must be a name, a path or a mapping of keys to values (got {shown(scenario)})"])
    if not isinstance(overrides, Mapping | None):
        raise SpecError([f"overrides: must be a mapping of dotted keys to values (got {shown(overrides)})"])
    for key, value in (overrides or {}).items():
        _set(data, key, from_working_folder(value))
    with reading(folders, base):
        return Scenario.parse(data, where="scenario")


def _scenario_path(scenario: str | Path, search_paths: Sequence[PathLike]) -> Path:
    path = Path(scenario)
    if path.suffix in {".yaml", ".yml"}:
        return path
    return find("scenario", str(scenario), search_paths)


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return data


def _set(data: dict[str, Any], dotted_key: str, value: Any) -> None:
    if not isinstance(dotted_key, str):
        raise SpecError([f"overrides: must be a mapping of dotted keys to values (got the key {shown(dotted_key)})"])
    *parents, last = dotted_key.split(".")
    place = data
    for parent in parents:
        # A section that the file leaves out has defaults; one that does not exist is refused by validation.
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise SpecError([f"scenario.{dotted_key}: {parent!r} holds a value, not keys (got {shown(place)})"])
    place[last] = value
