"""What pools earn and draw in a steady state at each clock: tables for rules that weigh watts against value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.layers.llm.iteration import Batch, unlimited_time_s
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.heuristics.parts import Float64Array, Int64Array

CLOCK_STEPS = 31
"""Clocks in the tables, from the lowest floor to 1: steps of 2 % from a floor of 0.4."""
REFERENCE_USD_PER_J = 60.0 / 3.6e9
"""Price at which idle energy counts, whatever the site pays: 60 USD/MWh, the default of the scenarios."""


class SteadyPools:
    """Tables over clocks and pools; G is the number of clocks.

    Attributes:
        service: the steady state that the tables come from.
        clocks: the grid, `[G]`.
        pool_clocks: the same, not below the floor of each pool, `[G, P]`.
        replica_rps: what a replica serves of each class, `[G, K, P]`.
        replica_w: what a fully loaded replica draws, cooling included, in the mean over its classes, `[G, P]` [W].
        replica_usd_per_s: what a fully loaded replica earns at list prices, in the same mean, `[G, P]` [USD/s].
        idle_w, asleep_w: what a replica draws, cooling included, `[P]` [W].
        request_usd: list price of a mean request, `[K]`.
        classes: K.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.service = service = ServiceModel(scenario)
        a = service.power.arrays
        self._mask = scenario.route_mask
        self.classes = len(self._mask)
        self.clocks = np.linspace(a.clock_floor_fraction.min(), 1.0, CLOCK_STEPS)
        self.pool_clocks = np.maximum(self.clocks[:, None], a.clock_floor_fraction)
        rates = service.at(self.pool_clocks)
        self.replica_rps = rates.requests_per_s
        prices = [(c.usd_per_million_input_tokens, c.usd_per_million_output_tokens) for c in scenario.classes.values()]
        per_token = np.array(prices) * 1e-6
        self.request_usd = per_token[:, 0] * service.prompt_tokens + per_token[:, 1] * service.output_tokens
        watts = np.where(self._mask, self.replica_rps / np.maximum(rates.requests_per_joule, 1e-300), 0.0)
        mix = self._mask * np.maximum(service.mean_rate_rps, 1e-9)[:, None]
        mix = mix / np.maximum(mix.sum(axis=0), 1e-300)
        pue = a.pue[a.site]
        serves = self._mask.any(axis=0)
        full_w = service.power.worst_busy_w(self.pool_clocks)
        handed_w = pue * (full_w + a.host_w + a.host_w_per_board_w * full_w)  # of pools that only decode
        self.replica_w = np.where(serves, np.einsum("kp,gkp->gp", mix, watts), handed_w)
        self.replica_usd_per_s = np.einsum("kp,k,gkp->gp", mix, self.request_usd, self.replica_rps)
        self.idle_w = pue * (a.idle_w + a.host_w + a.host_w_per_board_w * a.idle_w)
        self.asleep_w = pue * (a.asleep_w + a.host_asleep_w)
        self._fixed_w = a.fixed_w

    def site_w(self, tried: Float64Array, pools: Int64Array) -> Float64Array:
        """What fully loaded replicas of some pools of one site draw with the rest asleep, `[C, G]` [W].

        Args:
            tried: numbers of replicas awake, `[C, len(pools)]`.
            pools: which pools.
        """
        a = self.service.power.arrays
        asleep_w = (a.replicas[pools] - tried) @ self.asleep_w[pools]
        fixed_w = self._fixed_w[a.site[pools[0]]]
        drawn_w: Float64Array = tried @ self.replica_w[:, pools].T + asleep_w[:, None] + fixed_w
        return drawn_w

    def value_under_caps(
        self, tried: Float64Array, pools: Int64Array, limits: Sequence[tuple[float, Int64Array]]
    ) -> Float64Array:
        """Earnings of sets of replicas at the highest clock within all limits, less idle power, `[C]` [USD/s].

        Args:
            tried: numbers of replicas awake, `[C, len(pools)]`.
            pools: which pools; all of one site.
            limits: watts, and the pools that they hold for.
        """
        fits = np.ones((len(tried), CLOCK_STEPS), np.bool_)
        for limit_w, behind in limits:
            inside = np.isin(pools, behind)
            if inside.any():
                fits &= self.site_w(tried[:, inside], pools[inside]) <= limit_w
        step = np.maximum(fits.sum(axis=1) - 1, 0)  # draw rises with the clock
        can_usd = (tried * self.replica_usd_per_s[step][:, pools]).sum(axis=1)
        idle_usd = (tried @ (self.idle_w - self.asleep_w)[pools]) * REFERENCE_USD_PER_J
        return np.where(fits[:, 0], can_usd, 0.0) - idle_usd

    def earned_and_drawn(self) -> tuple[Float64Array, Float64Array, float]:
        """What a loaded replica earns [USD/s] and draws [W] at each clock, `[G, P]`, and the mean ratio [USD/J].

        The ratio is that of full clock, over pools that earn. Pools that decode for others earn nothing themselves:
        they count at that ratio at full clock, and at lower clocks by the square root of the clock, as decoding that
        waits for memory goes.
        """
        earned, drawn = self.replica_usd_per_s, self.replica_w
        serves = earned[-1] > 0.0
        usd_per_j = float((earned[-1, serves] / drawn[-1, serves]).mean())
        decoding = np.sqrt(self.pool_clocks) * drawn[-1] * usd_per_j
        return np.where(serves, earned, decoding), drawn, usd_per_j

    def busy_replicas(self, rate_rps: Float64Array, awake: Float64Array) -> Float64Array:
        """Replicas of each pool that a load keeps busy at full clock, each class spread by capacity, `[N, P]`.

        Args:
            rate_rps: of each class, `[N, K]` [requests/s].
            awake: replicas that may take the load, `[P]`; pools that only decode for others keep all of theirs.
        """
        full_rps = self.replica_rps[-1] * awake  # [K, P]
        share = full_rps / np.maximum(full_rps.sum(axis=1, keepdims=True), 1e-300)
        replica_s = np.where(self.replica_rps[-1] > 0.0, 1.0 / np.maximum(self.replica_rps[-1], 1e-300), 0.0)
        busy: Float64Array = (rate_rps[:, :, None] * share * replica_s).sum(axis=1)
        return np.where(self._mask.any(axis=0), busy, awake)


def divisor_of_each(view: Record) -> Float64Array:
    """Awake replicas of each pool, but at least 1, `[N, P]`: divides a pool's numbers into those of a replica."""
    awake: Float64Array = np.maximum(np.rint(view["awake_replicas"]).astype(np.float64), 1.0)
    return awake


class IterationTimes:
    """How long iterations take at each clock of a grid; G is the number of clocks.

    Attributes:
        clocks: the grid, `[G]`.
        tpot_s, ttft_s: the tightest limits of the classes that a pool serves, `[P]` [s]; infinite without a limit.
        context_tokens: context of a mean request in the middle of its answer, `[P]`.
        prompt_tokens: mean prompt of the requests that a pool may get, `[P]`.
    """

    def __init__(self, scenario: Scenario, steps: int = CLOCK_STEPS) -> None:
        service = ServiceModel(scenario)
        a = service.power.arrays
        self.clocks = np.linspace(a.clock_floor_fraction.min(), 1.0, steps)
        grid = np.maximum(self.clocks[:, None], a.clock_floor_fraction)
        self._physics = service.power.physics(grid, service.decode_memory_fraction)
        self._budget = a.token_budget.astype(np.float64)
        self._kv_tokens, self._replicas = np.asarray(a.kv_tokens, np.float64), a.replicas.astype(np.float64)
        mask = scenario.route_mask
        weight = mask * np.maximum(service.mean_rate_rps, 1e-9)[:, None]
        if not mask.any(axis=0).all():  # a pool that only decodes for others may get any request
            weight = np.where(mask.any(axis=0), weight, np.maximum(service.mean_rate_rps, 1e-9)[:, None])
        weight = weight / weight.sum(axis=0)
        self.prompt_tokens = service.prompt_tokens @ weight
        output_tokens = service.output_tokens @ weight
        self.context_tokens = self.prompt_tokens + output_tokens / 2.0
        does_both = mask.any(axis=0) & (a.hand_off_to < 0)
        self._prefill_share = np.where(does_both, self.prompt_tokens / output_tokens, 0.0)
        classes = scenario.classes.values()
        self.tpot_s = _tightest(np.array([cls.tpot_s or np.inf for cls in classes]), weight)
        self.ttft_s = _tightest(np.array([cls.ttft_s or np.inf for cls in classes]), weight)

    def decode_s(self, sequences: Float64Array, context: Float64Array) -> Float64Array:
        """Time of an iteration that decodes a token of each sequence, `[N, G, P]` [s].

        In a pool that also prefills, the iteration takes as many prompt tokens as keep the number of sequences steady.

        Args:
            sequences: on each replica, `[N, P]`.
            context: tokens of context of these sequences together, `[N, P]`.
        """
        decoding, prefill = sequences[:, None], (sequences * self._prefill_share)[:, None]
        batch = Batch(decoding, context[:, None], prefill, prefill * self.prompt_tokens / 2.0)
        time_s: Float64Array = unlimited_time_s(self._physics, batch)
        return time_s

    def context_on_each(self, view: Record) -> Float64Array:
        """Tokens of context held or reserved on each awake replica, `[N, P]`.

        Args:
            view: with `kv_reserved_fraction` and `awake_replicas`.
        """
        return view["kv_reserved_fraction"] * self._kv_tokens * self._replicas / divisor_of_each(view)

    def prompt_token_s(self) -> Float64Array:
        """Time per prompt token in an iteration that prefills its full token budget, `[G, P]` [s]."""
        nothing = np.zeros_like(self._budget)
        pairs = self._budget * self.prompt_tokens / 2.0
        time_s: Float64Array = unlimited_time_s(self._physics, Batch(nothing, nothing, self._budget, pairs))
        return time_s / self._budget

    def lowest(self, fits: NDArray[np.bool_]) -> Float64Array:
        """The lowest clock of the grid that fits, full where none does, `[N, P]`.

        Args:
            fits: whether each clock fits, `[N, G, P]`.
        """
        step = np.where(fits.any(axis=1), fits.argmax(axis=1), len(self.clocks) - 1)
        return self.clocks[step]


def _tightest(limit_s: Float64Array, weight: Float64Array) -> Float64Array:
    tightest: Float64Array = np.where(weight > 0.0, limit_s[:, None], np.inf).min(axis=0)
    return tightest
