"""A site's battery: it stands behind the meter, and charges and discharges as the policy says."""

from __future__ import annotations

from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, PositiveFraction, Spec, UnitFraction


class BatterySpec(Spec):
    """A battery behind the meter of one site.

    Of what it takes from the busbar, `charge_efficiency` is stored; of what leaves the store, `discharge_efficiency`
    reaches the busbar. The default of 0.922 each is the round trip of 85 % that NREL's Annual Technology Baseline 2023
    takes for lithium-ion storage. The battery never feeds the grid: it discharges at most what the site still draws
    after its solar panels. While the site is dark it rests.

    Attributes:
        power_w: most that it charges or discharges with, at the busbar [W].
        energy_j: capacity of the store [J].
        charge_efficiency, discharge_efficiency: see above.
        min_charge_fraction, max_charge_fraction: share of the capacity between which it is kept; the defaults are what
            operators do to spare the cells (assumption).
        initial_charge_fraction: what it holds when an episode begins.
    """

    power_w: PositiveFloat
    energy_j: PositiveFloat
    charge_efficiency: PositiveFraction = 0.922
    discharge_efficiency: PositiveFraction = 0.922
    min_charge_fraction: UnitFraction = 0.1
    max_charge_fraction: UnitFraction = 0.9
    initial_charge_fraction: UnitFraction = 0.5

    @model_validator(mode="after")
    def _charge_is_ordered(self) -> Self:
        if not self.min_charge_fraction <= self.initial_charge_fraction <= self.max_charge_fraction:
            raise ValueError(
                f"initial_charge_fraction ({self.initial_charge_fraction}) must lie between min_charge_fraction "
                f"({self.min_charge_fraction}) and max_charge_fraction ({self.max_charge_fraction})"
            )
        return self
