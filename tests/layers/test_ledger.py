"""The ledger by hand: one episode of one site, one pool and one class, and what a wrong number in it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tokenfleet.envs.fields import OUTCOMES
from tokenfleet.envs.layers.ledger import PRICED, Entry, Ledger, LedgerError, LedgerRates, Sums, make_ledger

RATES = LedgerRates(
    late_value_fraction=np.array([0.25]),
    lost_penalty_fraction=np.array([0.5]),
    usd_per_input_token=np.array([0.001]),
    usd_per_output_token=np.array([0.01]),
    cached_input_fraction_of_price=np.array([0.1]),
    lowest_price_factor=np.array([1.0]),
    highest_price_factor=np.array([2.0]),
    charge_efficiency=np.array([0.9]),
    discharge_efficiency=np.array([0.8]),
    battery_change_j=np.array([[-500.0], [500.0]]),
    rent_usd_per_s=np.array([0.02]),
    egress_usd_per_token=np.array([1e-4]),
    site_usd_per_byte=0.0,
)

# 1,000 J of IT at a PUE of 1.2, of which the sun gives 300 J; the battery takes 200 J and gives 72 J.
ENERGY = {
    "busy_energy_j": 600,
    "idle_energy_j": 150,
    "asleep_energy_j": 50,
    "host_energy_j": 200,
    "it_energy_j": 1000,
    "facility_energy_j": 1200,
    "solar_j": 300,
    "battery_charge_j": 200,
    "battery_discharge_j": 72,
    "energy_j": 1028,
}
# Four requests of 100 + 10 tokens: one in time with 40 tokens cached, one late, one refused, one still running with 60
# tokens of its prompt computed; a fifth one of the same kind declined. The late one was preempted once, 30 tokens in.
TOKENS = {
    "arrived": 5,
    "completed_in_slo": 1,
    "completed_late": 1,
    "refused": 1,
    "declined": 1,
    "prompt_tokens_asked": 500,
    "output_tokens_asked": 50,
    **{f"prompt_tokens_{ending}": 100 for ending in ("in_slo", "late", "lost", "declined")},
    **{f"output_tokens_{ending}": 10 for ending in ("in_slo", "late", "lost", "declined")},
    "prefilled_tokens": 60 + 130 + 60,
    "prefix_hit_tokens": 40,
    "generated_tokens": 20,
    "preempted_tokens": 30,
    "running_tokens_change": 60,
    "delivered_tokens": 20,
}
VALUES = {
    "value_in_slo_usd": (60 + 0.1 * 40) * 0.001 + 10 * 0.01,
    "value_late_usd": 0.2,
    "value_lost_usd": 0.2,
    "value_declined_usd": 2 * 0.2,
}
PRICE_USD_PER_J, GRAMS_PER_J = 0.002, 0.1
NET_VALUE_USD = 0.164 + 0.25 * 0.2 - 0.5 * 0.2 - 1028 * PRICE_USD_PER_J


def sums(**changes: float) -> Sums:
    outcomes = {**ENERGY, **TOKENS, **VALUES, **changes}
    total = {field.name: np.array([float(outcomes.get(field.name, 0.0))]) for field in OUTCOMES}

    return Sums(
        total=total,
        usd={name: PRICE_USD_PER_J * float(total[name][0]) for name in PRICED},
        grams={name: GRAMS_PER_J * float(total[name][0]) for name in PRICED},
        duration_s=10.0,
        net_value_usd=NET_VALUE_USD,
        in_flight_requests=1,
        in_flight_tokens=110,
    )


@pytest.fixture
def ledger() -> Ledger:
    return make_ledger(sums(), RATES)


def entry(ledger: Ledger, layer: str, item: str) -> Entry:
    return next(e for e in ledger.entries if (e.layer, e.item) == (layer, item))


def test_the_ledger_by_hand_balances(ledger: Ledger) -> None:
    assert len(ledger.audit()) == 11


def test_batteries_lose_and_keep_what_they_do_not_give_back(ledger: Ledger) -> None:
    # 0.9 of 200 J is stored, 72 / 0.8 J leave the store: 90 J more in it, and 200 - 72 - 90 J are gone.
    assert entry(ledger, "power", "left in batteries").joules == pytest.approx(-90)
    assert entry(ledger, "power", "battery losses").joules == pytest.approx(-38)


def test_every_layer_pays_for_its_joules_at_the_price_of_the_grid(ledger: Ledger) -> None:
    paid = {"cooling and conversion": 200, "servers": 200, "boards busy": 600, "boards idle": 150, "boards asleep": 50}
    for e in ledger.entries:
        if e.item in paid:
            assert (e.joules, e.usd, e.grams) == pytest.approx(
                (-paid[e.item], -0.002 * paid[e.item], 0.1 * paid[e.item])
            )


def test_power_keeps_what_sun_and_battery_save_less_what_the_battery_takes(ledger: Ledger) -> None:
    assert ledger.usd("net", "power") == pytest.approx(PRICE_USD_PER_J * (300 + 72 - 200))


def test_layers_add_up_to_net_value(ledger: Ledger) -> None:
    assert sum(ledger.usd("net", layer) for layer in ("power", "facility", "gpu", "agents")) == pytest.approx(
        NET_VALUE_USD
    )
    assert ledger.usd() == pytest.approx(NET_VALUE_USD)


def test_rent_and_traffic_are_beyond_net_value(ledger: Ledger) -> None:
    assert entry(ledger, "gpu", "rent of all boards").usd == pytest.approx(-0.2)
    assert entry(ledger, "distribution", "answers to clients").usd == pytest.approx(-0.002)
    assert ledger.usd("beyond") == pytest.approx(-0.202)


def test_what_was_not_sold_is_forgone(ledger: Ledger) -> None:
    assert ledger.usd("forgone", "scheduling") == pytest.approx(-0.2 - 0.4)
    assert ledger.usd("forgone", "agents") == pytest.approx(-0.75 * 0.2)


@pytest.mark.parametrize(
    ("outcome", "check"),
    [
        ("solar_j", "supply is consumption and charge"),
        ("energy_j", "supply is consumption and charge"),
        ("battery_charge_j", "supply is consumption and charge"),
        ("facility_energy_j", "energy in is energy out"),
        ("it_energy_j", "boards and servers are IT"),
        ("busy_energy_j", "boards and servers are IT"),
        ("asleep_energy_j", "boards and servers are IT"),
        ("value_in_slo_usd", "dollars are net value"),
        ("value_late_usd", "dollars are net value"),
        ("value_lost_usd", "dollars are net value"),
        ("prefilled_tokens", "context made is answered"),
        ("prefix_hit_tokens", "context made is answered"),
        ("generated_tokens", "context made is answered"),
        ("preempted_tokens", "context made is answered"),
        ("dropped_tokens", "context made is answered"),
        ("running_tokens_change", "context made is answered"),
        ("prompt_tokens_asked", "tokens asked for are answered"),
        ("output_tokens_declined", "tokens asked for are answered"),
        ("prompt_tokens_lost", "tokens asked for are answered"),
        ("delivered_tokens", "tokens delivered are those of answers"),
        ("arrived", "requests end once or are in flight"),
        ("expired", "requests end once or are in flight"),
    ],
)
def test_one_more_of_anything_is_found_out(outcome: str, check: str) -> None:
    more = float({**ENERGY, **TOKENS, **VALUES}.get(outcome, 0)) + 1.0
    with pytest.raises(LedgerError, match=f"the ledger does not balance: .*{check}"):
        make_ledger(sums(**{outcome: more}), RATES).audit()


def test_a_price_beyond_its_factor_is_found_out() -> None:
    with pytest.raises(LedgerError, match="prices are within their factors"):
        make_ledger(sums(value_declined_usd=2 * 0.2 * 4 + 0.1), RATES).audit()


def test_a_battery_that_gave_more_than_it_held_is_found_out() -> None:
    smaller = replace(RATES, battery_change_j=np.array([[-500.0], [80.0]]))
    with pytest.raises(LedgerError, match="power: batteries stay within their bounds: 90 J, must be -500 to 80"):
        make_ledger(sums(), smaller).audit()


def test_a_millionth_of_a_joule_in_a_thousand_is_found_out() -> None:
    with pytest.raises(LedgerError, match="boards and servers are IT"):
        make_ledger(sums(host_energy_j=200 + 1e-5), RATES).audit()


def test_the_table_says_every_number_once(ledger: Ledger) -> None:
    lines = str(ledger).splitlines()
    assert len({len(line) for line in lines if set(line) == {"-"}}) == 1
    assert [line.split()[-1] for line in lines if "boards busy" in line] == ["0.060"]
    assert not any("lost with a replica" in line for line in lines)
    assert lines[-1].split()[1:4] == [f"{value:.4f}" for value in (NET_VALUE_USD, -0.202, -0.75)]
