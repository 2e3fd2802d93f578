"""Tuned numbers of main rules for other scenarios: `python -m tokenfleet.evaluation.leaderboard.tuned_sets`.

Benchmarks get tuned rules from the leaderboard, all other scenarios here, by the same budget of `tune.py`. The same
command goes on with what `--out` holds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.leaderboard.budget import VALIDATION_EPISODES
from tokenfleet.evaluation.leaderboard.commands import run_once, tuning_command
from tokenfleet.evaluation.leaderboard.shipping import ship_policy
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.policies.policy_files import resolved, tuned_name

COMMAND = "python -m tokenfleet.evaluation.leaderboard.tuned_sets"
MAIN_RULES = ("operator", "supervisor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Tune main rules for scenarios, and ship their numbers.")
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        help="only this one; may be repeated (default: all but benchmarks)",
    )
    parser.add_argument(
        "--rule", action="append", default=[], help=f"may be repeated (default: {' and '.join(MAIN_RULES)})"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/tuned_sets"), help="folder of the runs of tune.py")
    parser.add_argument("--ship", type=Path, required=True, metavar="FOLDER", help="gets tuned/SCENARIO/RULE.yaml")
    typed = parser.parse_args(arguments)
    return exit_status(
        lambda: _run(typed.scenario or _others(), typed.rule or MAIN_RULES, typed.workers, typed.out, typed.ship)
    )


def _others() -> list[str]:
    """The shipped scenarios that are no benchmarks."""
    return sorted(set(catalog_names("scenario")) - set(load_protocol().benchmarks))


def _run(names: Sequence[str], rules: Sequence[str], workers: int, out: Path, ship: Path) -> None:
    for scenario in [load_scenario(name) for name in names]:
        for rule in rules:
            run = out / f"{scenario.name}-{rule}"
            command = tuning_command(scenario, rule, VALIDATION_EPISODES, workers, run)
            run_once(command, scenario, run)
            typed = " ".join(["python", *(part for part in command if "workers" not in part and "run.dir" not in part)])
            found = {"command": typed, "method": "tuned rule", "seed": 0}
            name = tuned_name(scenario.name, rule)
            ship_policy(ship / name, scenario, resolved(str(run / "tuned.yaml")), found)
            print(name, flush=True)


if __name__ == "__main__":
    sys.exit(main())
