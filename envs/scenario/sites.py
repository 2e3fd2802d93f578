"""Sites: what stands behind one grid connection, layers 1 and 2 put together."""

from __future__ import annotations

from tokenfleet.envs.layers.distribution import NetworkSpec
from tokenfleet.envs.layers.facility import FacilitySpec
from tokenfleet.envs.layers.power import BatterySpec, GridSpec
from tokenfleet.envs.layers.power.series import SignalSpec, SolarSpec, is_constant
from tokenfleet.envs.scenario.training import TrainingSpec
from tokenfleet.envs.spec import NonNegativeFloat, Spec


class SiteSpec(Spec):
    """One data centre behind one grid connection.

    Attributes:
        grid: its connection.
        facility: its halls.
        solar: panels of its own, if any.
        battery: a battery of its own, if any.
        training: training jobs beside the pools, if any.
        location: a place of the network's matrix, for example `aws:us-west-2`; required where regions are named.
        egress_usd_per_gb: price of traffic to clients; by default the list price of the location's provider, and
            nothing without a location.
    """

    grid: GridSpec
    facility: FacilitySpec = FacilitySpec()
    solar: SolarSpec | None = None
    location: str | None = None
    egress_usd_per_gb: NonNegativeFloat | None = None
    battery: BatterySpec | None = None
    training: TrainingSpec | None = None

    @property
    def varies(self) -> bool:
        """Whether price, carbon intensity, temperature or sun change in the course of an episode."""
        irradiance: float | SignalSpec = self.solar.irradiance_w_per_m2 if self.solar else 0.0
        signals = (self.grid.price_usd_per_mwh, self.grid.carbon_g_per_kwh, self.facility.outdoor_c, irradiance)
        if self.grid.real_time_price is not None or (self.grid.tariff and self.grid.tariff.time_of_use):
            return True
        return not all(is_constant(signal) for signal in signals)

    def price_usd_per_gb(self, network: NetworkSpec) -> float:
        """Price of traffic to clients: its own, or what the network lists for its provider [USD/GB]."""
        listed = network.list_price_usd_per_gb(self.location)
        return listed if self.egress_usd_per_gb is None else self.egress_usd_per_gb
