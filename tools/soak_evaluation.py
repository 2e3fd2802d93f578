"""Kill evaluations at random moments, go on with them, and hold what comes out to an evaluation that nobody killed.

    python -m tools.soak_evaluation --kills 100 --seed 0

Nothing may be lost: an episode that is done stays done, and the results are equal to the bit. One line says how it
went; the exit status is 1 on any loss.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenfleet.configs.evaluations import JOURNAL_FILE
from tokenfleet.configs.lock import LOCK_FILE
from tokenfleet.configs.manifest import COMPLETE, MANIFEST_FILE, read_manifest
from tokenfleet.configs.runs import CONFIG_FILE
from tokenfleet.evaluation.journal import Journal

EVALUATION = (
    "scenario=tiny",
    "policies=[least_work,random,greedy_efficiency]",
    "episodes=12",
    "n_envs=2",
    "scenario.horizon_ticks=60",
)
"""Many small batches, of planners and of a policy that draws."""

LOG_FILE = "evaluate.log"
_STARTING_SHARE = 0.2
"""How many of the kills come while the process is still starting."""


@dataclass
class Soak:
    """What the kills came to.

    Attributes:
        kills: processes that were killed.
        at_work: those of them that had begun to work.
        finished: evaluations that came to their end.
        losses: what was lost, in words.
    """

    kills: int = 0
    at_work: int = 0
    finished: int = 0
    losses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """How long an evaluation that nobody kills starts and works [s]."""

    starting_s: float
    working_s: float


def soak(kills: int, seed: int, scratch: Path) -> Soak:
    """Kill so many evaluations.

    Args:
        kills: how many, with SIGKILL.
        seed: of the moments.
        scratch: an empty folder.
    """
    draw = random.Random(seed)
    whole = scratch / "whole"
    pace = _run(whole)
    found = Soak()
    while found.kills < kills:
        folder = scratch / f"cut{found.finished}"
        _finish_with_kills(folder, kills, pace, draw, found)
        found.finished += 1
        found.losses += [f"{folder.name}: {name} differs" for name in differences(results(whole), results(folder))]
        shutil.rmtree(folder)
    return found


def differences(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> list[str]:
    """Names of files that only one of two folders has, or that differ in a bit."""
    return sorted(name for name in {**first, **second} if first.get(name) != second.get(name))


def results(folder: Path) -> dict[str, bytes]:
    """The files of an evaluation, without hidden ones and the records of when and how it ran."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST_FILE, LOG_FILE)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.startswith(".")}


def _finish_with_kills(folder: Path, most: int, pace: Pace, draw: random.Random, found: Soak) -> None:
    """Start an evaluation and kill it until it is through, or enough are killed."""
    done = 0
    while not _is_complete(folder):
        if found.kills >= most:
            _run(folder)
            return
        at_work = draw.random() > _STARTING_SHARE
        delay_s = draw.uniform(0.0, pace.working_s if at_work else pace.starting_s)
        if _run_and_kill(folder, at_work, delay_s):
            found.kills += 1
            found.at_work += at_work
        if not _is_complete(folder):
            before, done = done, Journal(folder / JOURNAL_FILE).episodes
            if done < before:
                found.losses.append(f"{folder.name}: {before - done} episodes that were done are lost")


def _run(folder: Path) -> Pace:
    """Evaluate to the end."""
    start_s = time.monotonic()
    process = _start(folder)
    _wait_for_work(folder, process)
    working_s = time.monotonic()
    if process.wait() != 0:
        raise RuntimeError(f"the evaluation in {folder} ended with status {process.returncode}")
    return Pace(working_s - start_s, time.monotonic() - working_s)


def _run_and_kill(folder: Path, at_work: bool, delay_s: float) -> bool:
    """Evaluate, and kill the process so long after it has begun to work, or after its start; False if it was faster."""
    process = _start(folder)
    if at_work:
        _wait_for_work(folder, process)
    try:
        status = process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        status = process.wait()
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the evaluation in {folder} ended with status {status}")
    return status != 0


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin an evaluation, or go on with it, as a person would."""
    (folder / LOCK_FILE).unlink(missing_ok=True)  # of a process that is dead, so that the next one's shows its work
    begun = (folder / CONFIG_FILE).exists()
    arguments = (f"resume={folder}",) if begun else (*EVALUATION, f"hydra.run.dir={folder}")
    return subprocess.Popen([sys.executable, "-m", "tokenfleet.evaluate", *arguments], stdout=subprocess.DEVNULL)


def _wait_for_work(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until an evaluation has locked its folder; episodes follow at once."""
    while not (folder / LOCK_FILE).exists() and process.poll() is None:
        time.sleep(0.002)


def _is_complete(folder: Path) -> bool:
    return read_manifest(folder).get("status") == COMPLETE


def main() -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-evaluation-") as scratch:
        found = soak(arguments.kills, arguments.seed, Path(scratch))
    print("\n".join(found.losses), file=sys.stderr, end="\n" if found.losses else "")
    print(
        f"evaluation: {found.kills} kills, {found.at_work} of them at work, {found.finished} evaluations finished, "
        f"{len(found.losses)} losses"
    )
    return 1 if found.losses else 0


if __name__ == "__main__":
    sys.exit(main())
