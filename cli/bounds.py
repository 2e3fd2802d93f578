"""What Hydra and OmegaConf read is bounded too: files before they are loaded, interpolations before they are resolved.

Both follow aliases, merge keys and `${...}` wherever they lead; a few hundred bytes can stand for gigabytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult

from tokenfleet.envs.files import check_yaml
from tokenfleet.envs.spec import SpecError

MOST_VALUES = 50_000
"""Most look-ups until every `${...}` of a value is replaced; the largest shipped configuration has 1,000 values."""
_INTERPOLATION = re.compile(r"\$\{")
_KEY = re.compile(r"\.*[\w-][\w.-]*")


class CheckedFileSource(FileConfigSource):
    """Hydra's source of configuration files, which looks at a file before Hydra loads it."""

    def load_config(self, config_path: str) -> ConfigResult:
        """See `ConfigSource`.

        Raises:
            SpecError: see `check_yaml`.
        """
        path = os.path.realpath(os.path.join(self.path, self._normalize_file_name(config_path)))
        if os.path.exists(path):
            check_yaml(path)
        return super().load_config(config_path)


def check_files_first() -> None:
    """Let Hydra read every file through `CheckedFileSource`.

    Hydra's public interface adds sources of new schemes only and refuses a second one of `file:`, hence `_internal`.
    """
    Plugins.instance()  # registers Hydra's own sources, which would otherwise come later
    SourcesRegistry.instance().types[CheckedFileSource.scheme()] = CheckedFileSource


def check_interpolations(tree: Mapping[str, Any]) -> None:
    """Refuse a configuration that grows without measure, or refers to itself, once its `${...}` are replaced.

    Args:
        tree: plain data, nothing replaced yet.

    Raises:
        SpecError: with the first key that is to blame.

    >>> check_interpolations({"seed": 3, "algo": {"seed": "${seed}"}})
    """
    leaves = dict(_leaves(tree))
    costs: dict[str, int] = {}
    for key in leaves:
        if _cost(key, leaves, costs, ()) > MOST_VALUES:
            raise SpecError([f"{key}: stands for more than {MOST_VALUES} values once its ${{...}} are replaced"])


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of everything that holds an interpolation."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for place, value in enumerate(tree):
            yield from _leaves(value, f"{key}.{place}")
    elif isinstance(tree, str) and _INTERPOLATION.search(tree):
        yield key, tree


def _cost(key: str, leaves: Mapping[str, str], costs: dict[str, int], above: tuple[str, ...]) -> int:
    """How often something is looked up until a value stands there; every key that its text names counts as one."""
    if key in above:
        raise SpecError([f"{key}: refers to itself ({' -> '.join([*above[above.index(key) :], key])}); write a value"])
    if key not in costs:
        named = [word for part in leaves[key].split("${")[1:] for word in _KEY.findall(part.rpartition("}")[0] or part)]
        inside = [other for word in named for other in _behind(word, key, leaves)]
        costs[key] = 1 + sum(_cost(other, leaves, costs, (*above, key)) for other in inside)
    return costs[key]


def _behind(word: str, key: str, leaves: Mapping[str, str]) -> list[str]:
    """The keys with interpolations that a word in the text of `key` names: itself, or what lies below it.

    >>> _behind("..seed", "algo.seed", {"seed": "${start}"})
    ['seed']
    """
    name = word.lstrip(".")
    dots = len(word) - len(name)
    named = ".".join([*key.split(".")[:-dots], name]) if dots else name
    return [other for other in leaves if other == named or other.startswith(f"{named}.")]
