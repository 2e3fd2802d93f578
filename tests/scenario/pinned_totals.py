"""What every shipped scenario comes to in its first ticks: `python -m tests.scenario.pinned_totals` pins it anew.

Physics that gets better moves these totals; look at the differences before pinning them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.vector import FleetVectorEnv

PINNED = Path(__file__).with_suffix(".json")
TICKS = 30
TOTALS = ("energy_j", "generated_tokens", "prefilled_tokens", "prefix_hit_tokens", "completed_in_slo", "completed_late")


def totals(scenario: str, engine: str = "native", ticks: int = TICKS) -> dict[str, float]:
    """Sums over the first ticks of validation episode 0, the middle of the action box held throughout."""
    env = FleetVectorEnv(scenario, 1, split="validation", engine=engine)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    sums = dict.fromkeys(TOTALS, 0.0)
    for _ in range(ticks):
        env.step(action)
        for name in TOTALS:
            sums[name] += float(env.engine.outcome[name].sum())
    return sums


def main() -> None:
    """Write the totals of every shipped scenario."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    pinned = {name: totals(name) for name in sorted(catalog_names("scenario"))}
    PINNED.write_text(json.dumps(pinned, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
