"""Where tables say what is where, they leave nothing out: modules of packages, and groups of tests."""

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


def test_the_readme_of_the_tests_names_every_group() -> None:
    groups = {
        path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists() or [*path.glob("test_*")]
    }
    rows = re.findall(r"(?m)^\| (`.*?) \| \d+ \|", (ROOT / "tests" / "README.md").read_text(encoding="utf-8"))
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == groups
