"""The most that a site can draw at a clock, from the public physics: what a provable cap needs.

An iteration of a replica at clock F draws, over all its boards (see `tokenfleet.envs.layers.llm.iteration`),

    power = min( awake_w(F) + x,  shoulder_w(F) + shoulder_slope x,  limit_w ),     x = work_j / tau_s,

and the power never falls with x. A batch has B decoding sequences with C tokens of context, and P prefill tokens with A
attention pairs. Between two knots of the tokens n = B + P, work and time are both affine in the batch. The possible
batches there form a polytope,

    low <= B + P <= high <= token_budget,  0 <= B <= max_batch,  0 <= C <= kv_tokens,  0 <= A <= P * kv_tokens,

(where some layers see a sliding window: kv_tokens and the most of them in all sequences' windows,)

a superset of the batches that the engine forms. A ratio of two affine functions whose denominator is positive takes its
maximum over a polytope at a vertex (A. Charnes, W. Cooper, "Programming with linear fractional functionals", Naval
Research Logistics Quarterly 9, 1962, doi:10.1002/nav.3800090303). So the worst batch is a vertex of a polytope, and the
bound is exact up to batches that the polytopes allow and the engine does not form. Where boards would draw more than
their limit, they lower their clock and draw the limit, so the worst batch stays the worst. The longest iteration is
bounded at the lowest clock that the limit forces on a vertex: every batch holds the limit at that clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.gpu import memory_fraction_under
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.llm.coefficients import Physics
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_effort, iteration_work_j, unlimited_time_s
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.scenario.regimes import extreme_factors

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


class PowerModel:
    """Iteration time and power of every pool, and the worst power of every site and row, at any clock.

    Where a pool has a variant, the worst power is that of the worse model; `physics` is that of the own model.

    Attributes:
        arrays: the fleet, watts per replica.
        decode_memory_fraction: lowest and highest value that an episode may have, `[2, P]`.
        models: `arrays` and `decode_memory_fraction` of the pools' own models and, if any pool has a variant, of the
            variants.
        host_power_factor: highest that an episode may draw.
        is_behind_row: which pools each row feeds, `[P, W]`.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.arrays = FleetArrays.from_scenario(scenario)
        pools = list(scenario.pools.values())
        self.decode_memory_fraction = _drawn_fractions(scenario, pools)
        self.models = [(self.arrays, self.decode_memory_fraction)]
        if scenario.variants:
            switched = _drawn_fractions(scenario, [pool.switched for pool in pools])
            self.models.append((self.arrays.switched, switched))
        self.host_power_factor = (scenario.uncertainty.host_power_factor or (1.0, 1.0))[1]
        self._is_at_site = np.eye(self.arrays.num_sites)[self.arrays.site]  # [P, S]
        rows_above = np.stack([self.arrays.whole_site_row, self.arrays.row])[:, :, None]
        self.is_behind_row = (rows_above == np.arange(self.arrays.num_rows)).any(axis=0)

    def physics(self, clock_fraction: Float64Array, decode_memory_fraction: Float64Array) -> Physics:
        """The coefficients of every pool's iterations.

        Args:
            clock_fraction: F, `[..., P]`.
            decode_memory_fraction: share of decode time that the clock does not scale, `[P]`.
        """
        return self.arrays.coefficients(decode_memory_fraction).at_clock(clock_fraction)

    def worst_busy_w(self, clock_fraction: Float64Array) -> Float64Array:
        """The most that the boards of one replica can draw at a clock, `[..., P]` [W]; never falls with the clock."""
        by_model = [_worst_busy_w(a, fractions, clock_fraction) for a, fractions in self.models]
        worst_w: Float64Array = np.maximum.reduce(by_model)
        return worst_w

    def longest_iteration_s(self) -> Float64Array:
        """The longest that an iteration of each pool can last, `[P]` [s]: the largest batch at the slowest clock.

        The slowest clock is the clock floor, or the clock to which the boards' limit forces them there.

        Before it the pool may take back from host memory all the prefixes there that fit into the memory of its GPUs.
        """
        by_model = [_longest_iteration_s(a, fractions) for a, fractions in self.models]
        longest_s: Float64Array = np.maximum.reduce(by_model)
        return longest_s

    def worst_site_w(self, clock_fraction: Float64Array, awake_replicas: Int64Array) -> Float64Array:
        """The most that each site can draw, cooling included, `[..., S]` [W].

        Args:
            clock_fraction: F, `[..., P]`.
            awake_replicas: replicas of each pool that may be awake, waking or draining, `[P]`; the rest are asleep,
                or stand by where they can.
        """
        pool_w = self._worst_pool_w(clock_fraction, awake_replicas)
        it_w = pool_w @ self._is_at_site + self.arrays.training_jobs * self.arrays.training_busy_w
        site_w: Float64Array = it_w * self.arrays.pue + self.arrays.fixed_w
        return site_w

    def worst_row_w(self, clock_fraction: Float64Array, awake_replicas: Int64Array) -> Float64Array:
        """The most IT power that each row can draw, `[..., W]` [W]; arguments as for `worst_site_w`."""
        row_w: Float64Array = self._worst_pool_w(clock_fraction, awake_replicas) @ self.is_behind_row
        return row_w

    def _with_servers(self, boards_w: Float64Array, host_w: Float64Array) -> Float64Array:
        """Boards and the most that the servers around them draw [W]."""
        it_w: Float64Array = boards_w + self.host_power_factor * (host_w + self.arrays.host_w_per_board_w * boards_w)
        return it_w

    def _worst_pool_w(self, clock_fraction: Float64Array, awake_replicas: Int64Array) -> Float64Array:
        a = self.arrays
        awake_w = self._with_servers(self.worst_busy_w(clock_fraction), a.host_w)
        asleep_w = self._with_servers(a.asleep_w, a.host_asleep_w)
        standby_w = self._with_servers(a.standby_w, a.host_standby_w)
        asleep_w = np.where(a.standby >= 0, np.maximum(asleep_w, standby_w), asleep_w)
        pool_w: Float64Array = awake_replicas * awake_w + (a.replicas - awake_replicas) * asleep_w
        return pool_w


def _drawn_fractions(scenario: Scenario, pools: Sequence[PoolSpec]) -> Float64Array:
    """Lowest and highest share of decode time that the clock does not scale, `[2, P]`."""
    own = np.array([pool.profile.decode_memory_fraction for pool in pools])
    bounds = scenario.uncertainty.decode_memory_fraction
    drawn = np.stack([own, own] if bounds is None else [np.full_like(own, bound) for bound in bounds])
    for p, name in enumerate(scenario.pools):
        lowest, highest = extreme_factors(scenario.regimes, "clock_sensitivity_factor", name)
        drawn[:, p] = [memory_fraction_under(drawn[0, p], highest), memory_fraction_under(drawn[1, p], lowest)]
    return drawn


def _worst_busy_w(a: FleetArrays, memory_fractions: Float64Array, clock_fraction: Float64Array) -> Float64Array:
    """See `PowerModel.worst_busy_w`."""
    batch = extreme_batches(a, np.ndim(clock_fraction) - 1)
    most_memory_bound = memory_fractions[1]  # less stretch, so the same work in less time
    physics = a.coefficients(most_memory_bound).at_clock(clock_fraction)
    drawn_w = physics.draw.energy_j(1.0, iteration_work_j(physics, batch) / unlimited_time_s(physics, batch))
    worst_w: Float64Array = drawn_w.max(axis=0)
    return worst_w


def _longest_iteration_s(a: FleetArrays, memory_fractions: Float64Array) -> Float64Array:
    """See `PowerModel.longest_iteration_s`."""
    batch, floor = extreme_batches(a, 0), a.clock_floor_fraction
    forced = [
        iteration_effort(a.coefficients(fraction).at_clock(floor), batch).clock_fraction
        for fraction in memory_fractions
    ]
    slowest = np.minimum(*(np.broadcast_to(clock, batch.decoding.shape).min(axis=0) for clock in forced))
    least_memory_bound = memory_fractions[0]
    duration_s = unlimited_time_s(a.coefficients(least_memory_bound).at_clock(slowest), batch)
    load_s = np.minimum(a.host_cache_tokens, a.kv_tokens) * a.host_load_s
    longest_s: Float64Array = duration_s.max(axis=0) + load_s
    return longest_s


def extreme_batches(a: FleetArrays, leading_axes: int) -> Batch[Float64Array]:
    """The vertices of the polytopes of batches, `[V, 1, ..., 1, P]`."""
    zero, most = np.zeros(a.num_pools), a.max_batch.astype(float)
    windowed = a.window_ratio * np.minimum(a.kv_tokens, most * a.window_tokens)
    budget, kv = a.token_budget.astype(float), a.kv_tokens + windowed  # of context that is attended to
    bends = np.minimum(np.array([*TOKEN_KNOTS, np.inf])[:, None], budget)  # tokens between which all is affine
    bends = np.concatenate([bends, np.minimum(most, budget)[None]])
    vertices = [
        (decoding, context, tokens - decoding, pairs)
        for tokens in bends
        for decoding in (zero, np.minimum(most, tokens))
        for context in (zero, kv)
        for pairs in (zero, (tokens - decoding) * kv)
    ]
    columns = np.array(vertices).transpose(1, 0, 2)  # [4, V, P]
    return Batch(*columns.reshape(4, -1, *[1] * leading_axes, a.num_pools))
