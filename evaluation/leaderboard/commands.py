"""Command lines that train and tune policies for the leaderboard, and running one once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError, shown
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.policy_files import is_file_choice

PROGRESS = ("snapshots", "search.json")
"""What a run of train.py or tune.py goes on from."""
WITHOUT_EFFECT = ("hydra.run.dir", "workers")
"""Keys that no result depends on."""
ASKED_SUFFIX = ".asked.json"


def correction_command(
    scenario: Scenario,
    experiment: str,
    base: str,
    limits: Mapping[str, float],
    seed: int,
    episodes: int,
    folder: Path,
) -> list[str]:
    """The training of the corrections of a policy by name or file, within `limits` of train.py by key."""
    steps = episodes * scenario.horizon_ticks
    return [
        "train.py", f"experiment={experiment}", f"scenario={scenario.name}", f"policy.base={base}", f"seed={seed}",
        f"total_timesteps={steps}", f"validation.every={max(steps // 8, 1)}",
        *(f"limits.{key}={value}" for key, value in limits.items()), f"hydra.run.dir={folder}",
    ]  # fmt: skip


def tuning_command(scenario: Scenario, rule: str, validation_episodes: int, workers: int, folder: Path) -> list[str]:
    """The tuning of a rule's numbers, by the budget that tune.py gives everyone."""
    return [
        "tune.py", f"policy={rule}", f"scenario={scenario.name}", f"validation.episodes={validation_episodes}",
        f"workers={workers}", f"hydra.run.dir={folder}",
    ]  # fmt: skip


def run_once(command: list[str], scenario: Scenario, folder: Path) -> None:
    """Run a command, or go on with the run in its folder, unless that run is complete.

    What was asked for stands beside the folder.

    Args:
        command: of train.py or tune.py, whose `hydra.run.dir` is `folder`.
        scenario: that the command names.
        folder: of the run.

    Raises:
        SpecError: the run in the folder is of another command, scenario or base, or the command failed.
    """
    _claim(folder, {"config_hash": scenario_hash(scenario), **_deciding(command)})
    manifest = folder / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["status"] == "complete":
        return
    begun = any((folder / name).exists() for name in PROGRESS)
    arguments = [f"resume={folder}"] if begun else command[1:]
    module = f"tokenfleet.{Path(command[0]).stem}"
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SpecError([f"{' '.join(command)}: {line}" for line in done.stderr.splitlines()[-3:]])


def _claim(folder: Path, asked: Mapping[str, str]) -> None:
    """Note what a run is of, unless the folder holds a run: that must be of the same."""
    note = folder.with_name(f"{folder.name}{ASKED_SUFFIX}")
    if not folder.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        replace_file(note, json.dumps(asked, indent=1).encode())
        return
    if not note.exists():
        raise SpecError([f"{folder}: holds a run, but no {note.name} beside it says of what; delete the folder"])
    before = json.loads(note.read_text(encoding="utf-8"))
    for key in sorted({*before, *asked}):
        if before.get(key) != asked.get(key):
            change = f"{key} {shown(before.get(key))}, not {shown(asked.get(key))}"
            raise SpecError([f"{folder}: holds a run of {change}; delete the folder to train again"])


def _deciding(command: list[str]) -> dict[str, str]:
    """The arguments that decide what a run comes to, by key; files of policies by their contents."""
    typed = dict(argument.split("=", 1) for argument in command[1:])
    return {
        key: policy_hash(value) if is_file_choice(value) else value
        for key, value in typed.items()
        if key not in WITHOUT_EFFECT
    }
