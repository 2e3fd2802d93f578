"""What is drawn for the client behind a request: its region, its highest price, its back-off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.classes import RequestClassSpec
from tokenfleet.envs.layers.agents.streams import Demand, StreamSpec
from tokenfleet.envs.spec import suggest

_EPISODE = 6
"""Last number of the seed of what all clients of an episode share."""


def client_columns(
    seed: Sequence[int],
    demands: Sequence[Demand],
    streams: Sequence[StreamSpec],
    classes: Mapping[str, RequestClassSpec],
    region_weights: Mapping[str, float],
) -> dict[str, NDArray[Any]]:
    """Columns of `RequestTable` that follow from clients, for the demands one after the other.

    A session is one client; so is every request outside of a session. A column that no class or scenario needs is left
    out.

    Args:
        seed: of a generator of its own, so that what is drawn for clients changes no arrival and no length. What all
            clients share follows from its first two numbers, seed and split of the episode, in futures too.
        demands: of every stream.
        streams: the streams.
        classes: request classes by name.
        region_weights: region -> its number of clients, relative to the others; in the order of `region_id`.
    """
    asked = [classes[stream.request_class] for stream in streams]
    columns: dict[str, NDArray[Any]] = {}
    if len(region_weights) <= 1 and all(spec.max_attempts == 1 and spec.price_tolerance is None for spec in asked):
        return columns
    rng = np.random.default_rng(seed)
    if any(spec.max_attempts > 1 for spec in asked):
        columns["retry_uniform"] = rng.random(sum(len(demand) for demand in demands))
    if any(spec.price_tolerance is not None for spec in asked):
        factors = _episode_factors([*seed[:2], _EPISODE], classes)
        columns["price_tolerance"] = np.concatenate(
            [
                _price_tolerance(rng, demand, spec) * factors.get(stream.request_class, 1.0)
                for demand, stream, spec in zip(demands, streams, asked, strict=True)
            ]
        )
    if len(region_weights) > 1:
        shares = [_region_shares(stream, region_weights) for stream in streams]
        columns["region_id"] = np.concatenate(
            [_regions(rng, demand, share) for demand, share in zip(demands, shares, strict=True)]
        )
    return columns


def region_problems(stream: StreamSpec, regions: Sequence[str]) -> list[str]:
    """One line for each region of a stream that the scenario does not have."""
    named = [stream.region] if isinstance(stream.region, str) else list(stream.region or ())
    return [f"region: unknown region {name!r}{suggest(name, regions)}" for name in named if name not in regions]


def _episode_factors(seed: Sequence[int], classes: Mapping[str, RequestClassSpec]) -> dict[str, float]:
    """Factor of this episode on clients' highest prices, by the classes that mind the price."""
    rng = np.random.default_rng(seed)
    tolerances = {name: spec.price_tolerance for name, spec in classes.items()}
    return {name: spec.draw_factor(rng) for name, spec in tolerances.items() if spec is not None}


def _price_tolerance(rng: np.random.Generator, demand: Demand, spec: RequestClassSpec) -> NDArray[np.float64]:
    if spec.price_tolerance is None:
        return np.full(len(demand), np.inf)
    client = clients_of(demand)
    return spec.price_tolerance.sample(rng, int(client.max(initial=-1)) + 1)[client]


def _regions(rng: np.random.Generator, demand: Demand, shares: NDArray[np.float64]) -> NDArray[np.int32]:
    client = clients_of(demand)
    return rng.choice(len(shares), size=int(client.max(initial=-1)) + 1, p=shares).astype(np.int32)[client]


def _region_shares(stream: StreamSpec, region_weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Share of a stream's clients in each region: the stream's own where it names any, else the scenario's."""
    named = {stream.region: 1.0} if isinstance(stream.region, str) else stream.region
    weights = np.array([region_weights[name] if named is None else named.get(name, 0.0) for name in region_weights])
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def clients_of(demand: Demand) -> NDArray[np.intp]:
    """Number of the client of every request, `[R]`."""
    if "session_id" in demand.columns:
        return demand.columns["session_id"].astype(np.intp)
    return np.arange(len(demand))
