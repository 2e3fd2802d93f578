"""What requests, layers and calls cost: `python -m benchmarks.layers [--output FILE.json]`; needs valgrind.

The engine runs the same sixteen replicas at twenty requests per second in ticks of one second, each time with one more
layer switched on alone, then with all of them. `sessions` are the same requests as calls of closed loops whose prompts
repeat each other, beside the prefix cache alone. Requests and ticks share the cost. Calls follow: a step of 64 fleets
with observation, reward and infos, without any layer and with all; a reset and the drawing of an episode without any.

Instructions are counted by callgrind, so the figures do not depend on how busy the machine is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenarios import LAYERS, as_sessions, sixteen_replicas
from benchmarks.yardstick import report
from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.vector import FleetVectorEnv

TICKS = 600
NUM_ENVS, REPEATS = 64, 20
RATE_RPS = 20.0
NOTHING, SESSIONS, EVERYTHING = "none of them", "sessions", "all of them"


def settings() -> dict[str, tuple[str, ...]]:
    """Name of a row -> the layers that it switches on."""
    alone = {name: (name,) for name in LAYERS}
    return {NOTHING: (), **alone, SESSIONS: ("prefix cache",), EVERYTHING: tuple(LAYERS)}


def run_under_callgrind(folder: Path) -> list[dict[str, Any]]:
    """Rows of the table, counted in a process of its own: instructions of each request or call."""
    counts_file = folder / "counts.json"
    # Drawing and building run uncounted, many times as fast.
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/count"]
    worker = [sys.executable, "-m", "benchmarks.layers", "--worker", str(counts_file)]
    subprocess.run([*command, *worker], check=True, stderr=subprocess.PIPE)
    counts = json.loads(counts_file.read_text(encoding="utf-8"))
    rows = []
    dumping = _instructions(folder, 1)
    for number, (name, count) in enumerate(counts.items(), start=2):
        rows.append({"measure": name, "each": (_instructions(folder, number) - dumping) / count})
    return rows


def _instructions(folder: Path, number: int) -> int:
    """Instructions of the piece of work with this number, counting from 1, between its two dumps."""
    dump = (folder / f"count.{2 * number}").read_text(encoding="utf-8")
    return int(next(line for line in dump.splitlines() if line.startswith("summary:")).split()[1])


def work(counts_file: Path) -> None:
    """Count the instructions of doing nothing, then those of everything; write how many requests or calls each had."""
    _count(lambda: None)
    counts = {**serve(), **call()}
    counts_file.write_text(json.dumps(counts), encoding="utf-8")


def serve() -> dict[str, int]:
    """Simulate every setting; requests of each."""
    served = {}
    for name, layers in settings().items():
        scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=TICKS, stream="poisson", layers=layers)
        arrays = FleetArrays.from_scenario(scenario)
        engine, episode = make_engine("native", arrays, 1), sample_episode(scenario, 0)
        if name in (SESSIONS, EVERYTHING):
            episode = replace(episode, requests=as_sessions(episode.requests, RATE_RPS))
        controls = Controls.neutral(1, arrays.route_mask.astype(float))
        engine.reset(0, episode)

        def steps(engine: Engine = engine, controls: Controls = controls) -> None:
            for _ in range(TICKS):
                engine.step(controls)

        _count(steps)
        served[name] = int(np.isfinite(engine.request_log(0).asked_s).sum())
    return served


def call() -> dict[str, int]:
    """Call the environment; calls of each kind."""
    scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=TICKS, stream="poisson")
    engine, episode = make_engine("native", FleetArrays.from_scenario(scenario), 1), sample_episode(scenario, 0)

    def resets() -> None:
        for _ in range(REPEATS):
            engine.reset(0, episode)

    def draws() -> None:
        for _ in range(REPEATS):
            sample_episode(scenario, 0)

    calls: dict[str, Callable[[], None]] = {
        f"step of {NUM_ENVS} environments": steps_of(()),
        f"step of {NUM_ENVS} environments, {EVERYTHING}": steps_of(tuple(LAYERS)),
        f"reset to {len(episode.requests):,} requests": resets,
        "drawing of these": draws,
    }
    for do in calls.values():
        do()  # what only the first call makes does not count
        _count(do)
    return dict.fromkeys(calls, REPEATS)


def steps_of(layers: tuple[str, ...]) -> Callable[[], None]:
    """What lets environments with these layers step on."""
    scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=TICKS, stream="poisson", layers=layers)
    env = FleetVectorEnv(scenario, NUM_ENVS)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape or (), np.float32)

    def steps() -> None:
        for _ in range(REPEATS):
            env.step(action)

    return steps


def _count(do: Callable[[], None]) -> None:
    """Count the instructions of something between two dumps of callgrind's counters."""
    _control("-i", "on")
    _control("-d")
    do()
    _control("-d")
    _control("-i", "off")


def _control(*order: str) -> None:
    subprocess.run(["callgrind_control", *order, str(os.getpid())], check=True, capture_output=True)


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker)
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind counts the instructions; on Debian or Ubuntu: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        measured = run_under_callgrind(Path(folder))
    none = measured[0]["each"]
    rows: list[dict[str, object]] = [
        {
            "measure": row["measure"],
            "of": "request" if row["measure"] in settings() else "call",
            "instructions": row["each"],
            "more than none": row["each"] - none if row["measure"] in settings() else float("nan"),
        }
        for row in measured
    ]
    report("Instructions, native engine", rows, arguments.output)


if __name__ == "__main__":
    main()
