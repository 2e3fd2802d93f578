"""Limits on the costs of an episode, kept by prices that rise while episodes exceed a limit: Lagrangian learning.

A limit is on a mean over episodes, `E[cost] <= most`. The Lagrangian of a limit takes `multiplier * cost` off the
reward. Dual ascent raises the multiplier while episodes cost more than the limit, and lowers the multiplier, never
below 0, while they cost less (Ray, Achiam and Amodei 2019, "Benchmarking safe exploration in deep reinforcement
learning"). Here a step follows the *relative* excess `(cost - most) / (cost + most)`. This excess has the sign of
`cost - most` and lies in [-1, 1], so one rate serves seconds and shares, and a limit of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.interface.costs import ABOVE_CAP_S
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveFraction, Spec, SpecError, suggest
from tokenfleet.policies.learned.wrapper_state import wrapper_of

Float64Array = NDArray[np.float64]
ATTAINMENT = "slo_attainment"


class LimitsSpec(Spec):
    """What an episode may cost on average.

    Attributes:
        above_cap_s: most seconds above a cap in an episode, summed over sites and rows; None for no limit.
        above_cap_tolerance_s: seconds beyond it up to which a policy counts as within when validation chooses, for a
            mean over some dozens of episodes does not tell less; training aims at the limit itself.
        slo_attainment: by class, the least share of its ended requests that meet their SLO.
        rate: step of a multiplier at a relative excess of 1, in what a tick earns if every request is in time.
    """

    above_cap_s: NonNegativeFloat | None = None
    above_cap_tolerance_s: NonNegativeFloat = 0.0
    slo_attainment: dict[Name, PositiveFraction] = Field(default_factory=dict)
    rate: PositiveFloat = 0.1

    @property
    def any(self) -> bool:
        """Whether there is a limit."""
        return self.above_cap_s is not None or bool(self.slo_attainment)


@dataclass(frozen=True)
class Limit:
    """A limit on the mean of a cost over episodes, or on the share that one cost is of another.

    Attributes:
        name: of the metric that tells the cost.
        cost: a term of `WithCosts`.
        share_of: the term that the cost is a share of; None for a sum over an episode.
        most: the limit of the sum or the share.
        unit: of the cost that a multiplier of 1 takes a whole reward for.
        tolerance: how far beyond the limit a mean over few episodes counts as within.
    """

    name: str
    cost: str
    share_of: str | None
    most: float
    unit: float
    tolerance: float = 0.0

    def excess(self, cost: float) -> float:
        """The relative excess of a mean cost, in [-1, 1]; 0 at the limit."""
        total = cost + self.most
        return (cost - self.most) / total if total > 0.0 else 0.0

    def beyond(self, cost: float) -> float:
        """The relative excess of a mean cost over few episodes; 0 within the tolerance."""
        return self.excess(cost) if cost > self.most + self.tolerance else 0.0

    def of_metrics(self, metrics: Mapping[str, float]) -> float:
        """The cost that the mean metrics of some episodes tell."""
        return metrics[self.name] if self.share_of is None else 1.0 - metrics[self.name]


def limits_of(spec: LimitsSpec, scenario: Scenario) -> tuple[Limit, ...]:
    """The limits of a fleet.

    At a multiplier of 1, a second above a cap and a missed request each cost what a fleet earns in a tick. A class
    earns no more than all classes together, so a multiplier stays in the order of 1.

    Raises:
        SpecError: an unknown class, or one without a stream.
    """
    limits = []
    if spec.above_cap_s is not None:
        tolerance_s = spec.above_cap_tolerance_s
        limits.append(Limit(ABOVE_CAP_S, ABOVE_CAP_S, None, spec.above_cap_s, scenario.tick_s, tolerance_s))
    for name, least in spec.slo_attainment.items():
        where = f"limits.{ATTAINMENT}.{name}"
        if name not in scenario.classes:
            raise SpecError([f"{where}: unknown class{suggest(name, scenario.classes)}"])
        each_tick = scenario.mean_rate_rps(name) * scenario.tick_s
        if each_tick <= 0.0:
            raise SpecError([f"{where}: no stream of the workload sends requests of this class"])
        limits.append(Limit(f"{ATTAINMENT}/{name}", f"missed/{name}", f"ended/{name}", 1.0 - least, each_tick))
    return tuple(limits)


class LimitedEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """An environment whose rewards pay for limited costs, at the prices of `ascend`.

    Args:
        env: in autoreset mode `SAME_STEP`; its `reward_terms` hold the costs.
        limits: see `Limit`.
        rate: see `LimitsSpec`.

    Attributes:
        limits: as given.
        multipliers: of the limits, `[L]`, of the unit of the reward.
        measured: costs of the last episodes that moved the multipliers, `[L]`; NaN before the first ones.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], limits: Sequence[Limit], rate: float) -> None:
        super().__init__(env)
        self.limits, self._rate = tuple(limits), rate
        self.multipliers = np.zeros(len(limits))
        self.measured = np.full(len(limits), np.nan)
        self._running = np.zeros((2, len(limits), env.num_envs))
        self._ended, self._episodes = np.zeros((2, len(limits))), 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `VectorEnv.reset`."""
        begun = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        self._running[:, :, begun] = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        terms, done = infos["reward_terms"], terminations | truncations
        costs = np.array([terms[limit.cost] for limit in self.limits])
        # A share's cost is what lies above the allowance; that of a sum belongs to the episode, and no action moves it.
        wholes = np.array([terms[limit.share_of] if limit.share_of else np.zeros_like(done) for limit in self.limits])
        most, unit = (np.array([[getattr(limit, key)] for limit in self.limits]) for key in ("most", "unit"))
        charged = self.multipliers @ ((costs - most * wholes) / unit)
        self._running += costs, wholes
        if done.any():
            self._ended += self._running[:, :, done].sum(axis=2)
            self._episodes += int(done.sum())
            self._running[:, :, done] = 0.0
        return observations, rewards - charged, terminations, truncations, infos

    def ascend(self) -> None:
        """Move the multipliers by the episodes since they moved last, once there are as many as environments."""
        if self._episodes < self.num_envs:
            return
        costs, wholes = self._ended
        for index, limit in enumerate(self.limits):
            whole = float(self._episodes if limit.share_of is None else wholes[index])
            self.measured[index] = costs[index] / whole if whole else 0.0
            step = self._rate * limit.excess(self.measured[index])
            self.multipliers[index] = max(0.0, self.multipliers[index] + step)
        self._ended, self._episodes = np.zeros_like(self._ended), 0

    def excess(self, metrics: Mapping[str, float]) -> float:
        """How far mean metrics lie beyond the limits, summed; 0 where every limit is kept within its tolerance."""
        return sum(limit.beyond(limit.of_metrics(metrics)) for limit in self.limits)

    def report(self) -> dict[str, float]:
        """Multipliers and what was measured last, by name."""
        told = {f"{limit.name}/multiplier": float(self.multipliers[index]) for index, limit in enumerate(self.limits)}
        if not np.isnan(self.measured).any():
            told |= {f"{limit.name}/cost": float(self.measured[index]) for index, limit in enumerate(self.limits)}
        return told

    def get_state(self) -> dict[str, Any]:
        """What goes on after an interruption, as plain data and arrays."""
        return {
            "multipliers": self.multipliers.copy(),
            "measured": self.measured.copy(),
            "running": self._running.copy(),
            "ended": self._ended.copy(),
            "episodes": self._episodes,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.multipliers, self.measured = np.array(state["multipliers"]), np.array(state["measured"])
        self._running, self._ended = np.array(state["running"]), np.array(state["ended"])
        self._episodes = int(state["episodes"])


def limited_env(env: VectorEnv[Any, Any, Any]) -> LimitedEnv | None:
    """The environment among an environment's wrappers that keeps limits; None for no limits."""
    return wrapper_of(env, LimitedEnv)
