"""Which replicas of a pool are awake and with which model: what a policy asks for, wake times, failures, blackouts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import State
from tokenfleet.envs.engine.reference.replica import Replica

ROUNDED_REPLICAS = 1e-4
"""A share of a replica counts as a whole one, but for so little: rounding of float32 actions adds as much."""
UP = (State.AWAKE, State.SWITCHING, State.WAKING, State.RESUMING)
STANDING = (State.STANDBY, State.PREPARING)
LOADED = (State.WAKING, State.RESUMING, *STANDING)
"""Without requests, and with a model in memory or on its way there."""
UNLOADED = (State.ASLEEP, State.DARK, State.FAILED)


@dataclass(frozen=True)
class Wakes:
    """How long it takes a pool's replicas to wake with one model.

    Attributes:
        wake_s: from asleep to awake, or to standing by.
        load_s: to load the model on a server that runs.
        resume_s: from standing by to awake.
    """

    wake_s: float
    load_s: float
    resume_s: float

    @classmethod
    def of(cls, a: FleetArrays, p: int) -> Wakes:
        """Those of pool `p` with its own model."""
        return cls(float(a.wake_s[p]), float(a.load_s[p]), float(a.resume_s[p]))


class PowerStates:
    """The switches of one pool."""

    def __init__(self, a: FleetArrays, p: int, replicas: list[Replica]) -> None:
        """Those of pool `p`, whose replicas are given."""
        self.replicas = replicas
        self.has_standby, self.has_variant = bool(a.standby[p] >= 0), bool(a.variant[p] >= 0)
        self.wakes = (Wakes.of(a, p), Wakes.of(a.switched, p))

    def follow(self, awake_fraction: float, standby_fraction: float, variant_fraction: float, now_s: float) -> int:
        """One tick of a pool that has power: boot, wake, drain, stand by, fall asleep or load another model as asked.

        Returns:
            How many began to load another model instead of the one that they had.
        """
        on_variant = self._count(variant_fraction)
        self._choose_models(on_variant)
        for replica in self.replicas:
            if replica.state is State.DARK:
                self._begin(replica, State.WAKING, now_s + self._wakes_of(replica).wake_s)
        awake, standby = self._count(awake_fraction), 0
        if self.has_standby:
            standby = max(min(self._count(standby_fraction), len(self.replicas) - awake), 0)
        self._reach(awake, now_s)
        self._stand(standby, now_s)
        switches = self._switch(on_variant, now_s)
        for replica in self.replicas:
            if replica.state in (State.WAKING, State.RESUMING) and replica.ready_s <= now_s:
                replica.state = State.AWAKE
            if replica.state is State.PREPARING and replica.ready_s <= now_s:
                replica.state = State.STANDBY
            if replica.state is State.DRAINING and replica.is_idle:
                replica.state = State.STANDBY if self._number(STANDING) < standby else State.ASLEEP
                replica.cache.clear()
        return switches

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
                        self._begin(replica, State.RESUMING, now_s + self._wakes_of(replica).resume_s)
                    elif state is State.PREPARING:
                        replica.state = State.WAKING
                    else:
                        self._begin(replica, State.WAKING, now_s + self._wakes_of(replica).wake_s)
                    up += 1
        downs = (
            (State.WAKING, State.PREPARING),
            (State.RESUMING, State.STANDBY),
            (State.SWITCHING, State.DRAINING),
            (State.AWAKE, State.DRAINING),
        )
        for state, resting in downs:
            for replica in reversed(self.replicas):
                if up > target and replica.state is state:
                    replica.state = resting
                    up -= 1

    def _stand(self, target: int, now_s: float) -> None:
        """Bring the number of replicas that stand by, or prepare to, to `target`; draining ones count as about to."""
        standing = self._number(STANDING)
        for state in STANDING[::-1]:
            for replica in reversed(self.replicas):
                if standing > target and replica.state is state:
                    replica.state = State.ASLEEP
                    standing -= 1
        standing += self._number((State.DRAINING,))
        for replica in self.replicas:
            if standing < target and replica.state is State.ASLEEP:
                self._begin(replica, State.PREPARING, now_s + self._wakes_of(replica).wake_s)
                standing += 1

    def _choose_models(self, target: int) -> None:
        """A replica with nothing loaded wakes with the variant if it is among the first `target` replicas."""
        for place, replica in enumerate(self.replicas):
            if self.has_variant and replica.state in UNLOADED and replica.on_variant != (place < target):
                replica.load(place < target)

    def _switch(self, target: int, now_s: float) -> int:
        """Bring the variant to the first `target` replicas and the own model to the others; how many begin to load.

        A replica with requests finishes them first.
        """
        if not self.has_variant:
            return 0
        switches = 0
        for place, replica in enumerate(self.replicas):
            if replica.on_variant == (place < target):
                if replica.state is State.SWITCHING:
                    replica.state = State.AWAKE
                continue
            if replica.state is State.AWAKE:
                replica.state = State.SWITCHING
            if replica.state in LOADED or (replica.state is State.SWITCHING and replica.is_idle):
                self._load(replica, now_s)
                switches += 1
        return switches

    def _load(self, replica: Replica, now_s: float) -> None:
        """Begin to load the other model; a server that boots finishes booting first."""
        booted_s = now_s
        if replica.state in (State.WAKING, State.PREPARING):
            booted_s = max(now_s, replica.ready_s - self._wakes_of(replica).load_s)
        replica.load(not replica.on_variant)
        state = State.PREPARING if replica.state in STANDING else State.WAKING
        self._begin(replica, state, booted_s + self._wakes_of(replica).load_s)

    def _wakes_of(self, replica: Replica) -> Wakes:
        return self.wakes[replica.on_variant]

    def _begin(self, replica: Replica, state: State, ready_s: float) -> None:
        replica.state = state
        replica.ready_s = ready_s
