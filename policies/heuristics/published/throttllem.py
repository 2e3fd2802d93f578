"""throttLL'eM: the lowest clock at which the projected batch meets its limits, per token and end to end."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes, divisor_of_each


class ThrottLLeM(Clocking):
    """The lowest clock at which projected iterations keep the time per token, and waiting prompts start in time.

    throttLL'eM (arXiv 2408.05235, HPCA 2025) [text]: a scoreboard projects the batch and the KV blocks of every coming
    iteration from predicted lengths, and a binary search finds the lowest clock that keeps a mean time per token of
    200 ms and every end-to-end deadline. Lengths are not known to a policy: the class's means stand for them, and the
    present batch, with waiting requests in its free seats, stands for the projection (ours). The limit of the time to
    first token of waiting requests stands for deadlines. The paper's autoscaler changes tensor parallelism, which
    cannot change here; compose the rule with an awake rule. It ignores caps.

    Args:
        scenario: of the fleet.
        tpot_s: mean time per token to keep where the classes have no tighter limit; 0.2 s [text].
    """

    fields = (*BACKLOG_FIELDS, "kv_reserved_fraction")

    def __init__(self, scenario: Scenario, tpot_s: PositiveFloat = 0.2) -> None:
        self._times = IterationTimes(scenario, 17)
        a = ServiceModel(scenario).power.arrays
        self._floor = a.clock_floor_fraction
        self._kv_tokens, self._seats = np.asarray(a.kv_tokens, np.float64), a.max_batch.astype(np.float64)
        self._prompt_s = self._times.prompt_token_s()
        self._limit_s = np.minimum(self._times.tpot_s, tpot_s)
        self._first_s = np.where(np.isfinite(self._times.ttft_s), self._times.ttft_s, 10.0)

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        awake = divisor_of_each(view)
        waiting, running = view["waiting_requests"] / awake, view["running_requests"] / awake
        batch = np.minimum(running + waiting, self._seats)
        context = self._times.context_on_each(view)
        projected = np.minimum(context + (batch - running) * self._times.context_tokens, self._kv_tokens)
        keeps = self._times.decode_s(batch, projected) <= self._limit_s
        first = (view["unprefilled_tokens"] / awake)[:, None, :] * self._prompt_s <= self._first_s
        return np.maximum(self._times.lowest(keeps & first), self._floor), state
