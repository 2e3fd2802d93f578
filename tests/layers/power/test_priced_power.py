"""What a tariff and a programme say, and every mistake in them by its key."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.layers.power import CapEvent, ProgrammeSpec, TariffSpec, call_phases, called_schedule_w
from tokenfleet.envs.layers.power.programme import CallPhase
from tokenfleet.envs.layers.power.tariff import TimeOfUseSpec
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError

CALL = CapEvent(start_s=10.0, depth_fraction=0.2, notice_s=5.0, ramp_s=0.0, hold_s=10.0, recovery_s=0.0)


def test_a_span_of_the_day_may_cross_midnight() -> None:
    night = TimeOfUseSpec(usd_per_mwh=-5.0, from_hour=22, to_hour=6, utc_offset_h=0)
    assert night.adder_usd_per_mwh(np.array([21.9, 22.0, 24.0, 29.9, 30.0])).tolist() == [0.0, -5.0, -5.0, -5.0, 0.0]


def test_adders_and_carbon_sum() -> None:
    peak = {"usd_per_mwh": 40.0, "from_hour": 0, "to_hour": 24, "utc_offset_h": 0}
    tariff = TariffSpec.parse({"carbon_usd_per_t": 50.0, "time_of_use": [peak, peak]})
    assert tariff.adder_usd_per_mwh(np.zeros(1), 300.0).tolist() == [95.0]


def test_calls_that_overlap_multiply_and_emergencies_are_none() -> None:
    emergency = CapEvent(0.0, 0.5, 0.0, 0.0, 100.0, 0.0, limits_rating=True)
    second = CapEvent(15.0, 0.5, 0.0, 0.0, 10.0, 0.0)
    time_s = np.array([12.0, 17.0, 22.0, 30.0])
    assert called_schedule_w([CALL, emergency, second], 100.0, time_s).tolist() == pytest.approx(
        [20.0, 60.0, 50.0, 0.0]
    )


def test_a_call_counts_before_what_comes_before_and_after_another() -> None:
    later = CapEvent(24.0, 0.2, 2.0, 0.0, 4.0, 0.0)
    rules = ProgrammeSpec(offered_fraction=0.2, rebound_s=8.0)
    phases = call_phases(rules, [CALL, later], np.array([4.0, 6.0, 12.0, 21.0, 23.0, 25.0, 30.0, 40.0]))
    wanted = ("NONE", "ANNOUNCED", "CALLED", "REBOUND", "ANNOUNCED", "CALLED", "REBOUND", "NONE")
    assert phases.tolist() == [CallPhase[name] for name in wanted]


FREE = {"enforced": False, "earliest_start_s": 1.0, "latest_start_s": 1.0, "hold_s": 5.0}
TIER = {"below_share": 0.9, "credit_fraction": 0.2}


@pytest.mark.parametrize(("overrides", "message"), [
    ({"sites.lab.grid.demand_response": [FREE]},
     "sites.lab.grid: demand_response.0.enforced: false means that only money holds the cap; give the grid a"),
    ({"sites.lab.facility.rows": {"a": {"cap_fraction": 1.0, "demand_response": [FREE]}}, "pools.lab-8b.row": "a"},
     "sites.lab.facility.rows.a: demand_response.0.enforced: must be true in a row, where nobody pays for a call"),
    ({"classes.chat-8b.agreement": {"tiers": [TIER, TIER]}},
     "classes.chat-8b.agreement: tiers: each must have a lower below_share and a higher credit_fraction"),
    ({"classes.chat-8b.agreement": {"tiers": []}}, "classes.chat-8b.agreement.tiers: "),
    ({"sites.lab.grid.tariff": {"demand_charge": {"usd_per_kw": -1, "ratchet_fraction": 0.5}}},
     "sites.lab.grid.tariff.demand_charge.usd_per_kw: input should be greater than 0 (got -1)"),
    ({"sites.lab.grid.tariff": {"time_of_use": [{"usd_per_mwh": 1, "from_hour": 3, "to_hour": 3, "utc_offset_h": 0}]}},
     "from_hour and to_hour are both 3; give 0 and 24 for the whole day"),
    ({"sites.lab.grid.programme": {"offered": 0.2}}, "sites.lab.grid.programme.offered: unknown key"),
    ({"sites.lab.grid.regulation": {"capacity_fraction": 0.0}}, "sites.lab.grid.regulation.capacity_fraction: "),
])  # fmt: skip
def test_a_mistake_is_named(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        load_scenario("tiny", overrides)
