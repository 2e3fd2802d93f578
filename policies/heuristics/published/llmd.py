"""llm-d: weighted scores of pods, and an admitter that sheds the lowest priority by saturation."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Admission, Float64Array
from tokenfleet.policies.heuristics.virtual import PoolLoad, VirtualRequests


class LlmdScorer(VirtualRequests):
    """The pod with the highest weighted score of a short queue, a free KV cache and a known prefix.

    llm-d/llm-d-inference-scheduler @520af47, `pkg/epp/framework/plugins`, weights of the default chart [code]: queue
    `(longest - q) / (longest - shortest)`, 1 where all are equal; KV `1 - utilisation`; prefix the share of blocks
    that match. A pool's mean replica stands for a pod. Matches are not observed; the share of the cache that holds
    prefixes stands for the prefix score (ours), and the affinity `always_return` for its weight, the largest of the
    three.

    Args:
        scenario: of the fleet.
        queue, kv, prefix: weights; 2, 2 and 3 [code].
    """

    fields = (*VirtualRequests.fields, "cached_fraction")

    def __init__(
        self,
        scenario: Scenario,
        queue: NonNegativeFloat = 2.0,
        kv: NonNegativeFloat = 2.0,
        prefix: NonNegativeFloat = 3.0,
    ) -> None:
        super().__init__(scenario)
        self._weights = (queue, kv, prefix)

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Minus the score."""
        queue, kv, prefix = self._weights
        waiting = (load.waiting / load.awake)[:, None, :]
        candidate = self._mask & (load.awake > 0.5)[:, None, :]
        most = np.where(candidate, waiting, -np.inf).max(axis=2, keepdims=True)
        least = np.where(candidate, waiting, np.inf).min(axis=2, keepdims=True)
        with np.errstate(invalid="ignore"):
            short = np.where(most - least > 1e-9, (most - waiting) / np.maximum(most - least, 1e-9), 1.0)
        free = 1.0 - np.minimum(load.context_tokens / (load.awake * self.kv_tokens), 1.0)
        return -(queue * short + (kv * free + prefix * view["cached_fraction"])[:, None, :])


class LlmdAdmitter(Admission):
    """Deferrable work is let in at llm-d's probability of admission, which falls steeply with saturation.

    llm-d, probabilistic admitter [code]: requests of negative priority are rejected with probability `min(1, 300
    sat^5)`; `sat` is the mean over pods of the larger of `queue / 5` and `utilisation / 0.8`. Here deferrable classes
    stand for negative priority, and held work for rejected requests. The release rate is the mean of the random
    decisions.

    Args:
        scenario: of the fleet.
        queue_depth: requests waiting on a saturated pod; 5 [code].
        kv_utilisation: share of the KV cache in use on a saturated pod; 0.8 [code].
        scale, power: of the law; 300 and 5 [code].
    """

    fields = ("waiting_requests", "kv_reserved_fraction", "awake_replicas", "arrived", "held_requests")

    def __init__(
        self,
        scenario: Scenario,
        queue_depth: PositiveFloat = 5.0,
        kv_utilisation: PositiveFraction = 0.8,
        scale: PositiveFloat = 300.0,
        power: PositiveFloat = 5.0,
    ) -> None:
        a = ServiceModel(scenario).power.arrays
        self._tick_s, self._replicas, self._mask = a.tick_s, a.replicas.astype(np.float64), scenario.route_mask
        self._is_low = np.array([cls.deferrable for cls in scenario.classes.values()])
        self._queue, self._kv, self._scale, self._power = queue_depth, kv_utilisation, scale, power

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        awake = np.rint(view["awake_replicas"]).astype(np.float64)
        queue = view["waiting_requests"] / np.maximum(awake, 1.0) / self._queue
        use = view["kv_reserved_fraction"] * self._replicas / np.maximum(awake, 1.0) / self._kv
        saturation = np.where(awake > 0.0, np.maximum(queue, use), 1.0)
        pods = awake[:, None, :] * self._mask
        mean = (pods * saturation[:, None, :]).sum(axis=2) / np.maximum(pods.sum(axis=2), 1.0)
        passes = 1.0 - np.minimum(1.0, self._scale * mean**self._power)
        wanting = (view["arrived"] + view["held_requests"]) / self._tick_s
        return np.where(self._is_low, passes * wanting, np.inf), state
