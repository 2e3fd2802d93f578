"""Layer 1, power: the power that a site may draw from the grid, and the consequences of drawing more.

The *cap* is the site's contract, lowered while a demand-response event or an emergency holds. A meter averages power
over its window. When power has been above the cap for longer than a delay, the *power brake* forces every clock far
down until the load is well below. When the load has been above the rating for longer than a curve allows, the *breaker*
trips, and everything behind it is dark until the restart. Breaking a cap therefore costs tokens, not an arbitrary
penalty. The rows of a hall have caps, meters, brakes and breakers of their own (`tokenfleet.envs.layers.facility`). A
site with solar panels or a battery draws from the grid what they do not give; the cap, the bill and the emissions are
those of the grid.

A forecaster may tell the chance of an event before anybody knows of the event (`outlook`).

Money holds what no brake does: charges for peaks and ramps (`tariff`), paid demand response with calls that may be
ignored at a price (`programme`), and frequency regulation (`regulation`).
"""

from tokenfleet.envs.layers.power.battery import BatterySpec
from tokenfleet.envs.layers.power.events import CapEvent, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.layers.power.grid import (
    CapSpec,
    GridSpec,
    announced_cap_w,
    brake_schedule_w,
    cap_schedule_w,
    draw_events,
    rating_schedule_w,
    unenforced,
)
from tokenfleet.envs.layers.power.programme import ProgrammeSpec, call_phases, called_schedule_w
from tokenfleet.envs.layers.power.protection import (
    BrakeSpec,
    BreakerSpec,
    ProtectionSpec,
    heat_to_trip_s,
    trip_time_s,
)
from tokenfleet.envs.layers.power.regulation import RegulationSpec
from tokenfleet.envs.layers.power.tariff import DemandChargeSpec, RampChargeSpec, TariffSpec

__all__ = [
    "BatterySpec",
    "BrakeSpec",
    "BreakerSpec",
    "CapEvent",
    "CapSpec",
    "DemandChargeSpec",
    "DemandResponseSpec",
    "EmergencySpec",
    "GridSpec",
    "ProgrammeSpec",
    "ProtectionSpec",
    "RampChargeSpec",
    "RegulationSpec",
    "TariffSpec",
    "announced_cap_w",
    "brake_schedule_w",
    "call_phases",
    "called_schedule_w",
    "cap_schedule_w",
    "draw_events",
    "heat_to_trip_s",
    "rating_schedule_w",
    "trip_time_s",
    "unenforced",
]
