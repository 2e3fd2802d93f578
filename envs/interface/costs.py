"""Costs that limits are set on, tick by tick, beside the terms of a reward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import OUTCOMES
from tokenfleet.envs.interface.parts import build_reward
from tokenfleet.envs.interface.reward import Float64Array
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes

ABOVE_CAP_S = "above_cap_s"
ENDINGS = ("completed_in_slo", "completed_late", "refused", "expired")
"""How a request ends, as `fields.OUTCOMES` counts it; the first way is in time. Declined requests do not count."""


class WithCosts:
    """A reward's terms, and costs beside them that are not dollars.

    - `above_cap_s`: seconds above a cap in the tick, summed over sites and rows.
    - `missed/<class>`: requests that ended in the tick, but not within their SLO.
    - `ended/<class>`: all requests that ended in the tick, declined ones left out.

    Give every cost (`cost_names`) the weight 0, and rewards stay as they are.

    Args:
        scenario: of the fleets.
        reward: the reward itself, as `FleetVectorEnv` takes it.
    """

    def __init__(self, scenario: Scenario, reward: Any) -> None:
        self._value, inner = build_reward(scenario, reward)
        if hasattr(inner, "reward_scale"):
            self.reward_scale = inner.reward_scale
        layout = Layout(OUTCOMES, axis_sizes(scenario))
        self._above_cap = layout.columns(ABOVE_CAP_S, f"row_{ABOVE_CAP_S}")
        self._endings = [layout.slice(name) for name in ENDINGS]
        self._classes = tuple(scenario.classes)

    def __call__(self, outcome: Record, price_usd_per_mwh: Float64Array) -> dict[str, Float64Array]:
        """See `Reward.__call__`; seconds and requests for the costs."""
        above_cap_s = np.add.reduce(outcome.rows.take(self._above_cap, axis=1), axis=1)
        in_time, *missed = (outcome.rows[:, part] for part in self._endings)
        lost = np.add.reduce(missed)
        return {
            **self._value(outcome, price_usd_per_mwh),
            ABOVE_CAP_S: above_cap_s,
            **_by_class("missed", self._classes, lost),
            **_by_class("ended", self._classes, lost + in_time),
        }


def cost_names(scenario: Scenario) -> list[str]:
    """Every cost that `WithCosts` adds."""
    return [ABOVE_CAP_S, *(f"{kind}/{name}" for kind in ("missed", "ended") for name in scenario.classes)]


def _by_class(kind: str, classes: tuple[str, ...], values: NDArray[Any]) -> dict[str, Float64Array]:
    return {f"{kind}/{name}": column for name, column in zip(classes, values.T, strict=True)}
