"""What a replica can serve at a clock, and for how many joules: the steady state behind routing and consolidation.

A replica that runs B sequences of P prompt and O output tokens prefills B / O requests for every token that each
sequence gains, so a token takes

    tpot(B) = (t0 + B (decode + context (P + O / 2))) phi_d + B / O (prefill P + prefill_attention P (P + 1) / 2) phi_p

and the replica serves `B / (O tpot(B))` requests/s, B being the largest batch that fits and keeps the class's limit.
It is the formula of `tokenfleet.envs.action.capacity_rps`, stretched by the clock; a test holds it to that one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
        prompt_token_s, output_token_s: replica time that a prompt token and an output token of them cost at full clock
            and full batch, `[P]` [s].
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
        self._prefill_s = a.prefill_s * self._prompt + a.prefill_attention_s * self._pairs()
        self._decode_s = a.decode_s + a.context_s * (self._prompt + self._output / 2.0)
        self._limit_s = np.minimum(a.tpot_s, a.deadline_s / self.output_tokens)[:, None]
        self._held = np.minimum(a.max_batch, a.kv_tokens / (self._prompt + self._output))
        self.pool_output_tokens = self._mix(np.ones(len(lengths)), self._output)
        self.prompt_token_s = self._mix(self.prompt_tokens, self._prefill_s / self._prompt)
        fixed_s = a.t0_s / self._batch(np.ones(a.num_pools))
        self.output_token_s = self._mix(self.output_tokens, self._decode_s + fixed_s)

    def at(self, clock_fraction: Float64Array) -> Service:
        """What one replica of each pool serves at a clock.

        Args:
            clock_fraction: F, `[..., P]`.
        """
        a = self.power.arrays
        batch = self._batch(clock_fraction)
        decode, prefill = self._stretch(clock_fraction)
        tpot_s = a.t0_s * decode + batch * self._sequence_s(decode, prefill)
        rate_rps = np.where(self._mask, batch / (self._output * tpot_s), 0.0)
        iteration = Batch(
            decoding=batch,
            context=batch * (self._prompt + self._output / 2.0),
            prefill=batch * self._prompt / self._output,
            pairs=batch * self._pairs() / self._output,
        )
        busy_w = self.power.busy_w(iteration, clock_fraction[..., None, :], self.decode_memory_fraction)
        return Service(rate_rps, rate_rps / (a.pue[a.site] * (busy_w + a.host_w)))

    def _batch(self, clock_fraction: Float64Array) -> Float64Array:
        """B of the module's equation, `[..., K, P]`."""
        decode, prefill = self._stretch(clock_fraction)
        slack_s = self._limit_s - self.power.arrays.t0_s * decode
        batch: Float64Array = np.clip(slack_s / self._sequence_s(decode, prefill), 1.0, np.maximum(self._held, 1.0))
        return batch

    def _sequence_s(self, decode: Float64Array, prefill: Float64Array) -> Float64Array:
        sequence_s: Float64Array = self._decode_s * decode + self._prefill_s * prefill / self._output
        return sequence_s

    def _stretch(self, clock_fraction: Float64Array) -> tuple[Float64Array, Float64Array]:
        clock = clock_fraction[..., None, :]
        memory_fraction = self.power.arrays.prefill_memory_fraction
        return stretch(clock, self.decode_memory_fraction), stretch(clock, memory_fraction)

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
