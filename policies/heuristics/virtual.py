"""Routers that choose a pool for every request, made into shares for a tick.

Shares hold for a whole tick, in which the one best pool would get everything. So `ROUNDS` virtual requests stand for a
tick's requests of a class. The law places them in rounds, one of each class a round. A virtual request adds to its pool
the load of the requests that it stands for. A pool's share is the part of the virtual requests that land in it. Every
pool keeps a small share besides, because no call returns to a pool without one.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.policies.heuristics.parts import Float64Array, Routing

ROUNDS = 12
"""Virtual requests of each class in a tick."""
LEFT_SHARE = 1e-3
"""Share per replica that every pool keeps, whatever lands in it."""
TIE = 1e-9
"""Pools whose costs differ by no more than this, relative or absolute, share a virtual request."""


@dataclass
class PoolLoad:
    """The load of every pool, `[N, P]`, virtual requests included.

    Attributes:
        waiting, running: requests.
        prompt_tokens: not yet computed.
        context_tokens: held or reserved in KV caches.
        awake: replicas; at least 1e-9.
    """

    waiting: Float64Array
    running: Float64Array
    prompt_tokens: Float64Array
    context_tokens: Float64Array
    awake: Float64Array

    @property
    def requests(self) -> Float64Array:
        """All of them, `[N, P]`."""
        return self.waiting + self.running


LOAD_FIELDS = (
    "waiting_requests",
    "running_requests",
    "unprefilled_tokens",
    "kv_reserved_fraction",
    "awake_replicas",
    "arrived",
)
"""Fields of the view that virtual requests need."""


class VirtualRequests(Routing):
    """A router by the cost of the next request, which a subclass defines.

    Attributes:
        service: the steady state of the scenario.
    """

    fields: ClassVar[tuple[str, ...]] = LOAD_FIELDS

    def __init__(self, scenario: Scenario) -> None:
        self.service = ServiceModel(scenario)
        a = self.service.power.arrays
        self._mask = scenario.route_mask
        self.max_batch = a.max_batch.astype(np.float64)
        self.kv_tokens = np.asarray(a.kv_tokens, np.float64)
        self._replicas = a.replicas.astype(np.float64)
        self._mean_arrivals = self.service.mean_rate_rps * a.tick_s
        self.prompt_tokens = self.service.prompt_tokens
        self.request_tokens = self.service.prompt_tokens + self.service.output_tokens

    @abstractmethod
    def cost(self, view: Record, load: PoolLoad) -> Float64Array:
        """What the next request of each class would cost in each pool, `[N, K, P]` or `[N, 1, P]`."""

    def shares(self, view: Record) -> Float64Array:
        """See `Routing.shares`."""
        load = self._load(view)
        asleep = view["awake_replicas"][:, None, :] < 0.5
        closed = ~self._mask | asleep
        each = np.maximum(view["arrived"], self._mean_arrivals) / ROUNDS  # requests per virtual request, [N, K]
        landed = np.zeros((len(view.rows), *self._mask.shape))
        for _ in range(ROUNDS):
            cost = np.where(closed, np.inf, self.cost(view, load))
            least = cost.min(axis=2, keepdims=True)
            finite = np.where(np.isfinite(least), least, 0.0)
            best = (cost <= finite + TIE * np.maximum(np.abs(finite), 1.0)) & ~closed
            choice = best / np.maximum(best.sum(axis=2, keepdims=True), 1)
            landed += choice
            self._add(load, choice * each[:, :, None])
        return (landed / ROUNDS + LEFT_SHARE * self._replicas) * self._mask

    def _load(self, view: Record) -> PoolLoad:
        awake = np.maximum(np.rint(view["awake_replicas"]).astype(np.float64), 1e-9)
        return PoolLoad(
            waiting=view["waiting_requests"].astype(np.float64),
            running=view["running_requests"].astype(np.float64),
            prompt_tokens=view["unprefilled_tokens"].astype(np.float64),
            context_tokens=view["kv_reserved_fraction"] * self.kv_tokens * self._replicas,
            awake=awake,
        )

    def _add(self, load: PoolLoad, landed: Float64Array) -> None:
        """Add virtual requests to the pools; those with a free seat run."""
        requests = landed.sum(axis=1)
        seats = np.maximum(self.max_batch * load.awake - load.running, 0.0)
        seated = np.minimum(requests, seats)
        load.running = load.running + seated
        load.waiting = load.waiting + requests - seated
        load.prompt_tokens = load.prompt_tokens + (landed * self.prompt_tokens[:, None]).sum(axis=1)
        load.context_tokens = load.context_tokens + (landed * self.request_tokens[:, None]).sum(axis=1)
