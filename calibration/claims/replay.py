"""Rows of measured requests through the engine on one replica of the catalogue: what whole runs are compared by."""

from __future__ import annotations

import pandas as pd

from tokenfleet.envs.fitting.replay import Latencies as Latencies
from tokenfleet.envs.fitting.replay import Server


def replay(pool: dict[str, object], requests: pd.DataFrame) -> Latencies:
    """What one replica at full clock, without a limit on power, makes of the requests.

    Args:
        pool: of the scenario, without its site.
        requests: `arrival_s` in ascending order, `prompt_tokens`, `output_tokens`.

    Raises:
        SpecError: a request was not completed.
    """
    columns = (requests[name].to_numpy() for name in ("arrival_s", "prompt_tokens", "output_tokens"))
    return Server(pool, *columns).serve()
