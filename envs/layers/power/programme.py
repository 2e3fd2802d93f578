"""A demand-response programme: pay of a site for giving up power, and damages where the site does not."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.power.events import CapEvent
from tokenfleet.envs.layers.power.tariff import WATTS_PER_MW
from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, Spec
from tokenfleet.envs.units import SECONDS_PER_HOUR

Float64Array = NDArray[np.float64]


class CallPhase(IntEnum):
    """Where a programme stands."""

    NONE = 0
    ANNOUNCED = 1
    CALLED = 2
    REBOUND = 3


class ProgrammeSpec(Spec):
    """The contract behind the demand-response events of a site, which are its *calls*.

    The baseline is the mean power in the `baseline_s` before a call was announced (PJM's *hour before*, Manual 11,
    section 10; of the kind *meter before / meter after* in NAESB's terms), or a stated share of the contract. The
    baseline stands still from the notice to the end of the rebound window.

    - Availability is paid for `offered_fraction` of the contract in every second; during a call, times the share of the
      called power that is delivered, as ERCOT's emergency response service pays by an event's performance factor.
    - Activation is paid for what is delivered: power below the baseline, at most what is called.
    - Damages are owed for the energy above the called cap: PJM's charge for demand response that does not perform in a
      performance assessment interval is about 2,300 USD/MWh in 2027/28 (RTO Insider, February 2026).
    - Rebound is the energy above the baseline, and a tolerance, in the time after a call.

    Attributes:
        offered_fraction: share of the contract that is offered.
        availability_usd_per_mw_h: for each MW offered and hour.
        activation_usd_per_mwh: for each MWh delivered.
        damages_usd_per_mwh: for each MWh above the called cap.
        baseline_s: how long before the notice, in whole ticks rounded up; until a tick has passed without a call the
            baseline is the contract [s].
        baseline_fraction: the baseline as a share of the contract instead.
        rebound_s: how long after a call rebound counts [s].
        rebound_tolerance_fraction: share of the baseline by which power may exceed the baseline after a call.
        rebound_usd_per_mwh: for each MWh beyond this tolerance.
    """

    offered_fraction: PositiveFraction
    availability_usd_per_mw_h: NonNegativeFloat = 0.0
    activation_usd_per_mwh: NonNegativeFloat = 0.0
    damages_usd_per_mwh: NonNegativeFloat = 0.0
    baseline_s: PositiveFloat = 60.0
    baseline_fraction: PositiveFloat | None = None
    rebound_s: NonNegativeFloat = 0.0
    rebound_tolerance_fraction: NonNegativeFloat = 0.1
    rebound_usd_per_mwh: NonNegativeFloat = 0.0

    def availability_usd_per_s(self, contract_w: float) -> float:
        """Pay of a second without a call [USD].

        >>> round(ProgrammeSpec(offered_fraction=0.2, availability_usd_per_mw_h=9.0).availability_usd_per_s(2e6), 9)
        0.001
        """
        offered_mw = self.offered_fraction * contract_w / WATTS_PER_MW
        return offered_mw * self.availability_usd_per_mw_h / SECONDS_PER_HOUR


def calls_of(events: Sequence[CapEvent]) -> list[CapEvent]:
    """The events that a programme has called: demand response, and no emergency."""
    return [event for event in events if not event.limits_rating and event.depth_fraction > 0.0]


def called_schedule_w(events: Sequence[CapEvent], contract_w: float, time_s: Float64Array) -> Float64Array:
    """How far calls reduce the contract at each `time_s`, in its shape [W]."""
    left = np.ones_like(time_s)
    for event in calls_of(events):
        left = left * event.cap_factor(time_s)
    return contract_w * (1.0 - left)


def call_phases(programme: ProgrammeSpec, events: Sequence[CapEvent], time_s: Float64Array) -> Float64Array:
    """The `CallPhase` at each `time_s`, in its shape; a call counts before an announcement, and both before a rebound.

    >>> event = CapEvent(start_s=10, depth_fraction=0.2, notice_s=5, ramp_s=1, hold_s=3, recovery_s=1)
    >>> rules = ProgrammeSpec(offered_fraction=0.2, rebound_s=2.0)
    >>> call_phases(rules, [event], np.array([4.0, 5.0, 11.0, 14.5, 15.0, 17.0])).tolist()
    [0.0, 1.0, 2.0, 2.0, 3.0, 0.0]
    """
    phase = np.zeros_like(time_s)
    spans = [(CallPhase.REBOUND, event.end_s, event.end_s + programme.rebound_s) for event in calls_of(events)]
    spans += [(CallPhase.ANNOUNCED, event.start_s - event.notice_s, event.end_s) for event in calls_of(events)]
    for which, first_s, end_s in spans:
        phase[(time_s >= first_s) & (time_s < end_s)] = which
    phase[called_schedule_w(events, 1.0, time_s) > 0.0] = CallPhase.CALLED
    return phase
