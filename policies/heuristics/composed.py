"""A routing rule and a clock rule make a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tokenfleet.envs.fields import Record
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.policies.base import ControlPolicy, PolicyContext, State
from tokenfleet.policies.heuristics.clocking import CLOCKINGS, Clocking
from tokenfleet.policies.heuristics.routing import ROUTINGS, Routing
from tokenfleet.policies.registry import Choice, Preset, build


class ComposedPolicy(ControlPolicy):
    """Routes by one rule, sets clocks by another; admits everything and keeps awake what the clock rule allows.

    Args:
        context: the environment.
        routing: a name of `ROUTINGS`, `{name: ..., parameters}`, or `module:Class` of a `Routing`.
        clocking: the same of `CLOCKINGS` and `Clocking`.

    Attributes:
        parts: what may stand for the parts that have parameters of their own.
    """

    parts: ClassVar[Mapping[str, Mapping[str, Preset]]] = {"routing": ROUTINGS, "clocking": CLOCKINGS}

    def __init__(
        self, context: PolicyContext, routing: Choice = "capacity_weighted", clocking: Choice = "proportional"
    ) -> None:
        super().__init__(context)
        where = f"policy.{self.name}"
        self.routing: Routing = build(routing, ROUTINGS, f"{where}.routing", self.scenario)
        self.clocking: Clocking = build(clocking, CLOCKINGS, f"{where}.clocking", self.scenario)
        self.require({*self.routing.fields, *self.clocking.fields})
        replicas = np.array([pool.replicas for pool in self.scenario.pools.values()])
        most = replicas if self.clocking.most_replicas is None else self.clocking.most_replicas
        self._awake_fraction = most / replicas

    def initial_state(self, num_envs: int) -> State:
        """See `ControlPolicy.initial_state`."""
        return self.clocking.initial_state(num_envs)

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        clock_fraction, state = self.clocking.clocks(view, state)
        num_envs = len(view.rows)
        controls = Controls(
            route_share=self.routing.shares(view),
            clock_fraction=clock_fraction,
            awake_fraction=np.broadcast_to(self._awake_fraction, (num_envs, len(self._awake_fraction))),
            admit_rate_rps=np.full((num_envs, len(self.scenario.classes)), np.inf),
        )
        return controls, state
