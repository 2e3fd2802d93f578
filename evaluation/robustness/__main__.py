"""`python -m tokenfleet.evaluation.robustness`; see the package."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, ShiftSpec, load_scenario, shifted
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.robustness.episodes import ShiftedEpisodes
from tokenfleet.evaluation.robustness.figure import draw_cells
from tokenfleet.evaluation.robustness.matrix import AS_TRAINED, Cell, cell
from tokenfleet.evaluation.robustness.page import cell_text, write_page
from tokenfleet.evaluation.robustness.rivals import constants_name, learned_name, rules_of, scenarios_with_rivals
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.learned.identity import policy_hash

COMMAND = "python -m tokenfleet.evaluation.robustness"
MOST_WORKERS = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _run(typed))


def _run(typed: argparse.Namespace) -> None:
    for name, least in (("episodes", 2), ("workers", 1)):
        if getattr(typed, name) < least:
            raise SpecError([f"--{name}: must be at least {least} (got {getattr(typed, name)})"])
    names = typed.scenario or scenarios_with_rivals()
    rules = {name: rules_of(name) for name in names}
    shifts = [
        ShiftSpec.parse(load_entry("shift", name), name) for name in typed.shift or sorted(catalog_names("shift"))
    ]
    measure, cells = ShiftedEpisodes(load_protocol(), typed.episodes), list[Cell]()
    with Workers(typed.workers) as workers, tqdm(rules.items(), disable=not sys.stderr.isatty()) as bar:
        for name, some in bar:
            bar.set_description_str(name)
            found = _of_scenario(name, some, shifts, measure, Path(typed.out), workers, bar)
            cells += found
            print("\n".join(cell_text(one) for one in found), flush=True)
    if typed.docs:
        images = Path(typed.docs) / "images"
        images.mkdir(parents=True, exist_ok=True)
        write_page(cells, shifts, typed.episodes, Path(typed.docs) / "robustness.md")
        draw_cells(cells, images / "robustness.png")


def _of_scenario(
    name: str,
    rules: Sequence[str],
    shifts: Sequence[ShiftSpec],
    measure: ShiftedEpisodes,
    out: Path,
    workers: Workers,
    bar: tqdm[Any],
) -> list[Cell]:
    """One scenario as it is and under every shift that changes it."""
    trained = load_scenario(name)
    places = {AS_TRAINED: trained} | {shift.name: shifted(trained, shift) for shift in shifts}
    places = {shift: place for shift, place in places.items() if shift == AS_TRAINED or place != trained}
    policies = [learned_name(name), constants_name(name), *rules]
    header = {"scenario": name, "config_hash": scenario_hash(trained), "episodes": measure.episodes}
    record = MeasurementFile(out / f"{name}.json", header | {"protocol": measure.protocol.name})
    tasks = {_key(place, policy): (place, policy) for place in places.values() for policy in policies}
    missing = [key for key in tasks if key not in record.names()]
    for first in range(0, len(missing), workers.count):
        some = missing[first : first + workers.count]
        bar.set_postfix_str(f"{first} of {len(missing)}")
        for key, done in zip(some, workers.map(measure, [tasks[key] for key in some]), strict=True):
            record.keep(key, done)

    def measured(place: Scenario) -> Mapping[str, Any]:
        return {policy: record.measured(_key(place, policy)) for policy in policies}

    told = {shift: measured(place) for shift, place in places.items()}
    changing = [shift for shift in told if shift == AS_TRAINED or told[shift] != told[AS_TRAINED]]
    return [cell(name, shift, told[shift], rules) for shift in changing]


def _key(place: Scenario, policy: str) -> str:
    """By the contents of scenario and policy: a changed one is measured anew."""
    return f"{scenario_hash(place)}/{policy}@{policy_hash(policy)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Meet learned policies and rules under shifts.")
    parser.add_argument("--scenario", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--shift", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--episodes", type=int, default=50, help="of test (default: 50)")
    parser.add_argument("--out", default="runs/robustness", help="folder that holds what has been measured")
    parser.add_argument(
        "--workers", type=int, default=min(MOST_WORKERS, os.cpu_count() or 1), help="processes (default: at most 2)"
    )
    parser.add_argument("--docs", metavar="FOLDER", help="write robustness.md and images/robustness.png there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
