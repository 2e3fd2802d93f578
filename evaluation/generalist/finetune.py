"""`python -m tokenfleet.evaluation.generalist.finetune`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.generalist.commands import add_options, command_of, options_of, say_found
from tokenfleet.evaluation.generalist.finetuning import FinetuningOptions, finetune
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.generalist.weights import SUFFIX

COMMAND = "python -m tokenfleet.evaluation.generalist.finetune"
EXAMPLES = f"""examples:
  {COMMAND} --scenario heatwave
  {COMMAND} --scenario mine.yaml --biases-alone --out runs/mine

The same command goes on with what --out holds. To evaluate what came of it:
  python evaluate.py scenario=heatwave 'policies=[{{name: generalist, weights: runs/finetuned/heatwave{SUFFIX}}}]'"""
HELP = {
    "weights": "to begin at: shipped ones by name, or a file",
    "episodes": "that a candidate meets",
    "validation_episodes": "by which one of the search's centres is chosen",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _finetune(typed))


def _finetune(typed: argparse.Namespace) -> None:
    options, scenario = options_of(typed, FinetuningOptions), load_scenario(typed.scenario)
    command = finetuning_command(options, typed.scenario)
    with Workers(typed.workers) as workers:
        path, found = finetune(scenario, options, command, Path(typed.out), workers)
    say_found(path, found)


def finetuning_command(options: FinetuningOptions, scenario: str) -> str:
    """The command that fine-tunes the same again, in a scenario by name or file."""
    return f"{command_of(COMMAND, options)} --scenario {scenario}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Go on from a policy for any fleet in one scenario.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--scenario", required=True, help="by name or file")
    parser.add_argument("--out", default="runs/finetuned", help="folder (default: runs/finetuned)")
    add_options(parser, FinetuningOptions(), HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
