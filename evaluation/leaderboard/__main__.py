"""`python -m tokenfleet.evaluation.leaderboard`; see the package."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import VALIDATION_EPISODES, Budget
from tokenfleet.evaluation.leaderboard.cells import CellMeasurement, Cells, choosing_cells, validation_cells
from tokenfleet.evaluation.leaderboard.figure import draw_curves, draw_standings
from tokenfleet.evaluation.leaderboard.filing import StandingFiles
from tokenfleet.evaluation.leaderboard.learning import Learned, TrainingSeed
from tokenfleet.evaluation.leaderboard.meeting import Meeting, meet
from tokenfleet.evaluation.leaderboard.page import standings_text, write_page
from tokenfleet.evaluation.leaderboard.rivals import Field, field_of
from tokenfleet.evaluation.leaderboard.shipping import ship
from tokenfleet.evaluation.leaderboard.standings import Standing, standing
from tokenfleet.evaluation.protocol import Protocol, load_protocol
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers

COMMAND = "python -m tokenfleet.evaluation.leaderboard"
MOST_WORKERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _run(typed))


def _run(typed: argparse.Namespace) -> None:
    for name, least in (("seeds", 1), ("workers", 1), ("generations", 1), ("corrections", 2), ("validation", 2)):
        if getattr(typed, name) < least:
            raise SpecError([f"--{name}: must be at least {least} (got {getattr(typed, name)})"])
    protocol = load_protocol()
    if not (names := typed.scenario or protocol.benchmarks):
        raise SpecError([f"--scenario: {protocol.name} has no benchmark; name a scenario"])
    scenarios = {name: load_scenario(name) for name in names}
    budget, out = Budget(typed.generations, typed.corrections, typed.validation), Path(typed.out)
    files = StandingFiles(Path(typed.docs), budget, protocol) if typed.docs else None
    with Workers(typed.workers) as workers, tqdm(scenarios.items(), disable=not sys.stderr.isatty()) as bar:
        for name, scenario in bar:
            bar.set_description_str(name)
            learned, meeting, field = _one(scenario, typed.seeds, budget, protocol, out, workers, bar.set_postfix_str)
            row = standing(name, meeting, learned, protocol)
            print(standings_text([row]), flush=True)
            if typed.ship:
                ship(scenario, learned, meeting, field.tuned, budget, protocol, Path(typed.ship))
            if files:
                files.keep(row, scenario)
    if files:
        shown = {name: load_scenario(name) for name in protocol.benchmarks} | scenarios
        _write_docs(files.rows(shown.values()), protocol, budget, Path(typed.docs))


def _write_docs(rows: Sequence[Standing], protocol: Protocol, budget: Budget, docs: Path) -> None:
    """The page and its figures."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    write_page(rows, protocol, budget, docs / "leaderboard.md")
    draw_standings(rows, docs / "images" / "leaderboard.png")
    draw_curves(rows, docs / "images" / "learning-curves.png")


def _one(
    scenario: Scenario,
    seeds: int,
    budget: Budget,
    protocol: Protocol,
    out: Path,
    workers: Workers,
    say: Callable[[str], None],
) -> tuple[list[Learned], Meeting, Field]:
    """One scenario, from its rules to the test episodes: what was learned, how all met, and the rules."""
    header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), **vars(budget)}
    record = MeasurementFile(out / f"{scenario.name}.json", header | {"protocol": protocol.name})
    validation = validation_cells(scenario, budget.episodes, record, workers, say)
    field = field_of(scenario, budget, out, validation)
    choosing = choosing_cells(scenario, budget.episodes, record, workers, say)
    learned = []
    for seed in range(seeds):
        training = TrainingSeed(scenario, seed, budget, out / "training", workers, partial(_of_seed, say, seed))
        learned.append(training.learn(field.choices, field.measured, field.base, choosing))
    test = Cells(CellMeasurement(scenario, protocol.episodes, protocol.seed, protocol.split), "", record, workers, say)
    return learned, meet(field.rules, learned, test), field


def _of_seed(say: Callable[[str], None], seed: int, what: str) -> None:
    say(f"seed {seed}: {what}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Train on scenarios, and meet every rule on test episodes."
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        help="only this one; may be repeated (default: benchmarks)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="of training (default: 5)")
    parser.add_argument("--generations", type=int, default=8, help="of the search of feedback (default: 8)")
    parser.add_argument(
        "--corrections", type=int, default=2560, help="training episodes of corrections (default: 2560)"
    )
    parser.add_argument(
        "--validation",
        type=int,
        default=VALIDATION_EPISODES,
        help=f"episodes by which all is chosen (default: {VALIDATION_EPISODES})",
    )
    parser.add_argument("--out", default="runs/leaderboard", help="folder that holds what has been done")
    parser.add_argument(
        "--workers", type=int, default=min(MOST_WORKERS, os.cpu_count() or 1), help="processes (default: at most 2)"
    )
    parser.add_argument(
        "--docs",
        metavar="FOLDER",
        help="write standings/SCENARIO.json there, and leaderboard.md and images/leaderboard.png from all standings",
    )
    parser.add_argument(
        "--ship",
        metavar="FOLDER",
        help="write the best learned policy and constants by validation, and the tuned rules, there",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
