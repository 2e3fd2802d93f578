"""Distances are the measured ones, agree from both ends, and cost what the price lists say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tokenfleet.envs.catalog import load_rtt
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.distribution import (
    EGRESS_USD_PER_GB,
    NetworkSpec,
    egress_usd,
)
from tokenfleet.envs.scenario import load_scenario, network
from tokenfleet.envs.spec import SpecError

MATRIX = load_rtt("skyplane-2022")
PAIRS = list(itertools.combinations(range(len(MATRIX.places)), 2))
LIGHT_IN_FIBRE_KM_PER_S = 2.0e5
TWO_COASTS = {
    "sites.east.location": "aws:us-east-1",
    "sites.west.location": "aws:us-west-2",
    "regions": {
        "virginia": {"location": "azure:eastus", "weight": 3},
        "ireland": {"location": "aws:eu-west-1"},
    },
}


def test_sixty_nine_places_know_the_way_to_each_other() -> None:
    assert len(MATRIX.places) == 69
    assert {place.split(":")[0] for place in MATRIX.places} == set(EGRESS_USD_PER_GB)
    assert all(MATRIX.rtt_s[i, j] > 0.0 and MATRIX.rtt_s[j, i] > 0.0 for i, j in PAIRS)


def test_both_ends_measure_nearly_the_same_round_trip() -> None:
    there, back = (np.array([MATRIX.rtt_s[pair[::step]] for pair in PAIRS]) for step in (1, -1))
    difference = np.abs(there - back) / np.minimum(there, back)
    assert np.median(difference) < 0.005
    assert np.quantile(difference, 0.85) < 0.1
    for i, j in PAIRS[::97]:
        a, b = MATRIX.places[i], MATRIX.places[j]
        assert MATRIX.between(a, b) == MATRIX.between(b, a) == min(MATRIX.rtt_s[i, j], MATRIX.rtt_s[j, i])


def test_no_detour_over_a_third_place_saves_more_than_routing_explains() -> None:
    """The internet breaks the triangle inequality, but mildly: never by a factor of more than 2.2 here."""
    rtt_s = np.fmin(MATRIX.rtt_s, MATRIX.rtt_s.T)
    np.fill_diagonal(rtt_s, 0.0)
    over_a_third = (rtt_s[:, None, :] + rtt_s[None, :, :]).min(axis=2)
    direct = np.array([rtt_s[pair] for pair in PAIRS])
    detour = np.array([over_a_third[pair] for pair in PAIRS])
    assert np.max(direct / detour) < 2.2
    assert np.mean(direct / detour > 1.5) < 0.08


@pytest.mark.parametrize(("place", "other", "great_circle_km"), [
    ("aws:us-east-1", "aws:us-west-2", 3_600),
    ("aws:us-east-1", "aws:eu-west-1", 5_400),
    ("aws:us-east-1", "aws:ap-southeast-1", 15_500),
    ("aws:eu-central-1", "aws:sa-east-1", 9_800),
    ("gcp:us-east4-a", "aws:us-east-1", 30),
])  # fmt: skip
def test_no_message_is_faster_than_light_in_fibre(place: str, other: str, great_circle_km: float) -> None:
    one_way_s = NetworkSpec().one_way_s(place, other)
    assert great_circle_km / LIGHT_IN_FIBRE_KM_PER_S < one_way_s < 3 * great_circle_km / LIGHT_IN_FIBRE_KM_PER_S + 0.003


def test_without_regions_no_message_takes_time() -> None:
    scenario = load_scenario("default")
    assert scenario.region_names == ("everywhere",)
    assert network.network_s(scenario).tolist() == [[0.0, 0.0]]
    assert network.egress_usd_per_byte(scenario).tolist() == [0.0, 0.0]


def test_a_message_from_a_region_to_a_site_takes_half_of_the_measured_round_trip() -> None:
    scenario = load_scenario("default", TWO_COASTS)
    assert scenario.region_names == ("virginia", "ireland")
    expected = [
        [MATRIX.between("azure:eastus", "aws:us-east-1") / 2, MATRIX.between("azure:eastus", "aws:us-west-2") / 2],
        [MATRIX.between("aws:eu-west-1", "aws:us-east-1") / 2, MATRIX.between("aws:eu-west-1", "aws:us-west-2") / 2],
    ]
    assert network.network_s(scenario).tolist() == expected
    between = MATRIX.between("aws:us-east-1", "aws:us-west-2") / 2
    assert network.site_network_s(scenario).tolist() == [[0.0, between], [between, 0.0]]


def test_egress_costs_the_list_price_of_the_sites_provider_unless_it_says_otherwise() -> None:
    scenario = load_scenario("default", {**TWO_COASTS, "sites.west.egress_usd_per_gb": 0.01})
    assert network.egress_usd_per_byte(scenario).tolist() == pytest.approx([0.09e-9, 0.01e-9])
    # An answer of 500 streamed tokens is 125 kB: a hundredth of a cent.
    assert egress_usd(500 * scenario.network.output_bytes_per_token, 0.09) == pytest.approx(1.125e-5)


def test_an_episode_draws_clients_by_the_regions_weights() -> None:
    requests = sample_episode(load_scenario("default", TWO_COASTS), 0).requests
    assert np.mean(requests.region_id == 0) == pytest.approx(0.75, abs=0.02)


def test_a_stream_may_say_where_its_clients_are() -> None:
    here = {f"workload.{name}.region": "ireland" for name in load_scenario("default").workload}
    assert set(sample_episode(load_scenario("default", {**TWO_COASTS, **here}), 0).requests.region_id.tolist()) == {1}


def test_a_wrong_region_of_a_stream_is_named() -> None:
    with pytest.raises(SpecError, match=r"chat-8b\.region: unknown region 'irland'; did you mean 'ireland'"):
        load_scenario("default", {**TWO_COASTS, "workload.chat-8b.region": "irland"})


def test_the_engine_takes_every_distance() -> None:
    """One way, Virginia is 1 ms from east and 40 ms from west, Ireland 42 and 61; the coasts are 34 apart."""
    arrays = FleetArrays.from_scenario(load_scenario("default", TWO_COASTS))
    assert arrays.network_s == pytest.approx(np.array([[0.00095, 0.0398], [0.04245, 0.06115]]))
    across = arrays.site[:, None] != arrays.site[None, :]
    assert across.any(axis=1).all()
    assert arrays.kv_latency_s == pytest.approx(0.03415 * across)


@pytest.mark.parametrize(("changes", "message"), [
    ({"sites.east.location": "aws:us-east-11"}, "scenario.sites.east.location: unknown place .*mean 'aws:us-east-1'"),
    ({"regions": {"home": {"location": "aws:eu-west"}}}, "regions.home.location: unknown place .*mean 'aws:eu-west-"),
    ({"sites.west.location": None}, "sites.west.location: missing; regions are named"),
    ({"regions": {"home": {"location": "aws:eu-west-1", "weight": 0}}}, "regions: every weight is 0"),
    ({"network.rtt": "skyplan-2022"}, "network.rtt: unknown name 'skyplan-2022'; did you mean 'skyplane-2022'"),
])  # fmt: skip
def test_a_wrong_place_is_named_by_key_value_and_fix(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load_scenario("default", {**TWO_COASTS, **changes})


@pytest.mark.parametrize(("table", "message"), [
    (",a,b\na,,5\nb,7,\n", None),
    (",a,b\nb,,5\na,7,\n", "first column must name the same places"),
    (",a,b\na,,5\nb,,\n", r"mine\.csv:3: no time from 'b' to 'a'"),
    (",a,b\na,,fast\nb,7,\n", r"mine\.csv:2: must be a time in milliseconds \(got 'fast'\)"),
    (",a,b\na,,5\nb,7\n", r"mine\.csv:3: 1 time for 2 places"),
])  # fmt: skip
def test_a_users_matrix_is_read_or_its_mistake_is_named(table: str, message: str | None, tmp_path: Path) -> None:
    (tmp_path / "rtt").mkdir()
    (tmp_path / "rtt" / "mine.yaml").write_text("file: mine.csv\n")
    (tmp_path / "rtt" / "mine.csv").write_text(table)
    if message is None:
        assert load_rtt("mine", [tmp_path]).between("a", "b") == 0.005
    else:
        with pytest.raises(SpecError, match=message):
            load_rtt("mine", [tmp_path])
