"""A process whose workers tell who they are and wait; `test_workers.py` kills it."""

from __future__ import annotations

import os
import time

from tokenfleet.evaluation.screen.rollouts import Workers


def own_pid(task: int) -> int:
    """Who works on a task."""
    time.sleep(0.2)  # so that one worker does not take all tasks
    return os.getpid()


if __name__ == "__main__":
    with Workers(2) as workers:
        print(*set(workers.map(own_pid, range(8))), flush=True)
        time.sleep(60.0)
