"""Which replicas of a pool are awake: what a policy asks for, wake times, failures and blackouts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.replica import Replica, State

ROUNDED_REPLICAS = 1e-4
"""A share of a replica that a policy asks for is a whole one, but for so little, which float32 actions round up."""
UP = (State.AWAKE, State.WAKING, State.RESUMING)
STANDING = (State.STANDBY, State.PREPARING)


@dataclass(frozen=True)
class Wakes:
    """How long it takes a pool's replicas to wake.

    Attributes:
        wake_s: from asleep to awake, or to standing by.
        resume_s: from standing by to awake.
        has_standby: whether its replicas can stand by.
    """

    wake_s: float
    resume_s: float
    has_standby: bool

    @classmethod
    def of(cls, a: FleetArrays, p: int) -> Wakes:
        """Those of pool `p`."""
        return cls(float(a.wake_s[p]), float(a.resume_s[p]), bool(a.standby[p] >= 0))


class PowerStates:
    """The switches of one pool."""

    def __init__(self, replicas: list[Replica], wakes: Wakes) -> None:
        """`wakes` says how long they take."""
        self.replicas = replicas
        self.wakes = wakes

    def follow(self, awake_fraction: float, standby_fraction: float, now_s: float) -> None:
        """One tick of a pool that has power: boot, wake, drain, stand by or fall asleep as asked."""
        for replica in self.replicas:
            if replica.state is State.DARK:
                self._begin(replica, State.WAKING, now_s + self.wakes.wake_s)
        awake, standby = self._count(awake_fraction), 0
        if self.wakes.has_standby:
            standby = max(min(self._count(standby_fraction), len(self.replicas) - awake), 0)
        self._reach(awake, now_s)
        self._stand(standby, now_s)
        for replica in self.replicas:
            if replica.state in (State.WAKING, State.RESUMING) and replica.ready_s <= now_s:
                replica.state = State.AWAKE
            if replica.state is State.PREPARING and replica.ready_s <= now_s:
                replica.state = State.STANDBY
            if replica.state is State.DRAINING and replica.is_idle:
                replica.state = State.STANDBY if self._number(STANDING) < standby else State.ASLEEP
                replica.cache.clear()

    def switch_off_repaired(self, now_s: float) -> None:
        """What is repaired is switched off and may be woken."""
        for replica in self.replicas:
            if replica.state is State.FAILED and replica.ready_s <= now_s:
                replica.state = State.ASLEEP

    def _count(self, fraction: float) -> int:
        return math.ceil(fraction * len(self.replicas) - ROUNDED_REPLICAS)

    def _number(self, states: tuple[State, ...]) -> int:
        return sum(replica.state in states for replica in self.replicas)

    def _reach(self, target: int, now_s: float) -> None:
        """Bring the number of replicas that are awake or waking to `target`, the cheapest change first.

        What loads its model goes on loading, be it to wake or to stand by.
        """
        up = self._number(UP)
        for state in (State.DRAINING, State.STANDBY, State.PREPARING, State.ASLEEP):
            for replica in self.replicas:
                if up < target and replica.state is state:
                    if state is State.DRAINING:
                        replica.state = State.AWAKE
                    elif state is State.STANDBY:
                        self._begin(replica, State.RESUMING, now_s + self.wakes.resume_s)
                    elif state is State.PREPARING:
                        replica.state = State.WAKING
                    else:
                        self._begin(replica, State.WAKING, now_s + self.wakes.wake_s)
                    up += 1
        downs = ((State.WAKING, State.PREPARING), (State.RESUMING, State.STANDBY), (State.AWAKE, State.DRAINING))
        for state, resting in downs:
            for replica in reversed(self.replicas):
                if up > target and replica.state is state:
                    replica.state = resting
                    up -= 1

    def _stand(self, target: int, now_s: float) -> None:
        """Bring the number of replicas that stand by, or prepare to, to `target`; who drains is about to."""
        standing = self._number(STANDING)
        for state in STANDING[::-1]:
            for replica in reversed(self.replicas):
                if standing > target and replica.state is state:
                    replica.state = State.ASLEEP
                    standing -= 1
        standing += self._number((State.DRAINING,))
        for replica in self.replicas:
            if standing < target and replica.state is State.ASLEEP:
                self._begin(replica, State.PREPARING, now_s + self.wakes.wake_s)
                standing += 1

    def _begin(self, replica: Replica, state: State, ready_s: float) -> None:
        replica.state = state
        replica.ready_s = ready_s
