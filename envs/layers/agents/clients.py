"""What is drawn for the client behind a request: where it is, what it would pay, how it backs off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.agents.classes import RequestClassSpec
from tokenfleet.envs.layers.agents.streams import Demand


def client_columns(
    rng: np.random.Generator, demands: Sequence[Demand], classes: Sequence[RequestClassSpec]
) -> dict[str, NDArray[Any]]:
    """Columns of `RequestTable` that follow from clients, for the demands one after the other.

    A session is one client; so is every request outside of one. A column that no class asks for is left out.

    Args:
        rng: a generator of its own, so that a class that begins to retry changes nothing else of an episode.
        demands: of every stream.
        classes: request class of every stream.
    """
    columns: dict[str, NDArray[Any]] = {}
    if any(spec.max_attempts > 1 for spec in classes):
        columns["retry_uniform"] = rng.random(sum(len(demand) for demand in demands))
    if any(spec.price_tolerance is not None for spec in classes):
        pairs = zip(demands, classes, strict=True)
        columns["price_tolerance"] = np.concatenate([_price_tolerance(rng, *pair) for pair in pairs])
    return columns


def _price_tolerance(rng: np.random.Generator, demand: Demand, spec: RequestClassSpec) -> NDArray[np.float64]:
    if spec.price_tolerance is None:
        return np.full(len(demand), np.inf)
    client = _clients(demand)
    return spec.price_tolerance.sample(rng, int(client.max(initial=-1)) + 1)[client]


def _clients(demand: Demand) -> NDArray[np.intp]:
    """Number of the client of every request, `[R]`."""
    if "session_id" in demand.columns:
        return demand.columns["session_id"].astype(np.intp)
    return np.arange(len(demand))
