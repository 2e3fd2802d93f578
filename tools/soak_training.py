"""Kill trainings at random moments, resume them, and compare what they leave with runs that nobody killed.

`python -m tools.soak_training --kills 100 --seed 0 --algo ppo,sac`. Every kill is a SIGKILL at a moment that is drawn
evenly over the length of a run; now and then a byte of the newest of two snapshots is changed before the run goes on.
A run is lost if it does not go on, or if it ends with other weights, checkpoints or rows of `progress.csv`. Afterwards
single bytes of the files of snapshots and checkpoints are changed, and each change must be noticed and its file named.
The exit status is 1 if anything was lost or missed.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.resume import Snapshots
from tools.forked_runs import finish, is_complete, kill_when, last_line, load_libraries

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "ppo": ("total_timesteps=4096", "algo.n_steps=64", "algo.batch_size=128"),
    "sac": (
        "total_timesteps=1200",
        "algo.learning_starts=200",
        "algo.batch_size=64",
        "algo.gradient_steps=1",
        "algo.policy_kwargs.net_arch.pi=[32]",
        "algo.policy_kwargs.net_arch.qf=[32]",
    ),
    "cma_es": ("total_timesteps=14400", "algo.episodes=1"),
    "dagger": ("total_timesteps=4800", "algo.gradient_steps=50"),
}
"""What makes a run of an algorithm one of a few seconds with many updates."""

EVERY_RUN = (
    "scenario=tiny",
    "n_envs=8",
    "validation.every=700",
    "validation.episodes=2",
    "log_every=512",
    "snapshot_every=300",
    "tracking=none",
    "algo.normalize.norm_obs=true",
)
COMPARED = tuple(
    f"checkpoints/{name}/{file}" for name in ("best", "last") for file in ("policy.safetensors", "meta.json")
)
DAMAGE_SHARE = 0.2
PRELOADED = ["tokenfleet.train", "tokenfleet.policies.learned.training", "sb3_contrib", "torch._dynamo"]
"""What every run would spend its first seconds on."""


@dataclass
class Tally:
    """What was done and what went wrong.

    Attributes:
        kills, runs: killed processes, and the runs that they belonged to.
        damaged_snapshots: newest snapshots that were damaged before a run went on.
        damages: bytes that were changed to see whether the reader notices.
        failures: a line for everything that was lost or missed.
    """

    kills: int = 0
    runs: int = 0
    damaged_snapshots: int = 0
    damages: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, line: str) -> None:
        """Note a failure."""
        self.failures.append(line)
        print(line, flush=True)


def main() -> None:
    """Soak every algorithm that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="over all algorithms")
    parser.add_argument("--damages", type=int, default=200, help="single bytes to change, over all algorithms")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the bytes")
    parser.add_argument("--algo", default="ppo,sac", help=f"any of {','.join(ALGORITHMS)}")
    arguments = parser.parse_args()
    names = arguments.algo.split(",")
    unknown = sorted(set(names) - set(ALGORITHMS))
    if unknown:
        parser.error(f"--algo: unknown {', '.join(unknown)} (choose from {', '.join(ALGORITHMS)})")
    load_libraries(PRELOADED)
    rng, tally = random.Random(arguments.seed), Tally()
    for index, name in enumerate(names):
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            kills, damages = (_share(total, len(names), index) for total in (arguments.kills, arguments.damages))
            soak(name, kills, damages, Path(folder), rng, tally)
    failures = len(tally.failures)
    print(
        f"soak_training (seed {arguments.seed}): {tally.kills} kills in {tally.runs} runs of {', '.join(names)}, "
        f"{tally.damaged_snapshots} with a damaged newest snapshot; {tally.damages} bytes changed; "
        f"{failures} lost or missed"
    )
    sys.exit(1 if failures else 0)


def soak(name: str, kills: int, damages: int, folder: Path, rng: random.Random, tally: Tally) -> None:
    """Kill and resume runs of one algorithm, then damage what they left."""
    arguments = (*EVERY_RUN, f"algo={name}", *ALGORITHMS[name])
    whole = folder / "whole"
    began_s = time.monotonic()
    if finish("train", arguments, whole) != 0:
        tally.fail(f"{name}: the run that nobody kills fails: {last_line(whole)}")
        return
    length_s = time.monotonic() - began_s
    goal = tally.kills + kills
    while tally.kills < goal:
        run = folder / f"run{tally.runs}"
        tally.runs += 1
        difference = _killed_run(arguments, run, goal, length_s, rng, tally) or _difference(whole, run)
        if difference:
            tally.fail(f"{name} after kill {tally.kills}: {difference}")
        shutil.rmtree(run)
    for _ in range(damages):
        tally.damages += 1
        missed = _damage_somewhere(whole, folder / "damaged", rng)
        if missed:
            tally.fail(f"{name}: {missed}")


def _share(total: int, parts: int, index: int) -> int:
    return total // parts + (index < total % parts)


def _killed_run(
    arguments: tuple[str, ...], run: Path, goal: int, length_s: float, rng: random.Random, tally: Tally
) -> str | None:
    """One run, killed again and again until it is complete or enough were killed; why it is lost, or None."""
    while tally.kills < goal:
        if is_complete(run):
            return None
        status = kill_when(lambda process, _: process.join(rng.uniform(0, length_s)), "train", arguments, run)
        if status is None:
            tally.kills += 1
            print(f"\rkill {tally.kills}", end="", file=sys.stderr, flush=True)
            if rng.random() < DAMAGE_SHARE:
                tally.damaged_snapshots += _damage_newest(run, rng)
        elif status == 0:
            return None
        else:
            return f"exit status {status}: {last_line(run)}"
    if is_complete(run):
        return None
    status = finish("train", arguments, run)
    return None if status == 0 else f"exit status {status}: {last_line(run)}"


def _difference(whole: Path, run: Path) -> str | None:
    """In what two complete runs differ; None if in nothing."""
    for name in COMPARED:
        if (whole / name).read_bytes() != (run / name).read_bytes():
            return f"{name} differs"
    return None if _rows(whole) == _rows(run) else "progress.csv differs"


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in csv.DictReader(file)]


def _damage_newest(run: Path, rng: random.Random) -> bool:
    """Change a byte of the newest snapshot if there is one before it; whether it was done."""
    snapshots = sorted(path for path in run.glob("snapshots/*") if path.name.isdigit())
    if len(snapshots) < 2:
        return False
    _change_a_byte(rng.choice(sorted(snapshots[-1].iterdir())), rng)
    return True


def _damage_somewhere(whole: Path, copy: Path, rng: random.Random) -> str | None:
    """Change a byte of a random file of a snapshot or checkpoint and read it; what the reader missed, or None."""
    folders = sorted([*whole.glob("snapshots/*"), *whole.glob("checkpoints/*")])
    source = rng.choice(folders)
    is_snapshot = source.parent.name == "snapshots"
    damaged = copy / source.parent.name / source.name
    shutil.copytree(source, damaged)
    file = rng.choice(sorted(damaged.iterdir()))
    change = _change_a_byte(file, rng)
    read: Callable[[], object] = Snapshots(copy).newest if is_snapshot else lambda: load_policy(damaged)
    try:
        read()
    except SpecError as error:
        return None if str(file) in str(error) else f"{change} was noticed, but the message names another file: {error}"
    finally:
        shutil.rmtree(copy)
    return f"{change} was not noticed"


def _change_a_byte(file: Path, rng: random.Random) -> str:
    """Change one byte to another value; what was changed, in words."""
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= rng.randrange(1, 256)
    file.write_bytes(content)
    return f"byte {place} of {file.parent.parent.name}/{file.parent.name}/{file.name}"


if __name__ == "__main__":
    main()
