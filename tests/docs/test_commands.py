"""Every command on a page is accepted by its script or module; what it reads need not be there."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.command_line import Run

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
SCRIPTS = ("train", "evaluate", "tune")
OF_THE_READER = re.compile(
    r"\b(resume=|checkpoint=|runs/|mine\b|my_|my-|scenario=my\b|my:|fleets\b|feedback\.yaml|\.\.\.)"
)
"""What names a run, a folder or a module that only the reader has."""
ELSEWHERE = {"training.md"}
"""Pages whose commands `tests/cli/test_configs.py` tries."""
CHECKS_AFTER_PARSING = {"tokenfleet.evaluation.bound"}
"""Modules that take `key=value`, which their parser hands on unread."""


def commands(pattern: str) -> list[tuple[str, str]]:
    """Page and command of all fenced blocks whose lines begin like this, each command once."""
    found: dict[str, str] = {}
    for page in PAGES:
        blocks = "".join(re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.S))
        for line in blocks.replace("\\\n", " ").splitlines():
            if re.match(pattern, line):
                found.setdefault(line.split("  #")[0].strip(), page.name)
    return [(page, command) for command, page in found.items()]


OF_SCRIPTS = [
    command
    for page, command in commands(r"python \w+\.py ")
    if page not in ELSEWHERE and not OF_THE_READER.search(command) and "--help" not in command
]
OF_MODULES = [
    command for _, command in commands(r"python -m ") if " pytest " not in command and not command.endswith(" ...")
]


def test_the_targets_and_modules_that_sentences_name_are_there() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    makes, modules = (set(re.findall(rf"`{command} ([\w.-]+)", text)) for command in ("make", "python -m"))
    assert (len(makes) > 5, len(modules) > 20) == (True, True)
    assert makes - targets == set()
    assert {module for module in modules if importlib.util.find_spec(module) is None} == set()


class AcceptedError(Exception):
    """The arguments are such as the parser takes."""


def test_the_commands_are_found() -> None:
    assert len(OF_SCRIPTS) > 15
    assert len(OF_MODULES) > 15


@pytest.mark.parametrize("command", OF_SCRIPTS)
def test_a_script_takes_the_command(command: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    script = command.split()[1].removesuffix(".py")
    assert script in SCRIPTS
    seen: list[Any] = []
    module = importlib.import_module(f"tokenfleet.{script}")
    monkeypatch.setattr(module, script, lambda config, folder: seen.append(config))
    monkeypatch.syspath_prepend(str(ROOT))  # for code of `examples`
    outcome = run(shlex.join([script, *shlex.split(command)[2:]]))
    assert outcome.code == 0, outcome.errors
    assert len(seen) == 1


@pytest.mark.parametrize("command", OF_MODULES)
def test_a_module_takes_the_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, name, *arguments = shlex.split(command, comments=True)
    parse_args = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> NoReturn:
        raise AcceptedError(parse_args(parser, *given, **named))

    package = importlib.util.find_spec(name)
    assert package is not None
    module = importlib.import_module(f"{name}.__main__" if package.submodule_search_locations else name)
    if name in CHECKS_AFTER_PARSING:
        monkeypatch.setattr(module, "load_scenario", _accepted)
    else:
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with pytest.raises(AcceptedError):
        module.main(arguments)


def _accepted(*_: Any) -> NoReturn:
    raise AcceptedError
