"""Command lines that train and tune policies for the leaderboard, and running one once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.leaderboard.budget import Budget

PROGRESS = ("snapshots", "search.json")
"""What a run of train.py or tune.py goes on from."""


def correction_command(
    scenario: Scenario, experiment: str, base: str, limit_s: float, seed: int, episodes: int, folder: Path
) -> list[str]:
    """The training of the corrections of a policy by name or file, within a limit on seconds above a cap."""
    steps = episodes * scenario.horizon_ticks
    return [
        "train.py", f"experiment={experiment}", f"scenario={scenario.name}", f"policy.base={base}", f"seed={seed}",
        f"total_timesteps={steps}", f"validation.every={max(steps // 8, 1)}", f"limits.above_cap_s={limit_s}",
        f"hydra.run.dir={folder}",
    ]  # fmt: skip


def tuning_command(scenario: Scenario, rule: str, budget: Budget, workers: int, folder: Path) -> list[str]:
    """The tuning of a rule's numbers, by the budget that tune.py gives everyone."""
    return [
        "tune.py", f"policy={rule}", f"scenario={scenario.name}", f"validation.episodes={budget.episodes}",
        f"workers={workers}", f"hydra.run.dir={folder}",
    ]  # fmt: skip


def run_once(command: list[str], folder: Path) -> None:
    """Run a command, or go on with the run in its folder, unless that run is complete.

    Raises:
        SpecError: it failed.
    """
    manifest = folder / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["status"] == "complete":
        return
    begun = any((folder / name).exists() for name in PROGRESS)
    arguments = [f"resume={folder}"] if begun else command[1:]
    module = f"tokenfleet.{Path(command[0]).stem}"
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SpecError([f"{' '.join(command)}: {line}" for line in done.stderr.splitlines()[-3:]])
