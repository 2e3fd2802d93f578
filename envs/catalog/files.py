"""Read a YAML file into plain data, with an error that names the file and the line."""

from __future__ import annotations

import copy
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from tokenfleet.envs.spec import SpecError

PathLike = str | os.PathLike[str]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also reads `1e-5` as a number (YAML 1.2) and refuses a key given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+"),
    list("-+0123456789."),
)


def read_yaml(path: PathLike) -> dict[str, Any]:
    """The mapping that a YAML file holds; a fresh copy each time, so the caller may change it.

    Args:
        path: the file.

    Raises:
        SpecError: the file is missing, is not UTF-8, is not YAML (with its line), or is not a mapping.
    """
    path = Path(path)
    try:
        status = path.stat()
        return copy.deepcopy(_parse(path, status.st_mtime_ns, status.st_size))
    except FileNotFoundError:
        raise SpecError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([f"{path}: cannot be read: {error}"]) from None


@lru_cache(maxsize=256)
def _parse(path: Path, modified_ns: int, size_bytes: int) -> dict[str, Any]:
    """Parse once for each version of the file; time and size are the key of that version."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError([f"{path}{line}: not valid YAML: {error.problem or error.context}"]) from None
    except yaml.YAMLError as error:
        raise SpecError([f"{path}: not valid YAML: {error}"]) from None
    if not isinstance(data, dict):
        raise SpecError([f"{path}: must hold a mapping of keys to values (got {type(data).__name__})"])
    return data
