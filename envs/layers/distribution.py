"""Layer 5, distribution: places of clients and sites, travel times of messages, and prices of traffic out of a site.

A place is named as the matrix of round-trip times names it, for example `aws:us-east-1`. A message travels for half of
the round-trip time; what it carries takes its bytes over the bandwidth on top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import CatalogSpec, find, load_rtt
from tokenfleet.envs.catalog.latency import RttMatrix
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, Spec, suggest

BYTES_PER_GB = 1e9

EGRESS_USD_PER_GB: dict[str, float] = {"aws": 0.09, "azure": 0.087, "gcp": 0.12}
"""List price of the first paid tier of traffic from a North American region to the internet, by the provider that a
place's name begins with: Amazon EC2 on-demand pricing (data transfer out to internet, first 10 TB), Azure bandwidth
pricing (premium global network, first 10 TB) and Google Cloud network pricing (premium tier, first TiB; the price is
per GiB there), as of 2025-26. Large customers pay less; other continents cost more."""


class RegionSpec(Spec):
    """Where clients are.

    Attributes:
        location: a place of the network's matrix, for example `aws:us-east-1`; a client there reaches a site as fast as
            a machine of that cloud region does. The last mile from a client to that region is left out.
        weight: share of the clients, relative to the other regions.
    """

    location: str
    weight: NonNegativeFloat = 1.0


class NetworkSpec(CatalogSpec):
    """Distances, bandwidths and prices of traffic.

    Attributes:
        rtt: catalogue name of the matrix of round-trip times.
        local_rtt_s: round trip between two machines of one place [s]; 1 ms is an assumption (the closest two places in
            the shipped matrix, two clouds in one metropolis, are 1.5 ms apart).
        client_bytes_per_s: rate at which a client's connection sends a prompt to a site, where regions are named
            [bytes/s]; 100 Mbit/s is an assumption.
        site_bytes_per_s: rate of one transfer between two sites [bytes/s]; 10 Gbit/s is an assumption.
        prompt_bytes_per_token: text of a prompt; 4 is what OpenAI's tokenizer page gives for English.
        output_bytes_per_token: what a streamed token takes on the wire; 250 is an assumption for one server-sent event
            of an OpenAI-compatible server, a JSON chunk around a few letters.
        egress_usd_per_gb: price of traffic that leaves to clients, by provider; list prices by default.
        site_usd_per_gb: price of traffic from site to site; 0.02 is the list price between regions of North America of
            AWS and Google Cloud, 2025-26. A company's own lines cost less.
    """

    rtt: Name = "skyplane-2022"
    local_rtt_s: NonNegativeFloat = 0.001
    client_bytes_per_s: PositiveFloat = 12.5e6
    site_bytes_per_s: PositiveFloat = 1.25e9
    prompt_bytes_per_token: PositiveFloat = 4.0
    output_bytes_per_token: PositiveFloat = 250.0
    egress_usd_per_gb: dict[Name, NonNegativeFloat] = Field(default_factory=EGRESS_USD_PER_GB.copy)
    site_usd_per_gb: NonNegativeFloat = 0.02

    @model_validator(mode="after")
    def _matrix_exists(self) -> Self:
        find("rtt", self.rtt, self.search_paths)
        return self

    def problem(self, location: str) -> str:
        """What is wrong with a place's name; empty if nothing is."""
        places = self._matrix.places
        return "" if location in places else f"unknown place {location!r}{suggest(location, places)}"

    def one_way_s(self, location: str, other: str) -> float:
        """Time of a message between two places: half of the round trip [s].

        >>> round(NetworkSpec().one_way_s("aws:us-east-1", "aws:eu-west-1"), 4)
        0.0425
        >>> NetworkSpec().one_way_s("aws:us-east-1", "aws:us-east-1")
        0.0005
        """
        rtt_s = self._matrix.between(location, other)
        return (self.local_rtt_s if math.isnan(rtt_s) else rtt_s) / 2.0

    def list_price_usd_per_gb(self, location: str | None) -> float:
        """What traffic to clients costs at a place [USD/GB]; nothing where the provider has no price.

        >>> NetworkSpec().list_price_usd_per_gb("gcp:us-east4-a"), NetworkSpec().list_price_usd_per_gb(None)
        (0.12, 0.0)
        """
        return self.egress_usd_per_gb.get((location or "").split(":")[0], 0.0)

    @property
    def upload_token_s(self) -> float:
        """Time on a client's line of one token of its prompt [s]; what is cached at the site is sent all the same."""
        return transfer_s(self.prompt_bytes_per_token, self.client_bytes_per_s)

    @cached_property
    def _matrix(self) -> RttMatrix:
        return load_rtt(self.rtt, self.search_paths)


def distances_s(
    network: NetworkSpec, places: Sequence[str | None], others: Sequence[str | None]
) -> NDArray[np.float64]:
    """Time of a message from each place to each other, one way, `[len(places), len(others)]` [s]; 0 for no place.

    >>> distances_s(NetworkSpec(), ["aws:us-east-1", None], ["aws:us-east-1", "azure:eastus"]).tolist()
    [[0.0005, 0.00095], [0.0, 0.0]]
    """

    def one_way_s(place: str | None, other: str | None) -> float:
        return 0.0 if place is None or other is None else network.one_way_s(place, other)

    return np.array([[one_way_s(place, other) for other in others] for place in places], dtype=np.float64)


def location_problems(
    network: NetworkSpec, regions: Mapping[str, RegionSpec], site_places: Mapping[str, str | None]
) -> list[str]:
    """Mistakes in the locations of regions and sites, one line each."""
    places = {f"regions.{name}.location": region.location for name, region in regions.items()}
    places |= {f"sites.{name}.location": place for name, place in site_places.items() if place is not None}
    problems = [f"{key}: {problem}" for key, place in places.items() if (problem := network.problem(place))]
    if regions:
        missing = "missing; regions are named, so each site must say where it stands"
        problems += [f"sites.{name}.location: {missing}" for name, place in site_places.items() if place is None]
        if not any(region.weight for region in regions.values()):
            problems.append("regions: every weight is 0; at least one region needs clients")
    return problems


def transfer_s(size_bytes: float, bytes_per_s: float) -> float:
    """Time on the line beyond the first byte's [s].

    >>> transfer_s(400_000, 12.5e6)  # the text of 100,000 tokens over 100 Mbit/s
    0.032
    """
    return size_bytes / bytes_per_s


def egress_usd(size_bytes: float, usd_per_gb: float) -> float:
    """What it costs to send `size_bytes` out of a site [USD].

    >>> egress_usd(250 * 1_000_000, 0.09)  # a million streamed tokens
    0.0225
    """
    return size_bytes * usd_per_gb / BYTES_PER_GB
