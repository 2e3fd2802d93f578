"""What a composed policy is made of: one kind of rule for each thing that a policy may set.

A rule sees the fleet's view and answers in physical units for N fleets. A rule may remember arrays; their first axis is
the fleet. The scenario is its first argument; its keyword parameters are what a configuration may set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.rows import Record
from tokenfleet.policies.base import State

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Rule:
    """What all rules have in common.

    Attributes:
        fields: names of the view's fields that it reads.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> frozenset[str]:
        """Names of the view's fields that it and the rules inside it read."""
        return frozenset(self.fields)

    def initial_state(self, num_envs: int) -> State:
        """What it remembers when an episode begins; see `ControlPolicy.initial_state`."""
        return ()


class Routing(Rule, ABC):
    """One idea of where requests go; it remembers nothing, for all that it needs is in the view."""

    @abstractmethod
    def shares(self, view: Record) -> Float64Array:
        """Shares `[N, K, P]`, non-negative; only their ratios within a class count."""


class Clocking(Rule, ABC):
    """One idea of how fast GPUs run.

    Attributes:
        most_replicas: replicas of each pool that it lets be awake, `[P]`; None for all of them.
    """

    most_replicas: Int64Array | None = None

    @abstractmethod
    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Clock fractions `[N, P]`, and the state for the next tick."""


class Awake(Rule, ABC):
    """One idea of how many replicas are awake."""

    @abstractmethod
    def replicas(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Whole numbers of replicas `[N, P]`, and the state for the next tick."""


class Admission(Rule, ABC):
    """One idea of what is let in (interactive classes) and released (deferrable ones)."""

    @abstractmethod
    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Rates `[N, K]` [requests/s], infinity for no limit, and the state for the next tick."""


class Storage(Rule, ABC):
    """One idea of what batteries do."""

    @abstractmethod
    def power_w(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Power asked of each site's battery `[N, S]`, positive to discharge [W], and the state for the next tick."""


class Affinity(Rule, ABC):
    """One idea of how much a call is drawn to the replica that holds its context; it remembers nothing."""

    @abstractmethod
    def affinity(self, view: Record) -> Float64Array:
        """`Controls.prefix_affinity`, `[N, K]`."""


class Pricing(Rule, ABC):
    """One idea of what a token costs."""

    @abstractmethod
    def factors(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """Token price over the list price `[N, K]`, and the state for the next tick."""


class Serving(Rule, ABC):
    """One idea of which model replicas serve."""

    @abstractmethod
    def variant_share(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """`Controls.variant_fraction`, `[N, P]`, and the state for the next tick."""
