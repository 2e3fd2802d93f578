"""What the pages that a newcomer reads first say is so: files, links, names and examples."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenfleet.envs.catalog import catalog_names

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = "envs|policies|evaluation|configs|cli|calibration|benchmarks|examples|tools|tests|docs"


def texts(pattern: str) -> set[tuple[Path, Any]]:
    """Page and match, a text or one for each group, each pair once."""
    return {(page, match) for page in PAGES for match in re.findall(pattern, page.read_text(encoding="utf-8"))}


def test_the_pages_name_files_that_there_are() -> None:
    named = texts(rf"`((?:{FOLDERS})/[\w/.-]*)`")
    assert len(named) > 100
    assert [(page.name, name) for page, name in named if not (ROOT / name).exists()] == []


def test_the_links_lead_somewhere() -> None:
    links = texts(r"\]\((?!https?:)([^)#\s]+)")
    assert len(links) > 50
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def anchors(page: Path) -> set[str]:
    """What links may name behind `#`: the headings, as GitHub spells them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_links_into_pages_name_headings_that_there_are() -> None:
    links = texts(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
    assert len(links) > 20
    missing = [
        (page.name, link) for page, link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)
    ]
    assert missing == []


def test_the_readme_links_every_page() -> None:
    assert [page.name for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in README] == []


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(example, "README.md", "exec"), {"__name__": "example"})
    assert len(capsys.readouterr().out.split()) == 2


def test_the_python_of_the_pages_parses() -> None:
    for page in PAGES:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            examples = doctest.DocTestParser().get_examples(block)
            compile("".join(example.source for example in examples) or block, page.name, "exec")


def test_the_citation_is_whole() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= citation.keys()
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_readme_counts_what_there_is() -> None:
    assert f"on {len(catalog_names('gpu'))} boards" in README
    assert ("seventeen models" in README, len(catalog_names("model"))) == (True, 17)


def test_the_scenarios_of_the_readme_are_shipped() -> None:
    (named,) = re.findall(r"\[Scenarios\].*?among them (.*?)\.", README, re.S)
    scenarios = re.findall(r"`([\w-]+)`", named)
    assert len(scenarios) >= 4
    assert [name for name in scenarios if name not in catalog_names("scenario")] == []


def test_no_recipe_of_contributing_declares_in_more_than_three_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("## Where a change goes")[1].split("## What follows")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")][1:]
    declared = {row[0].strip("| "): set(re.findall(rf"`((?:{FOLDERS})/[\w/.]+)`", row[1])) for row in rows}
    assert {"a control", "a metric", "an episode series", "a wrapper"} <= declared.keys()
    assert {what: files for what, files in declared.items() if len(files) > 3} == {}


def test_what_the_pages_say_stands_in_a_file_stands_there() -> None:
    before = texts(r"`([A-Za-z_.]+)`\s+in\s+`([\w/]+\.(?:py|hpp))`")
    after = texts(r"`([\w/]+\.(?:py|hpp))` \(((?:`\w+`(?:, | and )?)+)")
    named = {(file, name) for _, (name, file) in before}
    named |= {(file, name) for _, (file, names) in after for name in re.findall(r"\w+", names) if name != "and"}
    assert len(named) >= 30
    source = {file: (ROOT / file).read_text(encoding="utf-8") for file, _ in named}
    missing = [
        (file, name)
        for file, name in sorted(named)
        if not all(re.search(rf"\b{part}\b", source[file]) for part in name.split("."))
    ]
    assert missing == []


def test_the_architecture_names_every_folder_of_packages_and_their_parts() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [path.parent for path in ROOT.glob("*/__init__.py")]
    parts = [
        path.parent for whole in ("envs", "policies", "evaluation") for path in ROOT.glob(f"{whole}/*/__init__.py")
    ]
    assert len(packages + parts) > 30
    folders = [f"{path.relative_to(ROOT)}/" for path in (*packages, *parts)]
    assert [folder for folder in folders if f"`{folder}`" not in page] == []
