"""A package whose docstring has a table of modules names each of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = [
    path.parent
    for folder in ("envs", "policies", "evaluation", "cli")
    for path in sorted((ROOT / folder).rglob("__init__.py"))
    if "| module |" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
]


def unnamed(package: Path) -> list[str]:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = set(re.findall(r"`(\w+)`", docstring))
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    return sorted(f"{package.relative_to(ROOT)}/{name}.py" for name in modules - named)


def test_the_tables_of_packages_name_every_module() -> None:
    assert len(PACKAGES) > 10
    assert [name for package in PACKAGES for name in unnamed(package)] == []
