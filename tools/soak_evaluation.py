"""Kill evaluations at random moments, resume them, and compare what they leave with an evaluation that nobody killed.

`python -m tools.soak_evaluation --kills 100 --seed 0`. Every kill is a SIGKILL at a moment that is drawn evenly over
the length of an evaluation. Something is lost if an evaluation does not go on, if an episode that was done is not done
any more, or if a file of the results differs in a bit. The exit status is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenfleet.cli.manifest import MANIFEST_FILE
from tokenfleet.cli.runs import JOURNAL_FILE
from tokenfleet.evaluation.journal import Journal
from tools.forked_runs import Wait, finish, is_complete, kill_when, last_line, load_libraries

EVALUATION = (
    "scenario=tiny",
    "policies=[least_work,random,greedy_efficiency]",
    "episodes=12",
    "n_envs=2",
    "scenario.horizon_ticks=60",
)
"""Many small batches, of planners and of a policy that draws."""

LOG_FILE = "evaluate.log"
PRELOADED = ["tokenfleet.evaluate", "pyarrow.parquet", "matplotlib.pyplot", "rich.progress"]
"""What every evaluation would spend its first seconds on."""


@dataclass
class Tally:
    """What was done and what went wrong.

    Attributes:
        kills: processes that were killed.
        kept: those of them that left episodes to go on from.
        evaluations: how many came to their end.
        losses: a line for everything that was lost.
    """

    kills: int = 0
    kept: int = 0
    evaluations: int = 0
    losses: list[str] = field(default_factory=list)


def main() -> None:
    """Soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        tally = soak(arguments.kills, arguments.seed, Path(scratch))
    for line in tally.losses:
        print(line)
    print(
        f"soak_evaluation (seed {arguments.seed}): {tally.kills} kills, {tally.kept} of them with episodes to go on "
        f"from, in {tally.evaluations} evaluations; {len(tally.losses)} lost"
    )
    sys.exit(1 if tally.losses else 0)


def soak(
    kills: int, seed: int, scratch: Path, evaluation: Sequence[str] = EVALUATION, wait: Wait | None = None
) -> Tally:
    """Kill so many evaluations.

    Args:
        kills: how many.
        seed: of the moments.
        scratch: an empty folder.
        evaluation: what `evaluate.py` is told.
        wait: for the moment of a kill; by default for a time that is drawn.

    Raises:
        RuntimeError: an evaluation that nobody kills does not come to its end.
    """
    rng, tally = random.Random(seed), Tally()
    whole = scratch / "whole"
    load_libraries(PRELOADED)
    began_s = time.monotonic()
    _finish(evaluation, whole)
    length_s = time.monotonic() - began_s
    drawn: Wait = lambda process, _: process.join(rng.uniform(0, length_s))  # noqa: E731
    while tally.kills < kills:
        folder = scratch / f"cut{tally.evaluations}"
        _finish_with_kills(evaluation, folder, kills, wait or drawn, tally)
        tally.evaluations += 1
        tally.losses += [f"{folder.name}: {name} differs" for name in differences(results(whole), results(folder))]
        shutil.rmtree(folder)
    return tally


def results(folder: Path) -> dict[str, bytes]:
    """The files of an evaluation, without hidden ones and the records of when and how it ran."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST_FILE, LOG_FILE)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.startswith(".")}


def differences(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> list[str]:
    """Names of files that only one of two folders has, or that differ in a bit."""
    return sorted(name for name in {**first, **second} if first.get(name) != second.get(name))


def _finish_with_kills(evaluation: Sequence[str], folder: Path, most: int, wait: Wait, tally: Tally) -> None:
    """Evaluate, killed again and again until it is through or enough processes are killed."""
    done = 0
    while tally.kills < most and not is_complete(folder):
        status = kill_when(wait, "evaluate", evaluation, folder)
        tally.kills += status is None
        if status:
            tally.losses.append(f"{folder.name}: exit status {status}: {last_line(folder)}")
            return
        if not is_complete(folder):
            before, done = done, Journal(folder / JOURNAL_FILE).episodes
            tally.kept += done > 0
            if done < before:
                tally.losses.append(f"{folder.name}: {before - done} episodes that were done are lost")
    if not is_complete(folder):
        _finish(evaluation, folder)


def _finish(evaluation: Sequence[str], folder: Path) -> None:
    status = finish("evaluate", evaluation, folder)
    if status != 0:
        raise RuntimeError(f"{folder.name}: exit status {status}: {last_line(folder)}")


if __name__ == "__main__":
    main()
