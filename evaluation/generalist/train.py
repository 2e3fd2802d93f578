"""`python -m tokenfleet.evaluation.generalist.train`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario.generator import load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.generalist.training import GeneralistTraining, Options, header
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.weights import MOST_HIDDEN, SUFFIX, save_weights

COMMAND = "python -m tokenfleet.evaluation.generalist.train"
EXAMPLES = f"""examples:
  {COMMAND} --out runs/generalist
  {COMMAND} --out runs/constants --biases-alone --hidden 0 --generations 50

The same command goes on with what --out holds; docs/generalist.md says what came of it."""
HELP = {
    "ranges": "what fleets are drawn from: a name of the catalogue, or a YAML file",
    "seed": "of the search, of encoders and of episodes",
    "hidden": "numbers that each entity's encoder gives; 0 for a linear law without context",
    "generations": "of the search",
    "population": "candidates of a generation",
    "spread": "standard deviation of the first generation",
    "fleets": "training fleets to choose from",
    "fleets_of_generation": "of them, that a generation meets",
    "episodes": "that a candidate meets in each of these",
    "validation_fleets": "by which one of the search's centres is chosen",
    "validation_episodes": "in each of these",
}
LEAST = {"seed": 0, "hidden": 0, "population": 4}
"""Of what a person may set; 1 of all else."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _train(typed))


def _train(typed: argparse.Namespace) -> None:
    options = Options(**{field.name: getattr(typed, field.name) for field in fields(Options)})
    _check(options)
    load_ranges(options.ranges)
    folder = Path(typed.out)
    record = MeasurementFile(folder / "search.json", header(options))
    with tqdm(total=options.generations, unit="generation", disable=not sys.stderr.isatty()) as bar:

        def say(what: str) -> None:
            bar.set_description_str(what)
            bar.update()

        with Workers(typed.workers) as workers:
            trained = GeneralistTraining(options, record, workers, say).run()
    path = folder / f"generalist{SUFFIX}"
    save_weights(path, trained.weights, {"command": _command(options), "scores": str(trained.scores)})
    begun = trained.scores[0]
    print(f"Validation score: {100 * max(trained.scores):.2f} %, of the start {100 * begun:.2f} %")
    print(f"Written: {path}")


def _check(options: Options) -> None:
    problems = []
    for name, value in vars(options).items():
        least = LEAST.get(name, 1)
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            problems.append(f"--{name.replace('_', '-')}: must be at least {least} (got {value})")
    if options.hidden > MOST_HIDDEN:
        problems.append(f"--hidden: must be at most {MOST_HIDDEN} (got {options.hidden})")
    if not options.spread > 0.0:
        problems.append(f"--spread: must be above 0 (got {options.spread:g})")
    if options.fleets_of_generation > options.fleets:
        problems.append(f"--fleets-of-generation: must be at most --fleets {options.fleets}")
    if problems:
        raise SpecError(problems)


def _command(options: Options) -> str:
    """The command that trains the same again."""
    plain = Options()
    words = [COMMAND]
    for name, value in vars(options).items():
        if value != getattr(plain, name):
            words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}"))
    return " ".join(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Train one policy on many drawn fleets.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--out", default="runs/generalist", help="folder (default: runs/generalist)")
    plain = Options()
    for name, help_text in HELP.items():
        default = getattr(plain, name)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help=f"{help_text} (default: {default})")
    parser.add_argument("--biases-alone", action="store_true", help="search one constant for each kind of set-point")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
