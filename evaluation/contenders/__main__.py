"""`python -m tokenfleet.evaluation.contenders`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import cell_name, contenders, measure_cell, measure_decision_ms
from tokenfleet.evaluation.contenders.figure import draw_matrix
from tokenfleet.evaluation.contenders.matrix import ResultMatrix
from tokenfleet.evaluation.contenders.page import write_page
from tokenfleet.evaluation.contenders.searched import best_known, tuned_rules
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.policies.registry import Choice

COMMAND = "python -m tokenfleet.evaluation.contenders"
TIMED_ON = "default"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _run(typed))


def _run(typed: argparse.Namespace) -> None:
    if typed.episodes < 2:
        raise SpecError([f"--episodes: must be at least 2 (got {typed.episodes})"])
    specs = map(load_scenario, typed.scenario or sorted(catalog_names("scenario")))
    scenarios = {spec.name: spec for spec in specs}
    names = contenders(typed.policy)
    record = MeasurementFile(Path(typed.out), {"episodes": typed.episodes, "seed": typed.seed, "split": "validation"})
    timed = load_scenario(TIMED_ON)
    searched = [one for spec in scenarios.values() for one in (*tuned_rules(spec), *best_known(spec))]
    cells: list[tuple[str, str, Choice]] = [(scenario, name, name) for scenario in scenarios for name in names]
    cells += [(one.scenario, one.cell, one.choice) for one in searched]
    with tqdm(cells, disable=not sys.stderr.isatty()) as bar:
        for scenario, name, choice in bar:
            bar.set_description_str(f"{scenario} {name}")
            spec = scenarios[scenario]
            record.once(cell_name(spec, name), lambda: measure_cell(spec, choice, typed.episodes, typed.seed))  # noqa: B023
    for name in names:
        record.once(f"decision_ms/{name}", lambda: measure_decision_ms(timed, name))  # noqa: B023
    matrix = ResultMatrix.of(record, scenarios, names, searched, typed.episodes, typed.seed)
    print(matrix.text())
    if typed.docs:
        folder = Path(typed.docs)
        write_page(matrix, folder / "controllers.md")
        draw_matrix(matrix, folder / "images" / "controllers.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Run every shipped policy on every shipped scenario.")
    parser.add_argument("--scenario", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--policy", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--episodes", type=int, default=8, help="of validation (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes (default: 0)")
    parser.add_argument("--out", default="runs/contenders.json", help="holds what has been measured")
    parser.add_argument("--docs", metavar="FOLDER", help="write controllers.md and images/controllers.png there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
