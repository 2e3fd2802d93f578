"""`python -m tokenfleet.evaluation.screen`; see the package."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.screen.card import card_text
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.run import Screen
from tokenfleet.policies.heuristics.linear.features import NAMES

COMMAND = "python -m tokenfleet.evaluation.screen"
MOST_WORKERS = 2
EXAMPLES = f"""examples:
  {COMMAND} --scenario default
  {COMMAND} --scenario mine.yaml --minutes 5 --out mine.json

The same command goes on with what --out holds; docs/screen.md says how to read the card."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _screen(typed))


def _screen(typed: argparse.Namespace) -> None:
    _check(typed)
    scenario = load_scenario(typed.scenario, None, typed.search_path)
    options = Options(typed.minutes, typed.seed, typed.generations, typed.episodes, typed.planner)
    out = Path(typed.out or f"runs/screen/{scenario.name}.json")
    record = MeasurementFile(out, _header(scenario, options))
    with tqdm(bar_format="{elapsed} {desc}", disable=not sys.stderr.isatty()) as bar, Workers(typed.workers) as workers:
        card = Screen(scenario, options, record, workers, bar.set_description_str).run()
    print(card_text(card), end="")
    print(f"Written: {out}")


def _check(typed: argparse.Namespace) -> None:
    problems = [f"--minutes: must be above 0 (got {typed.minutes:g})"] if not typed.minutes > 0.0 else []
    for name, least in (("seed", 0), ("workers", 1), ("generations", 1), ("episodes", 2), ("planner", 0)):
        value = getattr(typed, name)
        if value is not None and value < least:
            problems.append(f"--{name}: must be at least {least} (got {value})")
    if problems:
        raise SpecError(problems)


def _header(scenario: Scenario, options: Options) -> dict[str, object]:
    return {
        "scenario": scenario.name,
        "config_hash": scenario_hash(scenario),
        "seed": options.seed,
        "generations": options.generations,
        "episodes": options.episodes,
        "minutes": options.minutes,
        "planner_episodes": options.planner_episodes,
        "features": list(NAMES),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Measure whether a scenario is worth learning on.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--scenario", required=True, help="a name of the catalogue, or a YAML file")
    parser.add_argument("--search-path", action="append", default=[], metavar="FOLDER", help="catalogue of your own")
    parser.add_argument("--minutes", type=float, default=15.0, help="for everything (default: 15)")
    parser.add_argument("--out", help="JSON file (default: runs/screen/SCENARIO.json)")
    parser.add_argument("--seed", type=int, default=0, help="of searches and episodes (default: 0)")
    parser.add_argument(
        "--workers", type=int, default=min(MOST_WORKERS, os.cpu_count() or 1), help="processes (default: at most 2)"
    )
    parser.add_argument(
        "--generations", type=int, help="of the search of feedback, instead of as many as fit the minutes"
    )
    parser.add_argument("--episodes", type=int, help="of validation, instead of as many as fit the minutes")
    parser.add_argument(
        "--planner", type=int, default=0, metavar="EPISODES",
        help="of validation that a planner by forks and its placebo meet besides; takes long (default: 0, none)",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
