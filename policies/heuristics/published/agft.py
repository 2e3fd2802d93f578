"""AGFT: a contextual bandit that learns each pool's clock while it serves."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat, PositiveInt
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import BoolArray, Clocking, Float64Array

CLIP = 3.0
"""Largest magnitude of a normalised feature [code]."""


class Agft(Clocking):
    """Disjoint LinUCB over clocks, one bandit a pool; the reward is a falling energy-delay product. It ignores caps.

    AGFT (arXiv 2508.01744; SusCom-Lab/AGFT @35172ce) [code]: the features are whether a queue waits, tokens to prefill
    and decoded, running requests and the share of the KV cache, normalised by running moments; tokens per iteration and
    prefix hits are not observed here. `score = theta x + alpha sqrt(x' A^-1 x)` with `A = 5 I` at first and `alpha =
    max(10 exp(-0.02 t), 0.1)`; all arms are swept once, high to low. `reward = 2 (1 - min(2, EDP / EDP0))`: EDP is the
    energy times the time per token of the tick, EDP0 is 0.9 times its mean over the first ten ticks, at full clock.
    From round 30 on an arm is dropped, with all lower ones, if its mean reward is -1.2 or less after three samples.
    Pruning by EDP spread and grid refinement are left out. It learns afresh in every episode: a cold start.

    Args:
        scenario: of the fleet.
        arms: clocks between floor and highest; steps of 15 MHz in the source would be 57, too many for an episode
            (ours).
        ridge: 5 [code].
        warm_up: ticks at full clock that set the reference; 10 [code].
        decay: of the exploration, per tick; 0.02 [code].
    """

    fields = ("waiting_requests", "running_requests", "kv_reserved_fraction", "generated_tokens", "unprefilled_tokens",
        "pool_power_w")  # fmt: skip

    FEATURES = 6

    def __init__(
        self,
        scenario: Scenario,
        arms: PositiveInt = 9,
        ridge: PositiveFloat = 5.0,
        warm_up: PositiveInt = 10,
        decay: PositiveFloat = 0.02,
    ) -> None:
        a = ServiceModel(scenario).power.arrays
        self._floor, self._pools, self._tick_s = a.clock_floor_fraction, a.num_pools, a.tick_s
        self._arms, self._ridge, self._warm_up, self._decay = arms, ridge, float(warm_up), decay
        self._clocks = np.linspace(a.clock_floor_fraction.min(), 1.0, arms)

    def initial_state(self, num_envs: int) -> State:
        """Of arms and of features; the last choice; the reference, the ticks that it is the mean of, and the tick."""
        pools, arms, features = (num_envs, self._pools), self._arms, self.FEATURES
        inverse = np.broadcast_to(np.eye(features) / self._ridge, (*pools, arms, features, features))
        return (
            inverse.copy(),
            np.zeros((*pools, arms, features)),
            np.zeros((*pools, arms)),
            np.zeros((*pools, arms)),
            np.zeros((*pools, features)),
            np.ones((*pools, features)),
            np.full(pools, arms - 1),
            np.zeros((*pools, features)),
            np.zeros(pools),
            np.zeros(pools),
            np.zeros(pools),
        )

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        inverse, moment, count, total, mean, square, arm, x, reference, averaged, tick = state
        raw, edp, served = self._measure(view)
        reward = 2.0 * (1.0 - np.minimum(2.0, edp / np.maximum(reference, 1e-9)))
        learns = served & (tick > self._warm_up)
        picked = np.arange(self._arms) == arm[..., None]
        inverse, moment, count, total = _learn(inverse, moment, count, total, x, reward, picked & learns[..., None])
        still = tick < self._warm_up
        averaged = averaged + (still & served)
        reference = np.where(still & served, reference + (0.9 * edp - reference) / np.maximum(averaged, 1.0), reference)

        weight = (1.0 / (tick + 1.0))[..., None]
        mean = mean + weight * (raw - mean)
        square = square + weight * ((raw - mean) ** 2 - square)
        x = np.clip((raw - mean) / np.sqrt(np.maximum(square, 1e-6)), -CLIP, CLIP)
        x[..., 0] = 1.0  # a constant, in the place of tokens per iteration
        theta = (inverse * moment[..., None, :]).sum(axis=-1)
        projected = (inverse * x[..., None, None, :]).sum(axis=-1)
        spread = np.sqrt(np.maximum((projected * x[..., None, :]).sum(axis=-1), 0.0))
        alpha = np.maximum(10.0 * np.exp(-self._decay * tick), 0.1)
        score = (theta * x[..., None, :]).sum(axis=-1) + alpha[..., None] * spread
        bad = (count >= 3.0) & (total / np.maximum(count, 1.0) <= -1.2) & (tick >= 30.0)[..., None]
        dropped = np.maximum.accumulate(bad[..., ::-1], axis=-1)[..., ::-1]  # the lower ones with it
        dropped[..., -1] = False
        score = np.where(dropped, -np.inf, score)
        sweep = self._arms - 1 - (tick - self._warm_up)
        chosen = np.where(sweep >= 0.0, np.minimum(sweep, self._arms - 1), score.argmax(axis=-1))
        arm = np.where(still, self._arms - 1, chosen).astype(np.int64)
        after = (inverse, moment, count, total, mean, square, arm, x, reference, averaged, tick + 1.0)
        return np.maximum(self._clocks[arm], self._floor), after

    def _measure(self, view: Record) -> tuple[Float64Array, Float64Array, BoolArray]:
        """Features `[N, P, F]`, energy-delay product `[N, P]`, and whether a token was served."""
        tokens = view["generated_tokens"].astype(np.float64)
        running = view["running_requests"].astype(np.float64)
        raw = np.stack(
            [
                np.zeros_like(tokens),
                (view["waiting_requests"] > 0.0).astype(np.float64),
                view["unprefilled_tokens"].astype(np.float64),
                tokens,
                running,
                view["kv_reserved_fraction"].astype(np.float64),
            ],
            axis=-1,
        )
        served = (tokens > 0.0) & (running > 0.0)
        tpot_s = np.where(served, running * self._tick_s / np.maximum(tokens, 1.0), 0.0)
        return raw, view["pool_power_w"] * self._tick_s * tpot_s, served


def _learn(
    inverse: Float64Array,
    moment: Float64Array,
    count: Float64Array,
    total: Float64Array,
    x: Float64Array,
    reward: Float64Array,
    where: BoolArray,
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """One step of every bandit whose arm is picked, by Sherman and Morrison's formula."""
    ax = (inverse * x[..., None, None, :]).sum(axis=-1)  # [N, P, arms, F]
    scale = 1.0 + (ax * x[..., None, :]).sum(axis=-1)
    lower = ax[..., :, None] * ax[..., None, :] / scale[..., None, None]
    inverse = inverse - np.where(where[..., None, None], lower, 0.0)
    moment = moment + np.where(where[..., None], (reward[..., None] * x)[..., None, :], 0.0)
    return inverse, moment, count + where, total + np.where(where, reward[..., None], 0.0)
