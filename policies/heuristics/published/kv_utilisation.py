"""Clocks by how full the KV cache is: steps, and KAIROS' curve."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFraction, UnitFraction
from tokenfleet.policies.base import State
from tokenfleet.policies.heuristics.parts import Admission, Clocking, Float64Array


def awake_utilisation(view: Record, replicas: Float64Array) -> Float64Array:
    """Share of the awake replicas' KV cache that is held or reserved, `[N, P]`; 1 where none is awake."""
    awake = np.rint(view["awake_replicas"]).astype(np.float64)
    held = view["kv_reserved_fraction"] * replicas
    return np.where(awake > 0.0, np.minimum(held / np.maximum(awake, 1.0), 1.0), 1.0)


class KvSteps(Clocking):
    """Four clocks by the share of the KV cache in use; it ignores caps.

    The rule-based modulator of a fork of vLLM (JonnyKong/vllm) [code]: below 0.2 of the cache 825 MHz, below 0.5
    1125 MHz, below 0.9 1440 MHz, else 1740 MHz of 1740. It ran once an iteration there; here it has a tick to adapt in.

    Args:
        scenario: of the fleet.
        low, middle, high: shares of the cache at which the clock rises [code].
        slowest, slow, fast: clock below each of these shares, over the highest: 825, 1125 and 1440 of 1740 MHz [code].
    """

    fields = ("kv_reserved_fraction", "awake_replicas")

    def __init__(
        self,
        scenario: Scenario,
        low: UnitFraction = 0.2,
        middle: UnitFraction = 0.5,
        high: UnitFraction = 0.9,
        slowest: PositiveFraction = 0.474,
        slow: PositiveFraction = 0.647,
        fast: PositiveFraction = 0.828,
    ) -> None:
        a = ServiceModel(scenario).power.arrays
        self._replicas, self._floor = a.replicas.astype(np.float64), a.clock_floor_fraction
        self._steps, self._clocks = np.sort([low, middle, high]), np.array([slowest, slow, fast, 1.0])

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        step = np.searchsorted(self._steps, awake_utilisation(view, self._replicas), side="right")
        return np.maximum(self._clocks[step], self._floor), state


class KairosClock(Clocking):
    """Clocks that rise with the use of the KV cache, and full clocks while agents are too slow; it ignores caps.

    KAIROS (arXiv 2604.16682) [text]: the clock never falls with the use U of the cache, from a sweet spot of about 900
    of 1680 MHz, below which agents thrash, to a protective high clock from U = 0.75 on. While the slowest agent gets
    less than its floor of tokens/s, the clock is full. The paper does not print the curve between: a straight line
    stands for it (ours). The mean of running requests stands for the slowest agent, who is not observed (ours).

    Args:
        scenario: of the fleet.
        protective: U from which the clock is full [text].
        sweet_spot: clock at U = 0, 900 of 1680 MHz [text].
        least_tokens_per_s: of a running request, below which the clock is full; 20 [text].
    """

    fields = ("kv_reserved_fraction", "awake_replicas", "running_requests", "generated_tokens", "unprefilled_tokens")

    def __init__(
        self,
        scenario: Scenario,
        protective: PositiveFraction = 0.75,
        sweet_spot: PositiveFraction = 0.536,
        least_tokens_per_s: NonNegativeFloat = 20.0,
    ) -> None:
        a = ServiceModel(scenario).power.arrays
        self._tick_s, self._replicas, self._floor = a.tick_s, a.replicas.astype(np.float64), a.clock_floor_fraction
        self._protective, self._sweet_spot, self._least = protective, sweet_spot, least_tokens_per_s

    def clocks(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Clocking.clocks`."""
        use = awake_utilisation(view, self._replicas)
        clock = self._sweet_spot + (1.0 - self._sweet_spot) * np.clip(use / self._protective, 0.0, 1.0)
        running = view["running_requests"]
        each = view["generated_tokens"] / self._tick_s / np.maximum(running, 1.0)
        slow = (running >= 1.0) & (each < self._least) & (view["unprefilled_tokens"] <= 0.0)
        return np.maximum(np.where(slow, 1.0, clock), self._floor), state


class KairosAdmission(Admission):
    """Agents are let in while the KV cache has space for them.

    KAIROS (arXiv 2604.16682) [text]: a pending agent is admitted only below a use of the cache of gamma = 0.9, and the
    number of running ones keeps it below beta = 0.95. Here a class may fill, in a tick, what its pools have left below
    beta, and nothing of a pool from gamma on. Deferrable work is treated like any other.

    Args:
        scenario: of the fleet.
        admit_below: gamma, share of the cache [text].
        keep_below: beta, share of the cache [text].
    """

    fields = ("kv_reserved_fraction", "awake_replicas")

    def __init__(
        self, scenario: Scenario, admit_below: PositiveFraction = 0.9, keep_below: PositiveFraction = 0.95
    ) -> None:
        service = ServiceModel(scenario)
        a = service.power.arrays
        self._tick_s, self._replicas = a.tick_s, a.replicas.astype(np.float64)
        self._kv_tokens, self._mask = np.asarray(a.kv_tokens, np.float64), scenario.route_mask
        self._tokens = service.prompt_tokens + service.output_tokens
        self._admit_below, self._keep_below = admit_below, keep_below

    def rates_rps(self, view: Record, state: State) -> tuple[Float64Array, State]:
        """See `Admission.rates_rps`."""
        use = awake_utilisation(view, self._replicas)
        free_share = np.where(use < self._admit_below, np.maximum(self._keep_below - use, 0.0), 0.0)
        free_tokens = free_share * self._kv_tokens * np.rint(view["awake_replicas"])
        mine = (free_tokens[:, None, :] * self._mask).sum(axis=2)
        return mine / self._tokens / self._tick_s, state
