"""What a replica can serve at a clock, and for how many joules: the steady state behind routing and consolidation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_power_w, unlimited_time_s
from tokenfleet.envs.layers.llm.steady_state import steady_batch
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import SteadyState

Float64Array = NDArray[np.float64]


class Service(NamedTuple):
    """One replica that serves one class and nothing else, at one or many clocks, `[..., K, P]`; 0 where it cannot."""

    requests_per_s: Float64Array
    requests_per_joule: Float64Array  # over all that the site draws for the replica, cooling included


class TokenCosts(NamedTuple):
    """What tokens take of a replica's time with one model, `[P]`, at the highest clock and without a limit of power.

    Attributes:
        prompt_s: of a prompt token of a full token budget [s].
        output_s: of an output token of a full batch [s].
        prefill_memory_fraction, decode_memory_fraction: share of the two that no clock changes; for decode, the middle
            between the lowest and the highest that an episode may have.
    """

    prompt_s: Float64Array
    output_s: Float64Array
    prefill_memory_fraction: Float64Array
    decode_memory_fraction: Float64Array


class ServiceModel:
    """Service rates of every (class, pool) pair, and costs of every pool's mean token.

    Attributes:
        power: the physics of the fleet.
        mean_rate_rps, prompt_tokens, output_tokens: of each class in the long run, `[K]`.
        pool_output_tokens: mean answer of the requests that a pool may get, `[P]`.
        costs: of tokens, with the own models of pools.
        switched_costs: the same with variants where pools have one; None where none has.
        decode_memory_fraction: middle between the lowest and the highest that an episode may have, `[P]`.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.power = PowerModel(scenario)
        self._mask = scenario.route_mask
        self._steady = SteadyState(scenario)
        self.decode_memory_fraction = self.power.decode_memory_fraction.mean(axis=0)
        self.mean_rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
        request = self._steady.request
        self.prompt_tokens, self.output_tokens = request.prompt_tokens[:, 0], request.output_tokens[:, 0]
        self.pool_output_tokens = self._mix(np.ones(len(self.output_tokens)), request.output_tokens)
        self.costs = self._token_costs(self.power.arrays, self._steady, self.decode_memory_fraction)
        self.switched_costs: TokenCosts | None = None
        if scenario.variants:
            a, fractions = self.power.models[1]
            self.switched_costs = self._token_costs(a, SteadyState(scenario, switched=True), fractions.mean(axis=0))

    def at(self, clock_fraction: Float64Array) -> Service:
        """What one replica of each pool serves at a clock.

        Args:
            clock_fraction: F, `[..., P]`.
        """
        a = self.power.arrays
        physics = self.power.physics(clock_fraction[..., None, :], self.decode_memory_fraction)
        batch = self._steady.batch(physics)
        rate_rps = self._steady.rate_rps(physics, batch)
        busy_w = iteration_power_w(physics, steady_batch(self._steady.request, batch))
        it_w = busy_w + a.host_w + a.host_w_per_board_w * busy_w
        return Service(rate_rps, rate_rps / (a.pue[a.site] * it_w))

    def _token_costs(self, a: FleetArrays, steady: SteadyState, decode_memory_fraction: Float64Array) -> TokenCosts:
        """The costs of pure prefill iterations, and of pure decode iterations."""
        request = steady.request
        full_clock = a.coefficients(decode_memory_fraction).at_clock(np.ones(a.num_pools))
        budget, nothing = a.token_budget.astype(float), np.zeros(a.num_pools)
        chunk_s = unlimited_time_s(full_clock, Batch(nothing, nothing, budget, nothing)) / budget
        attention_s = full_clock.prefill_attention_s * request.pairs / request.prompt_tokens
        batch = steady.batch(full_clock)
        decoding = Batch(batch, batch * request.context_tokens, nothing, nothing)
        step_s = unlimited_time_s(full_clock, decoding) / batch
        return TokenCosts(
            self._mix(self.prompt_tokens, chunk_s + attention_s),
            self._mix(self.output_tokens, step_s),
            a.prefill_memory_fraction,
            decode_memory_fraction,
        )

    def _mix(self, tokens: Float64Array, values: Float64Array) -> Float64Array:
        """Mean of `values` `[K, P]` over the classes that a pool may serve, weighted by their `tokens`, `[P]`."""
        weight = np.where(self._mask, (np.maximum(self.mean_rate_rps, 1e-9) * tokens)[:, None], 0.0)
        total: Float64Array = (weight * values).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-300)
        return total
