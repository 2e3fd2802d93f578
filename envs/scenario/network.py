"""Times and prices of a scenario's network: between regions and sites, between sites, and between pools."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.distribution import distances_s, egress_usd, transfer_s
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.scenario.scenario import Scenario


def network_s(scenario: Scenario) -> NDArray[np.float64]:
    """Time of a message from each region to each site, one way, `[G, S]` [s]; 0 where no region is named."""
    places = [region.location for region in scenario.regions.values()]
    return distances_s(scenario.network, places or [None], _site_places(scenario))


def upload_token_s(scenario: Scenario) -> NDArray[np.float64]:
    """Time of a token of a prompt on the line of a region's clients, `[G]` [s]; 0 where no region is named."""
    return np.full(len(scenario.region_names), scenario.network.upload_token_s if scenario.regions else 0.0)


def site_network_s(scenario: Scenario) -> NDArray[np.float64]:
    """Time of a message between each two sites, one way, `[S, S]` [s]; 0 where one of them has no location."""
    times_s = distances_s(scenario.network, _site_places(scenario), _site_places(scenario))
    np.fill_diagonal(times_s, 0.0)
    return times_s


def kv_latency_s(scenario: Scenario) -> NDArray[np.float64]:
    """Time of a message from each pool to each other, one way, `[P, P]` [s]."""
    site = [list(scenario.sites).index(pool.site) for pool in scenario.pools.values()]
    return site_network_s(scenario)[np.ix_(site, site)]


def kv_token_s(scenario: Scenario) -> NDArray[np.float64]:
    """Time on the line of one token of KV cache from each pool to each other, `[P, P]` [s]."""
    between_sites = scenario.network.site_bytes_per_s

    def token_s(sender: PoolSpec, receiver: PoolSpec) -> float:
        nearest = min(sender.kv_move_bytes_per_s, receiver.kv_move_bytes_per_s)
        rate = nearest if sender.site == receiver.site else min(nearest, between_sites)
        return transfer_s(sender.model_spec.kv_bytes_per_token, rate)

    pools = scenario.pools.values()
    return np.array([[token_s(sender, receiver) for receiver in pools] for sender in pools])


def egress_usd_per_byte(scenario: Scenario) -> NDArray[np.float64]:
    """Price of traffic from each site to its clients, `[S]` [USD/byte]."""
    return np.array([egress_usd(1.0, site.price_usd_per_gb(scenario.network)) for site in scenario.sites.values()])


def _site_places(scenario: Scenario) -> list[str | None]:
    return [site.location for site in scenario.sites.values()]
