"""A policy made of rules, one for each thing that a policy may set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.policies.base import ControlPolicy, PolicyContext, State
from tokenfleet.policies.heuristics.parts import (
    Admission,
    Affinity,
    Awake,
    Clocking,
    Float64Array,
    Pricing,
    Routing,
    Rule,
    Serving,
    Storage,
)
from tokenfleet.policies.heuristics.rules import (
    ADMISSIONS,
    AFFINITIES,
    AWAKES,
    CLOCKINGS,
    PRICINGS,
    ROUTINGS,
    SERVINGS,
    STORAGES,
)
from tokenfleet.policies.presets import Preset
from tokenfleet.policies.registry import Choice, build


class ComposedPolicy(ControlPolicy):
    """Routes by one rule, sets clocks by another, and so on; each rule is chosen by name.

    A choice is a name of the table in `heuristics.rules`, `{name: ..., parameters}`, or `module:Class`. A clock rule
    may bound how many replicas are awake, whatever the awake rule says.

    Args:
        context: the environment.
        routing: where requests go.
        clocking: how fast GPUs run.
        awake: how many replicas are awake.
        admission: what is let in and released.
        storage: what batteries do.
        affinity: how much calls are drawn to their contexts.
        pricing: what a token costs.
        serving: which model replicas serve.

    Attributes:
        parts: the table of choices for each parameter that names a rule.
    """

    parts: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "routing": ROUTINGS,
        "clocking": CLOCKINGS,
        "awake": AWAKES,
        "admission": ADMISSIONS,
        "storage": STORAGES,
        "affinity": AFFINITIES,
        "pricing": PRICINGS,
        "serving": SERVINGS,
    }

    def __init__(
        self,
        context: PolicyContext,
        routing: Choice = "capacity_weighted",
        clocking: Choice = "proportional",
        awake: Choice = "all",
        admission: Choice = "open",
        storage: Choice = "rest",
        affinity: Choice = "even",
        pricing: Choice = "list",
        serving: Choice = "own_model",
    ) -> None:
        super().__init__(context)

        def rule(choice: Choice, part: str) -> Any:
            return build(choice, self.parts[part], f"policy.{self.name}.{part}", self.scenario)

        self.routing: Routing = rule(routing, "routing")
        self.clocking: Clocking = rule(clocking, "clocking")
        self.awake: Awake = rule(awake, "awake")
        self.admission: Admission = rule(admission, "admission")
        self.storage: Storage = rule(storage, "storage")
        self.affinity: Affinity = rule(affinity, "affinity")
        self.pricing: Pricing = rule(pricing, "pricing")
        self.serving: Serving = rule(serving, "serving")
        rules: tuple[Rule, ...] = (
            self.routing, self.clocking, self.awake, self.admission, self.storage, self.affinity, self.pricing,
            self.serving,
        )  # fmt: skip
        self.require(frozenset().union(*(rule.reads for rule in rules)))
        self._replicas = np.array([pool.replicas for pool in self.scenario.pools.values()], np.float64)
        most = self.clocking.most_replicas
        self._most = self._replicas if most is None else most.astype(np.float64)
        self._remembering: tuple[Rule, ...] = (
            self.clocking, self.awake, self.admission, self.storage, self.pricing, self.serving,
        )  # fmt: skip
        self._sizes = [len(rule.initial_state(1)) for rule in self._remembering]

    def initial_state(self, num_envs: int) -> State:
        """What the rules remember, one after the other."""
        return tuple(array for rule in self._remembering for array in rule.initial_state(num_envs))

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        ends = np.cumsum(self._sizes)
        parts = [state[end - size : end] for size, end in zip(self._sizes, ends, strict=True)]
        decide: tuple[Callable[[Record, State], tuple[Float64Array, State]], ...] = (
            self.clocking.clocks,
            self.awake.replicas,
            self.admission.rates_rps,
            self.storage.power_w,
            self.pricing.factors,
            self.serving.variant_share,
        )
        answers = [rule(view, part) for rule, part in zip(decide, parts, strict=True)]
        clock, replicas, rates_rps, battery_w, price, variant = (answer for answer, _ in answers)
        controls = Controls(
            route_share=self.routing.shares(view),
            clock_fraction=clock,
            awake_fraction=np.minimum(replicas, self._most) / self._replicas,
            admit_rate_rps=rates_rps,
            battery_power_w=battery_w,
            prefix_affinity=self.affinity.affinity(view),
            token_price_factor=price,
            variant_fraction=variant,
        )
        return controls, tuple(array for _, after in answers for array in after)
