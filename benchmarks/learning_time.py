"""How long a training seed of the leaderboard learns: `python -m benchmarks.learning_time [--scenario NAME]`.

The leaderboard's own minutes hold the control too: constants that are searched on for as many episodes as the policy
learns from. This command trains one seed anew, with one worker, and tells the processor time of what the policy is
learned by (first constants, feedback, corrections, the choices among them) apart from the time of the control. Rules
and their tuned numbers are read from the folder of the leaderboard, or measured there first; they do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import VALIDATION_EPISODES, Budget
from tokenfleet.evaluation.leaderboard.cells import choosing_cells, validation_cells
from tokenfleet.evaluation.leaderboard.learning import TrainingSeed
from tokenfleet.evaluation.leaderboard.rivals import Field, field_of
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.search import FURTHER

BUDGET = Budget(generations=8, correction_episodes=2560, episodes=VALIDATION_EPISODES)
"""That of the published leaderboard."""


@dataclass(frozen=True)
class LearningTime:
    """Processor time of one training seed, one worker.

    Attributes:
        method: that validation chose.
        learning_s: of everything that the policy is learned by.
        control_s: of the constants that are searched on.
    """

    method: str
    learning_s: float
    control_s: float


class Clock:
    """Divides processor time, that of finished child processes included, by what a training says that it begins.

    Attributes:
        learning_s, control_s: so far, up to what began last.
    """

    def __init__(self) -> None:
        self.learning_s, self.control_s = 0.0, 0.0
        self._before_s, self._constants_are_chosen, self._is_control = processor_s(), False, False

    def begins(self, what: str) -> None:
        """Something else begins: the time since then belongs to what began before.

        The search of constants goes on as the control once the constants that feedback goes on from are chosen.
        """
        self._passed()
        is_further = what.startswith(FURTHER)
        self._is_control = is_further and self._constants_are_chosen
        self._constants_are_chosen |= is_further and what.endswith("choice")

    def _passed(self) -> None:
        now_s = processor_s()
        if self._is_control:
            self.control_s += now_s - self._before_s
        else:
            self.learning_s += now_s - self._before_s
        self._before_s = now_s


def processor_s() -> float:
    """Processor time of this process and of its children that have ended [s]."""
    return sum(os.times()[:4])


def learning_time(scenario: Scenario, seed: int, field: Field, folder: Path) -> LearningTime:
    """Train one seed in an empty folder.

    Args:
        scenario: to train in.
        seed: of the training.
        field: the rules there.
        folder: for what is trained.
    """
    clock = Clock()
    with Workers(1) as alone:
        record = MeasurementFile(folder / "choice.json", {"scenario": scenario.name})
        choosing = choosing_cells(scenario, BUDGET.episodes, record, alone, clock.begins)
        training = TrainingSeed(scenario, seed, BUDGET, folder, alone, clock.begins)
        learned = training.learn(field.choices, field.measured, field.base, choosing)
    clock.begins("end")
    return LearningTime(learned.best, clock.learning_s, clock.control_s)


def _measured(scenario: Scenario, seed: int, rules: Path, out: Path) -> LearningTime:
    """From its file, if that is there."""
    path = out / f"{scenario.name}-{scenario_hash(scenario)}-{seed}.json"
    if path.exists():
        return LearningTime(**json.loads(path.read_text(encoding="utf-8")))
    with Workers(1) as alone:
        header = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), **vars(BUDGET)}
        record = MeasurementFile(rules / f"{scenario.name}.json", header | {"protocol": load_protocol().name})
        cells = validation_cells(scenario, BUDGET.episodes, record, alone, lambda what: None)
        field = field_of(scenario, BUDGET, rules, cells)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        found = learning_time(scenario, seed, field, Path(folder))
    replace_file(path, json.dumps(asdict(found), indent=1).encode())
    return found


def _run(typed: argparse.Namespace) -> None:
    print("| scenario | chosen | learning, minutes | control, minutes |\n|---|---|---|---|")
    for name in typed.scenario or load_protocol().benchmarks:
        one = _measured(load_scenario(name), typed.seed, Path(typed.rules), Path(typed.out))
        print(f"| `{name}` | {one.method} | {one.learning_s / 60:.1f} | {one.control_s / 60:.1f} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", default=[], help="may be repeated (default: benchmarks)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")
    parser.add_argument("--rules", default="runs/leaderboard", help="folder of the leaderboard")
    parser.add_argument("--out", default="runs/learning-time", help="folder of what has been measured")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _run(typed))


if __name__ == "__main__":
    sys.exit(main())
