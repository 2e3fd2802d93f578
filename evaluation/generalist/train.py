"""`python -m tokenfleet.evaluation.generalist.train`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario.generator import load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.generalist.commands import (
    add_options,
    command_of,
    options_of,
    save_found,
    say_found,
    search_with_bar,
)
from tokenfleet.evaluation.generalist.search import header
from tokenfleet.evaluation.generalist.training import TrainingOptions, drawn_meetings
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.weights import MOST_HIDDEN, SUFFIX, start

COMMAND = "python -m tokenfleet.evaluation.generalist.train"
EXAMPLES = f"""examples:
  {COMMAND} --out runs/generalist
  {COMMAND} --out runs/constants --biases-alone --hidden 0 --generations 50

The same command goes on with what --out holds, one with more --generations too; docs/generalist.md says what came of
it."""
HELP = {
    "ranges": "what fleets are drawn from: a name of the catalogue, or a YAML file",
    "seed": "of the search, of encoders and of episodes",
    "hidden": "numbers that each entity's encoder gives; 0 for a linear law without context",
    "fleets": "training fleets to choose from",
    "fleets_of_generation": "of them, that a generation meets",
    "episodes": "that a candidate meets in each of these",
    "validation_fleets": "by which one of the search's centres is chosen",
    "validation_episodes": "in each of these",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _train(typed))


def _train(typed: argparse.Namespace) -> None:
    options = options_of(typed, TrainingOptions)
    _check(options)
    load_ranges(options.ranges)
    folder = Path(typed.out)
    begin, record = start(options.hidden, options.seed), MeasurementFile(folder / "search.json", header(options))
    with Workers(typed.workers) as workers:
        found = search_with_bar(begin, options, drawn_meetings(options), record, workers)
    path = folder / f"generalist{SUFFIX}"
    save_found(path, found, command_of(COMMAND, options))
    say_found(path, found)


def _check(options: TrainingOptions) -> None:
    problems = []
    if options.hidden > MOST_HIDDEN:
        problems.append(f"--hidden: must be at most {MOST_HIDDEN} (got {options.hidden})")
    if options.fleets_of_generation > options.fleets:
        problems.append(f"--fleets-of-generation: must be at most --fleets {options.fleets}")
    if problems:
        raise SpecError(problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Train one policy on many drawn fleets.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", default="runs/generalist", help="folder (default: runs/generalist)")
    add_options(parser, TrainingOptions(), HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
