"""Options of a search as a person types them, and the search that they ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.generalist.search import FoundWeights, Meetings, SearchOptions, search_weights
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.law import Weights
from tokenfleet.policies.generalist.weights import save_weights

Options = TypeVar("Options", bound=SearchOptions)

LEAST = {"seed": 0, "hidden": 0, "population": 4}
"""Of whole numbers that a person may set; 1 of all others."""
HELP = {
    "seed": "of the search and of episodes",
    "generations": "of the search",
    "population": "candidates of a generation",
    "spread": "standard deviation of the first generation",
    "above_cap_limit_s": "most mean seconds above a cap in an episode",
    "biases_alone": "search one constant for each kind of set-point",
}
"""Of the options that every search has."""


def add_options(parser: argparse._ActionsContainer, plain: SearchOptions, help_texts: Mapping[str, str]) -> None:
    """Declare all options, those of every search included, and `--workers`.

    Args:
        parser: gets them.
        plain: the defaults.
        help_texts: by name, help of options that only some searches have or that mean more here.
    """
    for name, help_text in (HELP | dict(help_texts)).items():
        default = getattr(plain, name)
        if default is False:
            parser.add_argument(flag_of(name), action="store_true", help=help_text)
        else:
            kind, told = (float, "no limit") if default is None else (type(default), default)
            parser.add_argument(flag_of(name), type=kind, default=default, help=f"{help_text} (default: {told})")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")


def options_of(typed: argparse.Namespace, kind: type[Options]) -> Options:
    """What was typed.

    Raises:
        SpecError: one line per number that is too small.
    """
    options = kind(**{field.name: getattr(typed, field.name) for field in fields(kind)})
    problems = []
    for name, value in [*vars(options).items(), ("workers", typed.workers)]:
        least = LEAST.get(name, 1)
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            problems.append(f"{flag_of(name)}: must be at least {least} (got {value})")
    if not options.spread > 0.0:
        problems.append(f"--spread: must be above 0 (got {options.spread:g})")
    limit_s = options.above_cap_limit_s
    if limit_s is not None and not limit_s >= 0.0:
        problems.append(f"--above-cap-limit-s: must be at least 0 (got {limit_s:g})")
    if problems:
        raise SpecError(problems)
    return options


def command_of(command: str, options: SearchOptions) -> str:
    """The command that searches the same again."""
    plain = type(options)()
    words = [command]
    for name, value in vars(options).items():
        if value != getattr(plain, name):
            words.append(flag_of(name) + ("" if value is True else f" {value}"))
    return " ".join(words)


def flag_of(name: str) -> str:
    """How an option is typed.

    >>> flag_of("biases_alone")
    '--biases-alone'
    """
    return f"--{name.replace('_', '-')}"


def search_with_bar(
    start: Weights, options: SearchOptions, meetings: Meetings, record: MeasurementFile, workers: Workers
) -> FoundWeights:
    """Search, or go on with a search that is on file; a bar shows how far the search is."""
    with tqdm(total=options.generations, unit="generation", disable=not sys.stderr.isatty()) as bar:

        def say(what: str) -> None:
            bar.set_description_str(what)
            bar.update()

        return search_weights(start, options, meetings, record, workers, say)


def save_found(path: Path, found: FoundWeights, command: str) -> None:
    """Write the weights that a search found, with what was typed for them.

    Raises:
        SpecError: the file cannot be written.
    """
    save_weights(path, found.weights, {"command": command, "scores": str(found.scores)})


def say_found(path: Path, found: FoundWeights) -> None:
    """Say what a search came to, and where its weights are."""
    print(f"Validation score: {100 * found.scores[found.chosen]:.2f} %, of the start {100 * found.scores[0]:.2f} %")
    print(f"Written: {path}")
