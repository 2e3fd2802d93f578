"""GreenLLM: separate clocks for prefill and decode, each the frugal one that keeps its limit."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFraction, PositiveInt
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes, divisor_of_each


class GreenLlm(Clocking):
    """Prefill at the lowest clock that drains its queue in time; decode in a band by load, trimmed by measured latency.

    GreenLLM (arXiv 2508.16449) [text] and its reproduction code [code]. Prefill: the lowest clock that works off the
    queue within the limit of the time to first token. Decode: a coarse loop picks a band of clocks from a table by
    tokens/s, and moves the band after three consecutive votes. A fine loop steps 15 MHz every 20 ms: up while the time
    per token is above its limit, down while it is below a share of the limit. A pool that does both takes the higher
    clock. A tick is 50 fine steps. A tick's mean time per token stands for the 95th percentile (ours); the coarse band
    is the grid clock that keeps the limit, with one level on either side (ours). It ignores caps.

    Args:
        scenario: of the fleet.
        lower_margin: share of the limit below which the fine loop steps down; 0.85 (ours; the code's default not
            verified).
        votes: consecutive votes before the band moves; 3 [text].
        step: of the fine loop in a tick: 5 steps of 15 of 1410 MHz (ours); all 50 would be 0.53.
    """

    fields = ("waiting_requests", "running_requests", "kv_reserved_fraction", "awake_replicas", "unprefilled_tokens",
        "generated_tokens")  # fmt: skip

    def __init__(
        self,
        scenario: Scenario,
        lower_margin: PositiveFraction = 0.85,
        votes: PositiveInt = 3,
        step: PositiveFraction = 0.053,
    ) -> None:
        self._times = IterationTimes(scenario, 9)
        a = ServiceModel(scenario).power.arrays
        self._tick_s, self._floor = a.tick_s, a.clock_floor_fraction
        self._prompt_s = self._times.prompt_token_s()
        self._limit_s = np.where(np.isfinite(self._times.ttft_s), self._times.ttft_s, 2.0)
        self._tpot_s = self._times.tpot_s
        self._lower, self._votes, self._step = lower_margin, float(votes), step
        self._width = float(self._times.clocks[1] - self._times.clocks[0])

    def initial_state(self, num_envs: int) -> State:
        """Clocks, middles of bands, and votes to move them, `[N, P]` each."""
        pools = (num_envs, len(self._floor))
        return (np.ones(pools), np.ones(pools), np.zeros(pools))

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        clock, band, votes = state
        awake = divisor_of_each(view)
        queue_s = (view["unprefilled_tokens"] / awake)[:, None, :] * self._prompt_s
        prefill = self._times.lowest(queue_s <= self._limit_s)
        running = view["running_requests"].astype(np.float64)
        context = self._times.context_on_each(view)
        wanted = self._times.lowest(self._times.decode_s(running / awake, context) <= self._tpot_s)
        votes = np.where(wanted != band, votes + 1.0, 0.0)
        moves = votes >= self._votes
        band, votes = np.where(moves, wanted, band), np.where(moves, 0.0, votes)
        tokens = view["generated_tokens"].astype(np.float64)
        tpot_s = np.where(tokens > 0.0, running * self._tick_s / np.maximum(tokens, 1.0), 0.0)
        step = np.where(
            tpot_s > self._tpot_s, self._step, np.where(tpot_s < self._lower * self._tpot_s, -self._step, 0.0)
        )
        clock = np.clip(clock + step, np.maximum(band - self._width, self._floor), np.minimum(band + self._width, 1.0))
        answer = np.where(view["unprefilled_tokens"] > 0.0, np.maximum(clock, prefill), clock)
        return np.maximum(answer, self._floor), (clock, band, votes)
