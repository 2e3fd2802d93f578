"""What the pools of a scenario can serve in a steady state, from its public means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.llm.coefficients import Coefficients, Physics
from tokenfleet.envs.layers.llm.steady_state import MeanRequest, largest_batch, service_rate_rps
from tokenfleet.envs.scenario import Scenario

Float64Array = NDArray[np.float64]


def mean_request(scenario: Scenario, request_class: str) -> MeanRequest:
    """Mean prompt and output of a class; both `expected_output_tokens` for a class that no stream asks for."""
    means = [scenario.mean_demand(name) for name in scenario.streams_of(request_class)]
    if not means:
        expected = float(scenario.classes[request_class].expected_output_tokens)
        return MeanRequest(expected, expected)
    rate_rps = scenario.mean_rate_rps(request_class)
    prompt = sum(mean.rate_rps * mean.prompt_tokens for mean in means) / rate_rps
    output = sum(mean.rate_rps * mean.output_tokens for mean in means) / rate_rps
    return MeanRequest(prompt, output)


class SteadyState:
    """Replicas that each serve one class and nothing else, `[K, P]`, by `layers.llm.steady_state`.

    A replica runs the largest batch, at least 1, for which seats (`max_batch`) and KV cache suffice and the time per
    token keeps the limits of the class. A deadline limits the time per token to the deadline over the output tokens.
    Queueing and bursts are left out: use the rates to weigh pools, not as promises.

    Attributes:
        request: the mean request of each class, `[K, 1]`, with the windows of each pool's model, `[P]`.
    """

    def __init__(self, scenario: Scenario, switched: bool = False) -> None:
        """With the pools' own models or, if `switched`, with variants where pools have them."""
        self._mask = scenario.route_mask
        own = scenario.pools.values()
        pools, classes = [pool.switched if switched else pool for pool in own], scenario.classes.values()
        means = [mean_request(scenario, name) for name in scenario.classes]
        prompt = np.array([[mean.prompt_tokens] for mean in means])
        output = np.array([[mean.output_tokens] for mean in means])
        models = [pool.model_spec for pool in pools]
        windows = np.array([model.sliding_window or 0 for model in models])
        self.request = MeanRequest(prompt, output, windows, np.array([model.window_ratio for model in models]))
        deadline_s = np.array([[cls.deadline_s or np.inf] for cls in classes])
        self._limit_s = np.minimum(np.array([[cls.tpot_s or np.inf] for cls in classes]), deadline_s / output)
        kv_tokens = np.array([pool.kv_capacity_tokens for pool in pools])
        self._held = np.minimum(np.array([pool.max_batch for pool in pools]), kv_tokens / (prompt + output))

    def batch(self, physics: Physics) -> Float64Array:
        """Sequences that a replica runs, `[..., K, P]`.

        Args:
            physics: of the pools, `[..., 1, P]`; or at full clock, `[P]`.
        """
        within = largest_batch(physics, self.request, self._limit_s)
        batch: Float64Array = np.clip(within, 1.0, np.maximum(self._held, 1.0))
        return batch

    def rate_rps(self, physics: Physics, batch: Float64Array) -> Float64Array:
        """Service rate of a replica with `batch`, `[..., K, P]` [requests/s]; 0 for classes of other models."""
        rate_rps: Float64Array = np.where(self._mask, service_rate_rps(physics, self.request, batch), 0.0)
        return rate_rps


def capacity_rps(scenario: Scenario) -> Float64Array:
    """What each pool could serve of each class if it served nothing else, at full clock, `[K, P]` [requests/s]."""
    steady, pools = SteadyState(scenario), scenario.pools.values()
    full_clock = Coefficients.stack([pool.coefficients for pool in pools]).at_clock(np.ones(len(pools)))
    replicas = np.array([pool.replicas for pool in pools])
    return replicas * steady.rate_rps(full_clock, steady.batch(full_clock))


def capacity_share(scenario: Scenario) -> Float64Array:
    """`capacity_rps` of each class, normalised over pools, `[K, P]`; 0 where a pool does not serve a class."""
    capacity = capacity_rps(scenario)
    share: Float64Array = capacity / capacity.sum(axis=1, keepdims=True)
    return share
