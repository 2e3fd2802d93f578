"""How fast each learning algorithm goes: `python -m benchmarks.learners [--output FILE.json] [--quick]`.

Every algorithm of `configs/algo` trains on `default` by set-points with its own hyper-parameters, 64 fleets side by
side and one thread. A step is a decision, which holds for five ticks. The table has steps a second of whole trainings,
and the share of the time in the environment. Algorithms with a replay buffer begin to learn after 512 steps, and
imitation follows the rule `supervisor`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from benchmarks.yardstick import report
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.callbacks import Cadence
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy

FOLDER = Path(__file__).parents[1] / "configs" / "algo"
CUSTOM = "custom"
"""Stands for algorithms of a user's own."""
NUM_ENVS = 64
STEPS, QUICK_STEPS = 65_536, 16_384
OF_REPLAY = 8
"""So many times fewer steps of algorithms that learn at every step."""
CHANGES: dict[str, dict[str, Any]] = {
    **{name: {"learning_starts": 512} for name in ("sac", "td3", "tqc")},
    "dagger": {"teacher": "supervisor"},
}


class Timed(FleetVectorEnv):
    """Fleets that add up the time of their steps.

    Attributes:
        taken_s: by all steps.
    """

    taken_s = 0.0

    def step(self, actions: Any) -> Any:
        """See `FleetVectorEnv.step`."""
        began_s = time.perf_counter()
        result = super().step(actions)
        self.taken_s += time.perf_counter() - began_s
        return result


def measured(name: str, steps: int) -> dict[str, object]:
    """One row of the table."""
    changes = CHANGES.get(name, {})
    algorithm = parse_algorithm(read_yaml(FOLDER / f"{name}.yaml") | changes)
    total = steps // OF_REPLAY if "learning_starts" in changes else steps
    env = Timed("default", NUM_ENVS, action="setpoints", autoreset_mode=AutoresetMode.SAME_STEP)
    origin = TrainingOrigin(environment="tokenfleet/Fleet-v0", training_seed=0, timesteps=0)
    job = TrainingJob(algorithm, env, origin, total, Cadence(validate=None, log=total, snapshot=total))
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.perf_counter()
        train_policy(job, make_model(job), Path(folder))
        taken_s = time.perf_counter() - began_s
    env.close()
    return {
        "measure": name,
        "steps": total,
        "steps/s": total / taken_s,
        "share in the environment": env.taken_s / taken_s,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None, help="also write JSON here")
    parser.add_argument("--quick", action="store_true", help="fewer steps, rough figures")
    arguments = parser.parse_args()
    names = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != CUSTOM)
    rows = [measured(name, QUICK_STEPS if arguments.quick else STEPS) for name in names]
    report("Learning on default, 64 fleets, one thread", rows, arguments.output)


if __name__ == "__main__":
    main()
