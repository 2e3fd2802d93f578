"""Which replicas of a pool are awake: what a policy asks for, wake times, failures and blackouts."""

from __future__ import annotations

import math

from tokenfleet.envs.engine.reference.replica import Replica, State

ROUNDED_REPLICAS = 1e-4
"""A share of a replica that a policy asks for is a whole one, but for so little, which float32 actions round up."""


class PowerStates:
    """The switches of one pool."""

    def __init__(self, replicas: list[Replica], wake_s: float) -> None:
        """`wake_s` is the time from asleep to awake."""
        self.replicas = replicas
        self.wake_s = wake_s

    def follow(self, awake_fraction: float, now_s: float) -> None:
        """One tick of a pool that has power: boot, wake, drain or fall asleep as asked."""
        for replica in self.replicas:
            if replica.state is State.DARK:
                self._wake(replica, now_s)
        self._reach(math.ceil(awake_fraction * len(self.replicas) - ROUNDED_REPLICAS), now_s)
        for replica in self.replicas:
            if replica.state is State.WAKING and replica.ready_s <= now_s:
                replica.state = State.AWAKE
            if replica.state is State.DRAINING and replica.is_idle:
                replica.state = State.ASLEEP
                replica.cache.clear()

    def switch_off_repaired(self, now_s: float) -> None:
        """What is repaired is switched off and may be woken."""
        for replica in self.replicas:
            if replica.state is State.FAILED and replica.ready_s <= now_s:
                replica.state = State.ASLEEP

    def _reach(self, target: int, now_s: float) -> None:
        """Bring the number of replicas that are awake or waking to `target`, the cheapest change first."""
        up = sum(replica.state in (State.AWAKE, State.WAKING) for replica in self.replicas)
        for state in (State.DRAINING, State.ASLEEP):
            for replica in self.replicas:
                if up < target and replica.state is state:
                    if state is State.DRAINING:
                        replica.state = State.AWAKE
                    else:
                        self._wake(replica, now_s)
                    up += 1
        for state, resting in ((State.WAKING, State.ASLEEP), (State.AWAKE, State.DRAINING)):
            for replica in reversed(self.replicas):
                if up > target and replica.state is state:
                    replica.state = resting
                    up -= 1

    def _wake(self, replica: Replica, now_s: float) -> None:
        replica.state = State.WAKING
        replica.ready_s = now_s + self.wake_s
