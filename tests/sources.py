"""The repository's modules: their files and the names that they are imported by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
INSTALLED = ("envs", "policies", "evaluation", "configs", "cli")
"""Folders that become packages inside of `tokenfleet`."""
SCRIPTS = ("train.py", "evaluate.py", "tune.py")


def modules(outside: Sequence[str]) -> dict[str, Path]:
    """The file of every module of the product and of the folders `outside` of it, by dotted name."""
    files = [path for folder in (*INSTALLED, *outside) for path in sorted((ROOT / folder).rglob("*.py"))]
    files += [ROOT / script for script in SCRIPTS]
    return {module_name(path, outside): path for path in files}


def module_name(path: Path, outside: Sequence[str]) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] in outside else ("tokenfleet", *parts)
    return ".".join(inside).removesuffix(".__init__")
