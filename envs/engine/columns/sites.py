"""Columns of sites, `[S]`: facility, room, solar panels and battery."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.columns.charges import ChargeColumns
from tokenfleet.envs.engine.columns.classes import place
from tokenfleet.envs.layers.facility import FacilitySpec, RoomSpec, fixed_w, pue
from tokenfleet.envs.layers.power import BatterySpec, ProgrammeSpec, RegulationSpec, TariffSpec
from tokenfleet.envs.quantities import quantity
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.regimes import extreme_factors
from tokenfleet.envs.scenario.training import TrainingSpec

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class SiteSource:
    """What the columns of one site are read from."""

    name: str
    scenario: Scenario

    @property
    def facility(self) -> FacilitySpec:
        """Of the site."""
        return self.scenario.sites[self.name].facility

    @property
    def it_nameplate_w(self) -> float:
        """IT power with every board at its rated power [W]."""
        return self.scenario.it_nameplate_w(self.name)

    @property
    def highest_pue_factor(self) -> float:
        """Highest factor that an episode can have on the facility's overhead."""
        return (self.scenario.uncertainty.pue_factor or (1.0, 1.0))[1]

    def room(self, value: Callable[[RoomSpec], float]) -> float:
        """A quantity of the site's room, 0 where none is modelled."""
        return 0.0 if self.facility.room is None else value(self.facility.room)

    def battery(self, value: Callable[[BatterySpec], float], without: float = 0.0) -> float:
        """A quantity of the site's battery."""
        battery = self.scenario.sites[self.name].battery
        return without if battery is None else value(battery)

    def training(self, value: Callable[[TrainingSpec], float], without: float = 0.0) -> float:
        """A quantity of the site's training jobs."""
        training = self.scenario.sites[self.name].training
        return without if training is None else value(training)

    @property
    def contract_w(self) -> float:
        """The cap outside events [W]."""
        return self.scenario.contract_w(self.name)

    def tariff(self, value: Callable[[TariffSpec], float | None], without: float = 0.0) -> float:
        """A quantity of the site's tariff; `without` where there is none."""
        tariff = self.scenario.sites[self.name].grid.tariff
        found = None if tariff is None else value(tariff)
        return without if found is None else found

    def programme(self, value: Callable[[ProgrammeSpec], float], without: float = 0.0) -> float:
        """A quantity of the site's demand-response programme."""
        programme = self.scenario.sites[self.name].grid.programme
        return without if programme is None else value(programme)

    def regulation(self, value: Callable[[RegulationSpec], float], without: float = 0.0) -> float:
        """A quantity of the site's frequency regulation."""
        regulation = self.scenario.sites[self.name].grid.regulation
        return without if regulation is None else value(regulation)


def _highest_pue(site: SiteSource) -> float:
    design = pue(site.facility, np.array(site.facility.design_outdoor_c))
    factor = site.highest_pue_factor * extreme_factors(site.scenario.regimes, "cooling_factor", site.name)[1]
    return float(1.0 + (design - 1.0) * factor)


@dataclass(frozen=True)
class SiteColumns(ChargeColumns):
    """Equipment between the grid and the servers, and prices of power."""

    pue: Float64Array = quantity(
        "S", "W/W", "Highest that an episode can have, without the fixed part.", _highest_pue, neutral=1.0
    )
    fixed_w: Float64Array = quantity(
        "S",
        "W",
        "Highest fixed part of the facility's power.",
        lambda s: s.highest_pue_factor * fixed_w(s.facility, s.it_nameplate_w),
    )
    solar: Int64Array = quantity(
        "S",
        "",
        "Place among the sites with solar panels, -1 without.",
        lambda s: place(s.name, list(s.scenario.solar_sites)),
        low=-1,
        index_of="V",
        neutral=-1,
    )
    battery: Int64Array = quantity(
        "S",
        "",
        "Place among the sites with a battery, -1 without.",
        lambda s: place(s.name, list(s.scenario.batteries)),
        low=-1,
        index_of="B",
        neutral=-1,
    )
    room: Int64Array = quantity(
        "S",
        "",
        "Place among the sites whose room is modelled, -1 without.",
        lambda s: place(s.name, list(s.scenario.rooms)),
        low=-1,
        index_of="R",
        neutral=-1,
    )
    design_outdoor_c: Float64Array = quantity(
        "S",
        "C",
        "Outdoor temperature beyond which the room gets warmer.",
        lambda s: s.facility.design_outdoor_c,
        neutral=35.0,
    )
    room_supply_c: Float64Array = quantity(
        "S", "C", "Air that cooling supplies.", lambda s: s.room(lambda room: room.supply_c), neutral=20.0
    )
    room_k_per_w: Float64Array = quantity(
        "S",
        "K/W",
        "Rise for each watt of IT power.",
        lambda s: s.room(lambda room: room.rise_k) / s.it_nameplate_w,
    )
    room_response: Float64Array = quantity(
        "S",
        "",
        "Share of the way to its target that the air goes in a tick.",
        lambda s: s.room(lambda room: -math.expm1(-s.scenario.tick_s / room.time_constant_s)),
        neutral=1.0,
    )
    room_limit_c: Float64Array = quantity(
        "S", "C", "Above which clocks are derated.", lambda s: s.room(lambda room: room.limit_c), neutral=30.0
    )
    room_release_c: Float64Array = quantity(
        "S",
        "C",
        "Down to which clocks stay derated.",
        lambda s: s.room(lambda room: room.limit_c - room.hysteresis_k),
        neutral=28.0,
    )
    derate_clock_fraction: Float64Array = quantity(
        "S",
        "",
        "Highest clock meanwhile.",
        lambda s: s.room(lambda room: room.derate_clock_fraction),
        neutral=0.5,
    )
    battery_limit_w: Float64Array = quantity(
        "S", "W", "Most that the battery gives or takes.", lambda s: s.battery(lambda battery: battery.power_w)
    )
    battery_charge_efficiency: Float64Array = quantity(
        "S",
        "J/J",
        "Into the battery.",
        lambda s: s.battery(lambda battery: battery.charge_efficiency, 1.0),
        neutral=1.0,
    )
    battery_discharge_efficiency: Float64Array = quantity(
        "S",
        "J/J",
        "Out of the battery.",
        lambda s: s.battery(lambda battery: battery.discharge_efficiency, 1.0),
        neutral=1.0,
    )
    battery_capacity_j: Float64Array = quantity(
        "S", "J", "Size of the battery.", lambda s: s.battery(lambda battery: battery.energy_j)
    )
    battery_lowest_j: Float64Array = quantity(
        "S",
        "J",
        "Charge that the battery is kept above.",
        lambda s: s.battery(lambda battery: battery.min_charge_fraction * battery.energy_j),
    )
    battery_highest_j: Float64Array = quantity(
        "S",
        "J",
        "Charge that the battery is kept below.",
        lambda s: s.battery(lambda battery: battery.max_charge_fraction * battery.energy_j),
    )
    battery_initial_j: Float64Array = quantity(
        "S",
        "J",
        "Charge at the start of an episode.",
        lambda s: s.battery(lambda battery: battery.initial_charge_fraction * battery.energy_j),
    )
    training: Int64Array = quantity(
        "S",
        "",
        "Place among the sites that train, -1 for another.",
        lambda s: place(s.name, list(s.scenario.training_sites)),
        low=-1,
        index_of="s",
        neutral=-1,
    )
    training_jobs: Int64Array = quantity(
        "S", "", "Training jobs.", lambda s: s.training(lambda spec: spec.jobs), low=0, high=2**20
    )
    training_busy_w: Float64Array = quantity(
        "S", "W", "IT power of a job that works.", lambda s: s.training(lambda spec: spec.busy_w(s.facility))
    )
    training_idle_w: Float64Array = quantity(
        "S", "W", "IT power of a job that is paused.", lambda s: s.training(lambda spec: spec.idle_w(s.facility))
    )
    training_usd_per_s: Float64Array = quantity(
        "S", "USD/s", "Earned by the work of a job.", lambda s: s.training(lambda spec: spec.usd_per_s)
    )
    checkpoint_interval_s: Float64Array = quantity(
        "S",
        "s",
        "Work of a job between two checkpoints.",
        lambda s: s.training(lambda spec: spec.checkpoint_interval_s, 1.0),
        low=1e-6,
        neutral=1.0,
    )
    checkpoint_s: Float64Array = quantity(
        "S", "s", "For which a checkpoint holds up a job.", lambda s: s.training(lambda spec: spec.checkpoint_s)
    )
    training_resume_s: Float64Array = quantity(
        "S", "s", "From paused to working.", lambda s: s.training(lambda spec: spec.resume_s)
    )
