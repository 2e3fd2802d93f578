"""Environments that charge for a limited cost, and raise its price while episodes exceed the limit (Lagrangian).

The Lagrangian of a limit takes `multiplier * cost` off the reward. Dual ascent raises the multiplier while episodes
cost more than the limit, and lowers the multiplier, never below 0, while they cost less (Ray, Achiam and Amodei 2019,
"Benchmarking safe exploration in deep reinforcement learning"). Here a step follows the *relative* excess `(cost -
most) / (cost + most)`. This excess has the sign of `cost - most` and lies in [-1, 1], so one rate serves seconds and
shares, and a limit of 0.

A limit of K knots has K multipliers. Every episode draws its own limit between the first knot and the last, and weighs
the two knots beside this limit by their distance to it. The episode's multiplier is the weighted mean of the
multipliers of these knots, and its cost moves them with the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from tokenfleet.policies.learned.limit_draws import LimitDraws
from tokenfleet.policies.learned.limit_inputs import Float32Array, LimitInputs
from tokenfleet.policies.learned.limits import Limit, combinations, relative_excess
from tokenfleet.policies.learned.wrapper_state import wrapper_of

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class LimitedEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """An environment that takes the price of limited costs off its rewards; `ascend` moves the prices.

    Args:
        env: in autoreset mode `SAME_STEP`; its `reward_terms` hold the costs.
        limits: see `Limit`.
        rate: see `LimitsSpec`.

    Attributes:
        limits: as given; M is the number of their knots.
        inputs: those limits that episodes draw.
        multipliers: of the knots, limit by limit, `[M]`, in the unit of the reward.
        measured: costs of the last episodes that moved the multipliers, `[M]`; NaN before the first ones.
        places: what a policy sees of the present limits, one of `inputs` a column, `[N, L]` in [-1, 1].
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], limits: Sequence[Limit], rate: float) -> None:
        super().__init__(env)
        self.limits, self._rate = tuple(limits), rate
        self.inputs: LimitInputs = tuple(limit.input for limit in limits if limit.input is not None)
        sizes = np.array([len(limit.knots) for limit in limits])
        self._limit_of = np.repeat(np.arange(len(limits)), sizes)
        self._first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._most_of = np.array([limit.cost_of(knot) for limit in limits for knot in limit.knots])
        self._unit = np.array([[limit.unit] for limit in limits])
        self.multipliers, self.measured = np.zeros(sizes.sum()), np.full(sizes.sum(), np.nan)
        self.places: Float32Array = np.zeros((env.num_envs, len(self.inputs)), np.float32)
        self._draws = LimitDraws(sizes, env.num_envs)
        # How much each episode weighs on each knot, [M, N], and what it may cost by each limit, [L, N].
        self._weights, self._most = np.zeros((sizes.sum(), env.num_envs)), np.zeros((len(limits), env.num_envs))
        self._running = np.zeros((2, len(limits), env.num_envs))
        self._ended, self._episodes = np.zeros((2, sizes.sum())), 0
        # Of the episodes that have ended: how much they weigh, and by how much their limits lie above the knot.
        self._weight, self._beside = np.zeros(sizes.sum()), np.zeros(sizes.sum())
        self._place_limits()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `VectorEnv.reset`; environments with equal seeds draw equal limits."""
        begun = (options or {}).get("reset_mask", np.ones(self.num_envs, np.bool_))
        self._running[:, :, begun] = 0.0
        if seed is not None:
            self._draws.seed(np.array(seed) if np.ndim(seed) else seed + np.arange(self.num_envs))
        self._draws.begin(begun)
        self._place_limits()
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """See `VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        terms, done = infos["reward_terms"], terminations | truncations
        costs = np.array([terms[limit.cost] for limit in self.limits])
        # A share is charged for what exceeds its allowance. A sum is charged in full: no action moves its allowance,
        # which is a constant of the episode.
        wholes = np.array([terms[limit.share_of] if limit.share_of else np.zeros_like(done) for limit in self.limits])
        dear = (costs - self._most * wholes) / self._unit
        charged = self.multipliers @ (self._weights * dear[self._limit_of])
        self._running += costs, wholes
        if done.any():
            self._end(done)
            self._draws.begin(done)
            self._place_limits()
        return observations, rewards - charged, terminations, truncations, infos

    def ascend(self) -> None:
        """Move the multipliers by the episodes since the last move, once there are as many as environments."""
        if self._episodes < self.num_envs:
            return
        costs, wholes = self._ended
        for index in np.flatnonzero(self._weight).tolist():
            limit = self.limits[self._limit_of[index]]
            whole = float(self._weight[index] if limit.share_of is None else wholes[index])
            self.measured[index] = costs[index] / whole if whole else 0.0
            most = self._most_of[index] + (self._beside[index] / whole if whole else 0.0)
            # A knot that few of the episodes have come near moves little.
            near = self._weight[index] * len(limit.knots) / self._episodes
            step = self._rate * relative_excess(self.measured[index], most) * near
            self.multipliers[index] = max(0.0, self.multipliers[index] + step)
        self._ended, self._episodes = np.zeros_like(self._ended), 0
        self._weight, self._beside = np.zeros_like(self._weight), np.zeros_like(self._beside)

    def settings(self) -> list[dict[str, float]]:
        """The limits at which a policy is to be validated: every combination of knots; an empty one without inputs."""
        return combinations({one.name: one.knots for one in self.inputs})

    def excess(self, metrics: Mapping[str, float], setting: Mapping[str, float]) -> float:
        """How far mean metrics lie beyond the limits, summed; 0 where every limit is kept within its tolerance.

        Args:
            metrics: of a policy.
            setting: the limits that the policy was told; see `settings`.
        """
        return sum(
            limit.beyond(limit.cost_of(metrics[limit.name]), limit.cost_of(setting.get(limit.name, limit.knots[0])))
            for limit in self.limits
        )

    def report(self) -> dict[str, float]:
        """Multipliers and what was measured last, by name."""
        names = [
            limit.name if limit.input is None else f"{limit.name}/{knot:g}"
            for limit in self.limits
            for knot in limit.knots
        ]
        told = {f"{name}/multiplier": float(self.multipliers[index]) for index, name in enumerate(names)}
        if not np.isnan(self.measured).any():
            told |= {f"{name}/cost": float(self.measured[index]) for index, name in enumerate(names)}
        return told

    def multipliers_by_name(self) -> dict[str, float | tuple[float, ...]]:
        """The multiplier of every limit; knot by knot for a limit that episodes draw."""
        parts = np.split(self.multipliers, self._first[1:])
        return {
            limit.name: float(part[0]) if limit.input is None else tuple(part.tolist())
            for limit, part in zip(self.limits, parts, strict=True)
        }

    def get_state(self) -> dict[str, Any]:
        """What it needs to go on after an interruption, as plain data and arrays."""
        state = {
            "multipliers": self.multipliers.copy(),
            "measured": self.measured.copy(),
            "running": self._running.copy(),
            "ended": self._ended.copy(),
            "episodes": self._episodes,
        }
        drawn = {"weight": self._weight.copy(), "beside": self._beside.copy(), "draws": self._draws.get_state()}
        return state | drawn if self.inputs else state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.multipliers, self.measured = np.array(state["multipliers"]), np.array(state["measured"])
        self._running, self._ended = np.array(state["running"]), np.array(state["ended"])
        self._episodes = int(state["episodes"])
        self._weight = np.full(len(self.multipliers), float(self._episodes))
        if self.inputs:
            self._weight, self._beside = np.array(state["weight"]), np.array(state["beside"])
            self._draws.set_state(state["draws"])
            self._place_limits()

    def _place_limits(self) -> None:
        """Work out from the draws what is seen, how much each episode weighs on each knot, and what it may cost."""
        drawn = [index for index, limit in enumerate(self.limits) if limit.input is not None]
        last = np.array([len(self.limits[index].knots) - 1 for index in drawn])
        self.places = (2.0 * self._draws.places[drawn].T / last - 1.0).astype(np.float32)
        knot = np.arange(len(self._limit_of)) - self._first[self._limit_of]
        self._weights = np.maximum(1.0 - np.abs(self._draws.places[self._limit_of] - knot[:, None]), 0.0)
        self._most = np.add.reduceat(self._weights * self._most_of[:, None], self._first, axis=0)

    def _end(self, done: BoolArray) -> None:
        """Count the episodes that end, each by its weight on the knots."""
        weights, totals, most = self._weights[:, done], self._running[:, :, done], self._most[:, done]
        sums = np.array([[limit.share_of is None] for limit in self.limits])
        wholes = np.where(sums, 1.0, totals[1])
        beside = (most[self._limit_of] - self._most_of[:, None]) * wholes[self._limit_of]
        self._ended += (weights * totals[:, self._limit_of]).sum(axis=2)
        self._weight += weights.sum(axis=1)
        self._beside += (weights * beside).sum(axis=1)
        self._episodes += int(done.sum())
        self._running[:, :, done] = 0.0


def limited_env(env: VectorEnv[Any, Any, Any]) -> LimitedEnv | None:
    """The `LimitedEnv` among an environment's wrappers; None for no limits."""
    return wrapper_of(env, LimitedEnv)
