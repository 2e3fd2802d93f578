"""What each layer costs: `python -m benchmarks.layers [--output FILE.json]`; needs valgrind.

The engine runs the same sixteen replicas at twenty requests per second in ticks of one second, each time with one more
layer switched on alone, then with all of them. `sessions` are the same requests as calls of closed loops whose prompts
repeat each other, beside the prefix cache alone. Instructions are counted by callgrind, so the figures do not depend on
how busy the machine is; requests and ticks share the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scenarios import LAYERS, as_sessions, sixteen_replicas
from benchmarks.yardstick import report
from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls

TICKS = 600
RATE_RPS = 20.0
NOTHING, SESSIONS, EVERYTHING = "none of them", "sessions", "all of them"


def settings() -> dict[str, tuple[str, ...]]:
    """Name of a row -> the layers that it switches on."""
    alone = {name: (name,) for name in LAYERS}
    return {NOTHING: (), **alone, SESSIONS: ("prefix cache",), EVERYTHING: tuple(LAYERS)}


def run_under_callgrind(folder: Path) -> list[dict[str, Any]]:
    """Instructions and requests of every setting, counted in a process of its own."""
    requests = folder / "requests.json"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/count", sys.executable]
    subprocess.run([*command, "-m", "benchmarks.layers", "--worker", str(requests)], check=True, stderr=subprocess.PIPE)
    counts = json.loads(requests.read_text(encoding="utf-8"))
    rows = []
    for number, name in enumerate(settings(), start=1):
        dump = (folder / f"count.{2 * number}").read_text(encoding="utf-8")
        instructions = int(next(line for line in dump.splitlines() if line.startswith("summary:")).split()[1])
        rows.append({"setting": name, "instructions": instructions, "requests": counts[name]})
    return rows


def work(requests_file: Path) -> None:
    """Simulate every setting once, with a dump of callgrind's counters before and after."""
    served = {}
    for name, layers in settings().items():
        scenario = sixteen_replicas(RATE_RPS, tick_s=1.0, horizon_ticks=TICKS, stream="poisson", layers=layers)
        arrays = FleetArrays.from_scenario(scenario)
        engine, episode = make_engine("native", arrays, 1), sample_episode(scenario, 0)
        if name in (SESSIONS, EVERYTHING):
            episode = replace(episode, requests=as_sessions(episode.requests, RATE_RPS))
        controls = Controls.neutral(1, arrays.route_mask.astype(float))
        engine.reset(0, episode)
        _dump()
        for _ in range(TICKS):
            engine.step(controls)
        _dump()
        served[name] = int(np.isfinite(engine.request_log(0).asked_s).sum())
    requests_file.write_text(json.dumps(served), encoding="utf-8")


def _dump() -> None:
    subprocess.run(["callgrind_control", "-d", str(os.getpid())], check=True, capture_output=True)


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
    per_request = {row["setting"]: row["instructions"] / row["requests"] for row in measured}
    rows: list[dict[str, object]] = [
        {"measure": name, "instructions per request": value, "more than none": value - per_request[NOTHING]}
        for name, value in per_request.items()
    ]
    report("Cost of each layer, native engine", rows, arguments.output)


if __name__ == "__main__":
    main()
