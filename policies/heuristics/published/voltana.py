"""VoltanaLLM: the lowest clock that keeps the latency limits, and routes that spare clocks."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveInt
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Clocking, Float64Array
from tokenfleet.policies.heuristics.steady import IterationTimes, divisor_of_each
from tokenfleet.policies.heuristics.virtual import PoolLoad, VirtualRequests


class EcoFreq(Clocking):
    """The lowest clock that keeps the limits per token and to first token; full clock while work waits.

    VoltanaLLM (arXiv 2509.04827; Supercomputing-System-AI-Lab/VoltanaLLM @f7789ac, `freq_manager.py`) [code]: a waiting
    queue sends the clock to the highest; else the lowest clock of the list with `latency(f, batch, tokens) <= limit (1
    + margin) - waited`, prefill against the limit to first token and decode against that per token. The source's
    latency model is fitted per clock and tile of batch sizes; ours is the iteration's law. The rule decides at every
    iteration there, once a tick here, and ignores caps. Two switches by tokens/s and requests/s are off in the demo,
    and left out.

    Args:
        scenario: of the fleet.
        margin: share over the limit that is allowed; 0.35 in the demo [code], whose command line cannot set it.
        levels: number of clocks from the floor to the highest; the demo has 2, its profile grid 5 [code].
    """

    fields = ("waiting_requests", "running_requests", "unprefilled_tokens", "kv_reserved_fraction", "awake_replicas")

    def __init__(self, scenario: Scenario, margin: NonNegativeFloat = 0.35, levels: PositiveInt = 5) -> None:
        self._times = IterationTimes(scenario, levels)
        a = ServiceModel(scenario).power.arrays
        self._floor = a.clock_floor_fraction
        self._limit_s = self._times.tpot_s * (1.0 + margin)
        self._first_s, self._prompt_s = self._times.ttft_s * (1.0 + margin), self._times.prompt_token_s()

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        awake = divisor_of_each(view)
        sequences = view["running_requests"] / awake
        context = self._times.context_on_each(view)
        fits = self._times.decode_s(sequences, context) <= self._limit_s
        fits &= (view["unprefilled_tokens"] / awake)[:, None, :] * self._prompt_s <= self._first_s
        clock = np.where(view["waiting_requests"] > 0.0, 1.0, self._times.lowest(fits))
        return np.maximum(clock, self._floor), state


class EcoRoute(VirtualRequests):
    """A request goes where it does not raise the clock; among such pools, to the one already fastest and fullest.

    VoltanaLLM, `echo_lb_new.py`, `_tile_aware_sche2` [code]: a server's key is the clock needed with the request; where
    the request does not raise the clock, the key is minus the clock needed now. Servers far apart (more than one level)
    are ordered by the size of the key, others by the key itself, then by fewer tiles of 128 requests, then by more
    requests (bins are filled). Where every server has less than a tile, the lowest clock and then the fewest requests
    count. A pool's mean replica stands for a server here.

    Args:
        scenario: of the fleet.
        levels: clocks of the grid; 5 [code].
        tile: requests; 128 [code].
    """

    def __init__(self, scenario: Scenario, levels: PositiveInt = 5, tile: PositiveInt = 128) -> None:
        super().__init__(scenario)
        self._times = IterationTimes(scenario, levels)
        self._levels, self._tile = levels, float(tile)
        self._tabulate()

    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """Rank of each pool."""
        n = load.requests / load.awake
        context = load.context_tokens / load.awake
        now = self._level(n, context + 2.0 * n)
        small = (n < self._tile).all(axis=1, keepdims=True)
        light = now * 1e6 + n
        if small.all():
            return light[:, None, :]
        after = self._level(n + 1.0, context + self._times.prompt_tokens + 50.0 * n)
        rises = (after > now) | (after == self._levels - 1)
        key = np.where(rises, after, -now) + np.where(rises, 1.0, -1.0)  # level 0 keeps its sign
        size = np.abs(key)
        far = size.max(axis=1, keepdims=True) - size.min(axis=1, keepdims=True) > 1.0
        first = np.where(far, size * 1e3 + key, key * 1e3)
        packed = first * 1e6 + np.ceil(n / self._tile) * 1e4 - np.minimum(n, 9e3)
        return np.where(small, light, packed)[:, None, :]

    def _tabulate(self) -> None:
        """Time per token by the number of sequences, `[B, G, P]`, and by tokens of context, `[G, P]`."""
        most = int(self.max_batch.max()) + 1
        sequences = np.broadcast_to(np.arange(most + 1.0)[:, None], (most + 1, len(self.max_batch)))
        self._token_s = self._times.decode_s(sequences, np.zeros_like(sequences))
        self._context_s = (self._times.decode_s(sequences[1:2], np.full_like(sequences[1:2], 1e6)) - self._token_s[1])[
            0
        ] / 1e6

    def _level(self, sequences: Float64Array, context: Float64Array) -> Float64Array:
        """The lowest level that keeps the limit, the highest where none does, `[N, P]`."""
        n = np.clip(np.ceil(sequences), 0, len(self._token_s) - 1).astype(np.int64)
        pool = np.arange(n.shape[1])
        token_s = self._token_s[n, :, pool] + context[:, :, None] * self._context_s.T  # [N, P, G]
        fits = token_s <= self._times.tpot_s[:, None]
        return np.where(fits.any(axis=2), fits.argmax(axis=2), self._levels - 1).astype(np.float64)
