"""`python -m tokenfleet.evaluation.leaderboard`; see the package."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import MIDDLE, contenders
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.figure import draw_standings
from tokenfleet.evaluation.leaderboard.learning import Budget, Learned, learn
from tokenfleet.evaluation.leaderboard.meeting import meet
from tokenfleet.evaluation.leaderboard.page import standings_text, write_page
from tokenfleet.evaluation.leaderboard.shipping import ship
from tokenfleet.evaluation.leaderboard.standings import Standing, standing
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers

COMMAND = "python -m tokenfleet.evaluation.leaderboard"
MOST_WORKERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _run(typed))


def _run(typed: argparse.Namespace) -> None:
    for name, least in (("seeds", 1), ("workers", 1), ("generations", 1), ("validation", 2)):
        if getattr(typed, name) < least:
            raise SpecError([f"--{name}: must be at least {least} (got {getattr(typed, name)})"])
    protocol = load_protocol()
    if not (names := typed.scenario or protocol.benchmarks):
        raise SpecError([f"--scenario: {protocol.name} has no benchmark; name a scenario"])
    scenarios = {name: load_scenario(name) for name in names}
    rules = [name for name in contenders([]) if name != MIDDLE]
    budget, out = Budget(typed.generations, typed.validation), Path(typed.out)
    learned: dict[str, list[Learned]] = {name: [] for name in scenarios}
    trainings = [(seed, name) for seed in range(typed.seeds) for name in scenarios]
    rows: list[Standing] = []
    with Workers(typed.workers) as workers:
        with tqdm(trainings, desc="training", disable=not sys.stderr.isatty()) as bar:
            for seed, name in bar:
                say = bar.set_postfix_str
                learned[name].append(learn(scenarios[name], seed, budget, out / "training", workers, say))
        with tqdm(scenarios.items(), desc="test", disable=not sys.stderr.isatty()) as bar:
            for name, scenario in bar:
                header = {"scenario": name, "config_hash": scenario_hash(scenario), **vars(budget)}
                record = Record(out / f"{name}.json", header | {"protocol": protocol.name})
                meeting = meet(scenario, rules, learned[name], protocol, record, workers, bar.set_postfix_str)
                rows.append(standing(name, meeting, learned[name], protocol))
    print(standings_text(rows))
    if typed.docs:
        docs, images = Path(typed.docs), Path(typed.docs) / "images"
        images.mkdir(parents=True, exist_ok=True)
        write_page(rows, protocol, budget, typed.seeds, docs / "leaderboard.md")
        draw_standings(rows, images / "leaderboard.png")
    if typed.ship:
        for name, found in learned.items():
            ship(scenarios[name], found, budget, Path(typed.ship))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Train on scenarios, and meet every rule on test episodes."
    )
    parser.add_argument(
        "--scenario", action="append", default=[], help="only this one; may be repeated (default: benchmarks)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of training (default: 5)")
    parser.add_argument("--generations", type=int, default=8, help="of the search of feedback (default: 8)")
    parser.add_argument("--validation", type=int, default=40, help="episodes by which searches choose (default: 40)")
    parser.add_argument("--out", default="runs/leaderboard", help="folder that holds what has been done")
    parser.add_argument(
        "--workers", type=int, default=min(MOST_WORKERS, os.cpu_count() or 1), help="processes (default: at most 2)"
    )
    parser.add_argument("--docs", metavar="FOLDER", help="write leaderboard.md and images/leaderboard.png there")
    parser.add_argument(
        "--ship", metavar="FOLDER", help="write the policy of the best training seed by validation there"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
