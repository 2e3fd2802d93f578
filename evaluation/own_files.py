"""Files of a user's own that a scenario rests on: what they say decides episodes as what the scenario says does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenfleet.envs.catalog import KINDS, read_yaml
from tokenfleet.envs.catalog.source import is_file_path
from tokenfleet.envs.layers.llm.profile import profile_name
from tokenfleet.envs.scenario import Scenario


def own_files(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of each file, by `kind/file` in a folder of `search_paths`, or as the scenario writes its path.

    The shipped catalogue is left out. What an entry names counts too: the wires of a GPU, the table of a series.
    """
    found: dict[str, str] = {}
    named = {(text, Path()) for text in [*_strings(scenario.model_dump(mode="json")), *_profile_names(scenario)]}
    while named:
        text, beside = named.pop()
        for name, path in _files(scenario, text, beside):
            if name not in found:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
                named |= {
                    (inner, path.parent) for inner in _strings(read_yaml(path) if path.suffix == ".yaml" else None)
                }
    return found


def _profile_names(scenario: Scenario) -> list[str]:
    pools = [each for pool in scenario.pools.values() for each in (pool, pool.switched)]
    return [profile_name(pool.model, pool.gpu, pool.parallelism) for pool in pools]


def _files(scenario: Scenario, text: str, beside: Path) -> Iterator[tuple[str, Path]]:
    """What a text may name: a file, or entries of the catalogue that are the user's own."""
    if is_file_path(text):
        yield from [(text, beside / text)] if _is_file(beside / text) else []
        return
    for folder in scenario.search_paths:
        for kind, suffixes in KINDS.items():
            if kind == "scenario":  # what it says has been read, and may have been changed by overrides
                continue
            paths = [folder / kind / f"{text}{suffix}" for suffix in suffixes]
            yield from ((f"{kind}/{path.name}", path) for path in paths if _is_file(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # prose is too long for a name
        return False


def _strings(data: Any) -> Iterator[str]:
    match data:
        case str():
            yield data
        case dict():
            for value in data.values():
                yield from _strings(value)
        case list():
            for value in data:
                yield from _strings(value)
