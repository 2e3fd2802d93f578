"""What a replica can serve at a clock, and for how many joules: the steady state behind routing and consolidation.

A replica that runs B sequences of P prompt and O output tokens prefills B / O requests for every token that each
sequence gains, so a token takes

    tpot(B) = host + T_F(B (1 + P / O)) + B (decode + context (P + O / 2)) phi_d
              + B / O prefill_attention P (P + 1) / 2 phi_p

and the replica serves `B / (O tpot(B))` requests/s, B being the largest batch that fits and keeps the class's limit.
It is the formula of `tokenfleet.envs.action.capacity_rps`, stretched by the clock; a test holds it to that one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.iteration import at_tokens, largest_batch
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.heuristics.power_model import Batch, PowerModel, stretch

Float64Array = NDArray[np.float64]


class Service(NamedTuple):
    """One replica that serves one class and nothing else, at one or many clocks, `[..., K, P]`; 0 where it cannot."""

    requests_per_s: Float64Array
    requests_per_joule: Float64Array  # over all that the site draws for the replica, cooling included


class ServiceModel:
    """Rates of every (class, pool) pair and costs of every pool's typical token.

    Attributes:
        power: the physics it is computed with.
        mean_rate_rps, prompt_tokens, output_tokens: of each class in the long run, `[K]`.
        pool_output_tokens: mean answer of the requests that a pool may get, `[P]`.
        prompt_token_s, output_token_s: replica time that a prompt token of a full token budget and an output token of a
            full batch cost at full clock, `[P]` [s].
        decode_memory_fraction: middle of what an episode may draw, `[P]`.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.power = PowerModel(scenario)
        self._mask = scenario.route_mask
        self.decode_memory_fraction = self.power.decode_memory_fraction.mean(axis=0)
        self.mean_rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
        lengths = np.array([_mean_lengths(scenario, name) for name in scenario.classes])
        self.prompt_tokens, self.output_tokens = lengths[:, 0], lengths[:, 1]
        self._prompt, self._output = self.prompt_tokens[:, None], self.output_tokens[:, None]
        a = self.power.arrays
        self._attention_s = a.prefill_attention_s * self._pairs()
        self._tokens = 1.0 + self._prompt / self._output  # computed in an iteration for each sequence
        self._decode_s = a.decode_s + a.context_s * (self._prompt + self._output / 2.0)
        self._limit_s = np.minimum(a.tpot_s, a.deadline_s / self.output_tokens)[:, None]
        self._held = np.minimum(a.max_batch, a.kv_tokens / (self._prompt + self._output))
        self.pool_output_tokens = self._mix(np.ones(len(lengths)), self._output)
        full = np.ones(a.num_pools)
        token_s = self.power.token_s(full, self.decode_memory_fraction)
        budget = a.token_budget.astype(float)
        full_chunk_s = (a.host_s + at_tokens(token_s, budget)) / budget
        self.prompt_token_s = self._mix(self.prompt_tokens, full_chunk_s + self._attention_s / self._prompt)
        batch = self._batch(full)
        step_s = (a.host_s + at_tokens(token_s, batch)) / batch
        self.output_token_s = self._mix(self.output_tokens, self._decode_s + step_s)

    def at(self, clock_fraction: Float64Array) -> Service:
        """What one replica of each pool serves at a clock.

        Args:
            clock_fraction: F, `[..., P]`.
        """
        a = self.power.arrays
        batch = self._batch(clock_fraction)
        token_s = at_tokens(self._token_s(clock_fraction), batch * self._tokens)
        tpot_s = a.host_s + token_s + batch * self._sequence_s(clock_fraction)
        rate_rps = np.where(self._mask, batch / (self._output * tpot_s), 0.0)
        iteration = Batch(
            decoding=batch,
            context=batch * (self._prompt + self._output / 2.0),
            prefill=batch * self._prompt / self._output,
            pairs=batch * self._pairs() / self._output,
        )
        busy_w = self.power.busy_w(iteration, clock_fraction[..., None, :], self.decode_memory_fraction)
        it_w = busy_w + a.host_w + a.host_w_per_board_w * busy_w
        return Service(rate_rps, rate_rps / (a.pue[a.site] * it_w))

    def _batch(self, clock_fraction: Float64Array) -> Float64Array:
        """B of the module's equation, `[..., K, P]`."""
        sequence_s, host_s = self._sequence_s(clock_fraction), self.power.arrays.host_s
        within = largest_batch(self._token_s(clock_fraction), self._tokens, sequence_s, host_s, self._limit_s)
        batch: Float64Array = np.clip(within, 1.0, np.maximum(self._held, 1.0))
        return batch

    def _token_s(self, clock_fraction: Float64Array) -> Float64Array:
        """T_F at the knots, `[..., 1, P, J]` [s]."""
        return self.power.token_s(clock_fraction[..., None, :], self.decode_memory_fraction)

    def _sequence_s(self, clock_fraction: Float64Array) -> Float64Array:
        """What each further sequence adds to an iteration beyond its tokens, `[..., K, P]` [s]."""
        clock = clock_fraction[..., None, :]
        decode = stretch(clock, self.decode_memory_fraction)
        prefill = stretch(clock, self.power.arrays.prefill_memory_fraction)
        sequence_s: Float64Array = self._decode_s * decode + self._attention_s * prefill / self._output
        return sequence_s

    def _pairs(self) -> Float64Array:
        """(Query, key) pairs of a whole prompt, `[K, 1]`."""
        pairs: Float64Array = self._prompt * (self._prompt + 1.0) / 2.0
        return pairs

    def _mix(self, tokens: Float64Array, values: Float64Array) -> Float64Array:
        """Mean of `values` `[K, P]` over the classes a pool may serve, by how many tokens of them arrive, `[P]`."""
        weight = np.where(self._mask, (np.maximum(self.mean_rate_rps, 1e-9) * tokens)[:, None], 0.0)
        total: Float64Array = (weight * values).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-300)
        return total


def _mean_lengths(scenario: Scenario, request_class: str) -> tuple[float, float]:
    """Mean prompt and output length of a class [tokens]; of a class that no stream asks for, the operator's guess."""
    streams = [stream for stream in scenario.workload.values() if stream.request_class == request_class]
    if not streams:
        expected = float(scenario.classes[request_class].expected_output_tokens)
        return expected, expected
    weights = [stream.mean_rate_rps for stream in streams]
    prompt = np.average([stream.mean_prompt_tokens for stream in streams], weights=weights)
    output = np.average([stream.mean_output_tokens for stream in streams], weights=weights)
    return float(prompt), float(output)
