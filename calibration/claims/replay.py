"""Rows of measured requests through the engine on one replica of the catalogue: what whole runs are compared by."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.fitting.replay import Latencies as Latencies
from tokenfleet.envs.fitting.replay import Server

OWN_BOARD = "own-board"


def replay(pool: dict[str, object], requests: pd.DataFrame, profiled: bool = True) -> Latencies:
    """What one replica at full clock, without a limit on power, makes of the requests.

    Args:
        pool: of the scenario, without its site.
        requests: `arrival_s` in ascending order, `prompt_tokens`, `output_tokens`.
        profiled: whether the pool gets the catalogue's profile; else the same boards by a name of a user's own, for
            which the catalogue has none, run on a roofline.

    Raises:
        SpecError: a request was not completed.
    """
    arrival_s, prompt, output = (requests[name].to_numpy() for name in ("arrival_s", "prompt_tokens", "output_tokens"))
    if profiled:
        return Server(pool, arrival_s, prompt, output).serve()
    own = {**load_entry("gpu", str(pool["gpu"])), "name": OWN_BOARD}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gpu" / f"{OWN_BOARD}.yaml"
        path.parent.mkdir()
        path.write_text(json.dumps(own), encoding="utf-8")
        return Server({**pool, "gpu": OWN_BOARD}, arrival_s, prompt, output, (folder,)).serve()
