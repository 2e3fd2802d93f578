"""Whose code may run: a folder that somebody sent can name classes, and none is imported unless its reader says so.

What a person types, or keeps in a configuration, is theirs to answer for. A checkpoint and a run that is resumed are
folders of unknown origin: every `module:Class` in them needs `trust=<module>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tokenfleet.envs.spec import SpecError

_MODULE = r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)"
_CLASS_PATH = re.compile(rf"{_MODULE}:[A-Za-z_]\w*")
_CODE_PATH = re.compile(rf"{_MODULE}:[A-Za-z_][\w./-]*")
_OURS = "tokenfleet"


def is_class_path(value: Any) -> bool:
    """Whether a value is `module:Class`.

    >>> is_class_path("stable_baselines3:PPO"), is_class_path("cuda:1"), is_class_path(3)
    (True, False, False)
    """
    return isinstance(value, str) and _CLASS_PATH.fullmatch(value) is not None


def refuse_untrusted(tree: Any, trust: Iterable[str], where: str) -> None:
    """Make sure that plain data names no code but that of trusted modules.

    Args:
        tree: plain data; `module:Class` and `module:namespace/Name-v0` anywhere in its values count.
        trust: modules, and packages with all that is in them.
        where: what the data is, for the message.

    Raises:
        SpecError: one line, which says how to trust the code.
    """
    trusted = tuple(trust)
    named = dict.fromkeys(match for text in _texts(tree) if (match := _CODE_PATH.fullmatch(text)))
    strange = [match for match in named if not _is_trusted(match["module"], trusted)]
    if strange:
        modules = ",".join(dict.fromkeys([*trusted, *(match["module"] for match in strange)]))
        paths = ", ".join(dict.fromkeys(match[0] for match in strange))
        raise SpecError(
            [f"{where}: names code that would run ({paths}); read it, and if you trust it say trust=[{modules}]"]
        )


def _is_trusted(module: str, trusted: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in (_OURS, *trusted))


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _texts(value)
