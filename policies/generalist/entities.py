"""What a site, a pool and a request class show: rows of numbers near [-1, 1] that mean the same in every fleet.

Every number comes from the observation `supervisor`, from means of it over the past, or from public numbers of the
scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.policies.heuristics.linear.features import Fields, Past
from tokenfleet.policies.heuristics.steady import SteadyPools

Float64Array = NDArray[np.float64]

SITE = ("cap", "cap to come", "power", "energy", "energy to come", "dearer", "contract")
"""Cap over the contract, less 1; the lowest cap now or announced, likewise; metered power over the cap, less 1; cost of
all contracts' power at this site's price over the fleet's earnings within SLO, as an inverse hyperbolic sine; how far
forecasts of this cost are above it; how far it is above the mean of all sites; contract over nameplate."""
POOL = ("backlog", "awake", "cache", "worth", "size", "load")
"""Backlog, as a logarithm; share of awake replicas; share of the KV cache in use; what a loaded replica earns per watt,
over the mean of all pools, as a logarithm; replicas, as a logarithm; load of the pool's model, over what all its pools
could serve."""
CLASS = ("backlog", "demand", "declined", "deferrable", "patience", "load", "worth", "penalty")
"""The shortest backlog of the pools that serve the class, as a logarithm; arrivals of the past minute over the usual
ones, as a logarithm; share of arrivals that declined the token price; 1 for a deferrable class; patience, as a
logarithm; load of the class's model; what a replica earns with the class, over the mean of all classes, as a logarithm;
penalty for a lost request, over its price."""

ENERGY = 10.0
"""The feature of energy is linear below a share of revenue of 1 / `ENERGY`, and logarithmic above."""
USD_PER_MWH_IN_W = 3.6e9
"""USD/MWh times W over this is USD/s."""
WIDEST = 3.0
"""Largest magnitude of a feature; larger ones are cut."""


class Shown(NamedTuple):
    """What the entities of N fleets show.

    Attributes:
        sites: `[N, S, len(SITE)]`.
        pools: `[N, P, len(POOL)]`.
        classes: `[N, K, len(CLASS)]`.
    """

    sites: Float64Array
    pools: Float64Array
    classes: Float64Array


class Entities:
    """Reads what the entities of N fleets show; see `policies.heuristics.state_feedback.Reader`.

    Args:
        scenario: of the fleets.
    """

    fields: tuple[str, ...] = (
        "cap_w",
        "announced_cap_w",
        "site_power_w",
        "price_usd_per_mwh",
        "price_forecast_usd_per_mwh",
        "awake_replicas",
        "kv_reserved_fraction",
        "arrived",
        "declined",
    )
    estimated: tuple[str, ...] = ("pool_backlog_s", "class_backlog_s")

    def __init__(self, scenario: Scenario) -> None:
        classes, pools = scenario.classes, scenario.pools
        self._contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
        nameplate_w = np.array([scenario.nameplate_w(site) for site in scenario.sites])
        earned = max(scenario.reference_revenue_usd_per_s, 1e-12)
        self._energy = ENERGY * self._contract_w.sum() / USD_PER_MWH_IN_W / earned
        self._contract = 4.0 * (self._contract_w / nameplate_w - 0.75)
        self._replicas = np.array([pool.replicas for pool in pools.values()], np.float64)
        self._priced = [list(classes).index(name) for name in scenario.priced_classes]
        self._usual = np.array([scenario.mean_rate_rps(name) for name in classes]) * scenario.tick_s
        pool_load, class_load = _loads(scenario)
        steady = SteadyPools(scenario)
        per_watt = steady.replica_usd_per_s[-1] / steady.replica_w[-1]
        usd_per_s = (steady.request_usd[:, None] * steady.replica_rps[-1]).max(axis=1)
        self._of_pools = np.stack([_log_ratio(per_watt), np.log2(self._replicas) - 1.5, pool_load], axis=1)
        told = [(float(c.deferrable), np.log10(c.patience_s / 30.0), c.lost_penalty_fraction) for c in classes.values()]
        deferrable, patience, penalty = np.array(told).T
        self._of_classes = np.stack([deferrable, patience, class_load, _log_ratio(usd_per_s), penalty], axis=1)

    def nothing_past(self, num_envs: int) -> Past:
        """What is remembered before the first reading."""
        return Past(*(np.full((num_envs, len(self._usual)), np.nan) for _ in Past._fields))

    def read(self, view: Fields, past: Sequence[Float64Array], elapsed_s: Float64Array) -> tuple[Shown, Past]:
        """The numbers shown now, and those to remember from now on.

        Args:
            view: the fleets' fields.
            past: what the previous reading left, never changed in place.
            elapsed_s: time since the previous reading, `[N]` [s]; ignored at the first.
        """

        def field(name: str) -> Float64Array:
            return np.asarray(view[name], np.float64)

        declined = np.zeros((len(elapsed_s), len(self._usual)))
        declined[:, self._priced] = field("declined")
        after = Past(field("arrived"), declined).after(past, elapsed_s)
        shown = Shown(self._sites(field), self._pools(field), self._classes(field, after))
        return Shown(*(np.clip(rows, -WIDEST, WIDEST) for rows in shown)), after

    def _sites(self, field: Callable[[str], Float64Array]) -> Float64Array:
        cap, announced = field("cap_w"), field("announced_cap_w")
        price, to_come = field("price_usd_per_mwh"), field("price_forecast_usd_per_mwh")
        energy = np.arcsinh(self._energy * price)
        expected = np.arcsinh(self._energy * to_come).sum(axis=2) / max(to_come.shape[2], 1)
        columns = [
            2.0 * (cap / self._contract_w - 1.0),
            2.0 * (np.minimum(announced.min(axis=2, initial=np.inf), cap) / self._contract_w - 1.0),
            2.0 * (field("site_power_w") / np.maximum(cap, 1.0) - 1.0),
            energy - 1.0,
            expected - energy if to_come.shape[2] else np.zeros_like(energy),
            energy - energy.mean(axis=1, keepdims=True),
            np.broadcast_to(self._contract, cap.shape),
        ]
        return np.stack(columns, axis=2)

    def _pools(self, field: Callable[[str], Float64Array]) -> Float64Array:
        moving = [
            np.log1p(field("pool_backlog_s")) / 2.0,
            field("awake_replicas") / self._replicas - 0.5,
            2.0 * field("kv_reserved_fraction") - 0.5,
        ]
        return _beside(np.stack(moving, axis=2), self._of_pools)

    def _classes(self, field: Callable[[str], Float64Array], past: Past) -> Float64Array:
        arrived, declined = past
        moving = [
            np.log1p(field("class_backlog_s")) / 2.0,
            np.log((arrived + 0.1 * self._usual) / np.maximum(1.1 * self._usual, 1e-9)),
            2.0 * declined / np.maximum(arrived, 1e-9) - 0.5 * np.isin(np.arange(len(self._usual)), self._priced),
        ]
        return _beside(np.stack(moving, axis=2), self._of_classes)


def _beside(moving: Float64Array, still: Float64Array) -> Float64Array:
    """Moving numbers, `[N, n, F]`, followed by constant ones, `[n, G]`, as `[N, n, F + G]`."""
    return np.concatenate([moving, np.broadcast_to(still, (len(moving), *still.shape))], axis=2)


def _loads(scenario: Scenario) -> tuple[Float64Array, Float64Array]:
    """Load of the model of each pool, `[P]`, and of each class, `[K]`, over its capacity: -1 for none, 1 for full."""
    rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
    busy = rate_rps / np.maximum(capacity_rps(scenario).sum(axis=1), 1e-9)
    models = [spec.model for spec in scenario.classes.values()]
    load = {model: sum(b for b, m in zip(busy.tolist(), models, strict=True) if m == model) for model in models}
    of_pools = np.array([load.get(pool.model, 0.0) for pool in scenario.pools.values()])
    return 2.0 * of_pools - 1.0, 2.0 * np.array([load[model] for model in models]) - 1.0


def _log_ratio(values: Float64Array) -> Float64Array:
    """Logarithm of each positive value over the mean of the positive ones; 0 for the others."""
    above = values > 0.0
    mean = values[above].mean() if above.any() else 1.0
    return np.where(above, np.log(np.where(above, values, mean) / mean), 0.0)
