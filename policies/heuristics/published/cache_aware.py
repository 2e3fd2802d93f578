"""Cache-aware routers: SGLang's, Preble's E2 and Mooncake's conductor."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Admission, Affinity, BoolArray, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes
from tokenfleet.policies.heuristics.virtual import LOAD_FIELDS, PoolLoad, VirtualRequests


class SglangRouter(VirtualRequests):
    """The shortest queue while loads are out of balance, else the worker with the smallest tree of prefixes.

    SGLang, `sgl-router/src/policies/cache_aware.rs` [code]: out of balance is `max - min > 32` active requests and
    `max > 1.1 min`. In balance a request goes to the best match if that covers over a half (`SglangAffinity` here), and
    otherwise to the worker with the smallest tree. The cached share stands for the tree, a pool's mean replica for a
    worker.

    Args:
        scenario: of the fleet.
        absolute: requests; 32 [code].
        relative: 1.1 [code].
    """

    fields = (*VirtualRequests.fields, "cached_fraction")

    def __init__(self, scenario: Scenario, absolute: NonNegativeFloat = 32.0, relative: NonNegativeFloat = 1.1) -> None:
        super().__init__(scenario)
        self._absolute, self._relative = absolute, relative

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Active requests where out of balance; else the cached share, with active requests to break ties."""
        active = load.requests / load.awake
        unbalanced = out_of_balance(active, load.awake, self._mask, self._absolute, self._relative)
        tree = np.round(view["cached_fraction"].astype(np.float64), 2) * 1e6 + active
        return np.where(unbalanced[:, :, None], active[:, None, :], tree[:, None, :])


class SglangAffinity(Affinity):
    """Calls return while loads are in balance, and follow load alone while they are not; see `SglangRouter`.

    Args:
        scenario: of the fleet.
        absolute, relative: see `SglangRouter`.
    """

    fields = ("waiting_requests", "running_requests", "awake_replicas")

    def __init__(self, scenario: Scenario, absolute: NonNegativeFloat = 32.0, relative: NonNegativeFloat = 1.1) -> None:
        self._mask, self._absolute, self._relative = scenario.route_mask, absolute, relative

    def affinity(self, view: Record) -> Float64Array:
        """See `Affinity.affinity`."""
        awake = np.maximum(view["awake_replicas"].astype(np.float64), 1e-9)
        active = (view["waiting_requests"] + view["running_requests"]) / awake
        return np.where(out_of_balance(active, awake, self._mask, self._absolute, self._relative), 0.0, np.inf)


def out_of_balance(
    active: Float64Array, awake: Float64Array, mask: BoolArray, absolute: float, relative: float
) -> BoolArray:
    """Whether the pools of each class are out of balance, by requests on a mean replica, `[N, K]`."""
    candidate = mask & (awake > 0.5)[:, None, :]
    most = np.where(candidate, active[:, None, :], 0.0).max(axis=2)
    least = np.where(candidate, active[:, None, :], np.inf).min(axis=2)
    unbalanced: BoolArray = (most - least > absolute) & (most > relative * least)
    return unbalanced


class PrebleE2(VirtualRequests):
    """Explores by cost: the worker's work, the tokens that it would evict, and the missing part of the request.

    Preble (WukLab/preble, `global_scheduler_with_time.py`) [code]: a request whose cached part is longer than the rest
    goes to that cache, others to the least `L + M + P`. `L` is the cost of the last three minutes' nodes, and active
    requests times their mean answer times 0.15 s a token; here waiting prefill and active answers, over the batch size,
    stand for it. `M` is the prefill time of the tokens to evict: the request's tokens where the cache is full. `P` is
    the request's own prefill. The affinity `even` stands for exploitation. Rebalancing, which moves nodes between
    workers, is left out.

    Args:
        scenario: of the fleet.
        token_s: time per output token [s]; 0.15 [code].
    """

    fields = (*VirtualRequests.fields, "cached_fraction")

    def __init__(self, scenario: Scenario, token_s: PositiveFloat = 0.15) -> None:
        super().__init__(scenario)
        self._token_s, self._prompt_s = token_s, IterationTimes(scenario, 2).prompt_token_s()[-1]

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Seconds."""
        answers = load.requests * self.service.pool_output_tokens * self._token_s / np.maximum(self.max_batch, 1.0)
        waiting_s = (load.prompt_tokens * self._prompt_s + answers) / load.awake
        missing_s = self.prompt_tokens[:, None] * self._prompt_s
        full = np.minimum(view["cached_fraction"] + load.context_tokens / (load.awake * self.kv_tokens), 1.0)
        evicted_s = np.where(full > 0.99, 1.0, 0.0)[:, None, :] * missing_s
        cost_s: Float64Array = waiting_s[:, None, :] + evicted_s + missing_s
        return cost_s


class MooncakeConductor(VirtualRequests):
    """The least estimated time to first token: the prefill queued, and the request's own.

    Mooncake (arXiv 2407.00079, algorithm 1) [text]: the estimate is the queue's predicted prefill time and the
    request's, less what is cached; a transfer is counted where another instance's prefix is much longer. Here the
    engine accounts for the cached part and the transfer, by the affinity `even`.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._prompt_s = IterationTimes(scenario, 2).prompt_token_s()[-1]

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Seconds."""
        queued_s = load.prompt_tokens * self._prompt_s / load.awake
        first_s: Float64Array = queued_s[:, None, :] + self.prompt_tokens[:, None] * self._prompt_s
        return first_s


class MooncakeAdmission(Admission):
    """Early rejection: requests with a late first token, or late tokens, are not let in.

    Mooncake, section 7 [text]: a request is turned away where the estimated time to first token or per token breaks
    its limit; the decode load is predicted for the end of its prefill, since acting on the present one oscillates.
    Here the predicted load is the running and waiting requests, on the seats of the awake replicas. Deferrable work is
    held instead of turned away. Here rejecting costs more than answering late; the paper's goodput does not count that.

    Args:
        scenario: of the fleet.
        slack: factor on the limits; 1 [text].
    """

    fields = LOAD_FIELDS

    def __init__(self, scenario: Scenario, slack: PositiveFloat = 1.0) -> None:
        a = ServiceModel(scenario).power.arrays
        self._times, self._mask = IterationTimes(scenario, 2), scenario.route_mask
        self._prompt_s = self._times.prompt_token_s()[-1]
        self._seats, self._replicas = a.max_batch.astype(np.float64), a.replicas.astype(np.float64)
        self._kv_tokens, self._tick_s = np.asarray(a.kv_tokens, np.float64), a.tick_s
        classes = scenario.classes.values()
        self._ttft_s = slack * np.array([cls.ttft_s or np.inf if not cls.deferrable else 1.0 for cls in classes])
        self._tpot_s = slack * self._times.tpot_s

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        awake = np.maximum(np.rint(view["awake_replicas"]).astype(np.float64), 1e-9)
        queued_s = view["unprefilled_tokens"] * self._prompt_s / awake
        batch = np.minimum((view["running_requests"] + view["waiting_requests"]) / awake, self._seats)
        context = np.minimum(batch * self._times.context_tokens, self._kv_tokens)
        decodes = self._times.decode_s(batch, context)[:, -1] <= self._tpot_s
        starts = queued_s[:, None, :] <= self._ttft_s[:, None]
        lets_in = (self._mask & starts & (decodes & (awake > 0.5))[:, None, :]).any(axis=2)
        return np.where(lets_in, np.inf, 0.0), state
