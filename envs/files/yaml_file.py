"""Read a YAML file into plain data, with an error that names the file and the line."""

from __future__ import annotations

import copy
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tokenfleet.envs.files.limits import INTEGER_DIGITS, YAML_BYTES, YAML_DEPTH, YAML_NODES
from tokenfleet.envs.files.opening import PathLike, Version, read_text, version_of
from tokenfleet.envs.spec import SpecError, shown


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also reads `1e-5` as a number (YAML 1.2) and refuses what has no end.

    An alias stands for everything behind its anchor, and a merge key copies it: ten lines can stand for a billion keys.
    So nodes are counted as if every alias were written out, before anything is built from them.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        before, self._depth = self._nodes, self._depth + 1
        if self._depth > YAML_DEPTH:
            raise _refusal(f"nested deeper than {YAML_DEPTH} levels; flatten it", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _refusal(f"alias '*{event.anchor}' stands inside of what it names; write the value out", event)
            self._nodes += self._sizes[id(node)]
        else:
            self._nodes += 1
            self._sizes[id(node)] = self._nodes - before
        if self._nodes > YAML_NODES:
            raise _refusal(f"more than {YAML_NODES} keys and values, aliases written out; say it with fewer", event)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _refusal(f"key {shown(key.value)} is given twice", key)
            seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
            kind, value = node.tag.rpartition(":")[2], shown(node.value)
            raise _refusal(f"no {kind}: {value} ({error}); correct it, or put it in quotes", node) from None

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if any("\ud800" <= character <= "\udfff" for character in str(value)):
            raise _refusal(f"{shown(value)} holds half of a character (\\ud800 to \\udfff)", node)
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > INTEGER_DIGITS:
            raise _refusal(f"a whole number of more than {INTEGER_DIGITS} digits: {shown(node.value)}", node)
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts text in quotes that `_Loader` would read as a number."""


_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
"""A number with an exponent, as YAML 1.2 has it and PyYAML does not."""
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))


def _refusal(problem: str, place: Any) -> yaml.MarkedYAMLError:
    """A mistake at the place where a node or an event begins."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def read_yaml(path: PathLike) -> dict[str, Any]:
    """The mapping that a YAML file holds; a fresh copy each time, so the caller may change it.

    Args:
        path: the file.

    Raises:
        SpecError: the file is missing, is not UTF-8, is not YAML (with its line), costs more than `limits` allow, or is
            not a mapping.
    """
    path = Path(path)
    return copy.deepcopy(_parse(path, version_of(path)))


def yaml_text(data: Any, **style: Any) -> str:
    """Plain data as YAML that `read_yaml` reads back as it was.

    Args:
        data: plain data; keys keep their order.
        style: of `yaml.dump`, such as `width`.
    """
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, **style)
    return text


def check_yaml(path: PathLike) -> None:
    """Make sure that another reader of YAML may read a file too: all that `read_yaml` asks, but a mapping.

    Raises:
        SpecError: see `read_yaml`.
    """
    _load(Path(path))


@lru_cache(maxsize=256)
def _parse(path: Path, version: Version) -> dict[str, Any]:
    """Parse once for each version of the file."""
    data = _load(path)
    if not isinstance(data, dict):
        raise SpecError([f"{path}: must hold a mapping of keys to values (got {type(data).__name__})"])
    return data


def _load(path: Path) -> Any:
    text = read_text(path, YAML_BYTES)
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError([f"{path}{line}: not valid YAML: {error.problem or error.context}"]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from None
