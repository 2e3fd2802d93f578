"""A site's hall: servers, plant, room and rows together, and what it draws at its rating."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.layers.facility.cooling import CoolingSpec, pue_at
from tokenfleet.envs.layers.facility.room import RoomSpec
from tokenfleet.envs.layers.facility.rows import RowSpec
from tokenfleet.envs.layers.power.series import TemperatureSignal
from tokenfleet.envs.spec import Name, NonNegativeFloat, Spec

Float64Array = NDArray[np.float64]


class FacilitySpec(Spec):
    """Cooling, servers, room and rows of a site.

    Attributes:
        pue: power usage effectiveness, facility power over IT power, where no `cooling` is given; 1.2 is an assumption
            for a modern air-cooled hall.
        cooling: the plant, whose PUE follows outdoor temperature and load; none by default.
        room: the air at the servers, which derates clocks when it gets too warm; none by default.
        design_outdoor_c: hottest outdoors that the plant is built for [C]; 38 C is about the design day of Dallas.
            The nameplate follows from it.
        host_w_per_gpu: CPUs, memory, fans and network of a running server, per GPU [W]. An H100 server of eight is
            rated 10.2 kW with 5.6 kW of GPUs (NVIDIA DGX H100 user guide), 575 W per GPU at the very most; 250 W in
            operation is an assumption.
        host_w_per_board_w: further draw of a running server for each watt of its boards [W/W]; 0 by default. The fans
            of air-cooled servers take `FAN_W_PER_W` (see `servers`).
        host_asleep_w_per_gpu: draw of a suspended server, per GPU [W]; assumption.
        outdoor_c: air temperature outside [C]: a number, a recorded series or a generator; 15 is an assumption.
        rows: rows with limits of their own, by name; a pool without a row is fed from the site directly. At most one
            is `whole_site`.
    """

    pue: float = Field(default=1.2, ge=1.0, le=3.0)
    cooling: CoolingSpec | None = None
    room: RoomSpec | None = None
    design_outdoor_c: float = 38.0
    host_w_per_gpu: NonNegativeFloat = 250.0
    host_w_per_board_w: NonNegativeFloat = 0.0
    host_asleep_w_per_gpu: NonNegativeFloat = 20.0
    outdoor_c: TemperatureSignal = 15.0
    rows: dict[Name, RowSpec] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_row_is_the_whole_sites(self) -> Self:
        if len(whole := self._rows(whole_site=True)) > 1:
            raise ValueError(f"rows: only one may be whole_site (got {', '.join(whole)}); keep the one that binds")
        return self

    @property
    def whole_site_row(self) -> str | None:
        """The row that every pool of the site is behind, if there is one."""
        return next(iter(self._rows(whole_site=True)), None)

    @property
    def rows_of_racks(self) -> list[str]:
        """The rows that a pool may stand in."""
        return self._rows(whole_site=False)

    def _rows(self, whole_site: bool) -> list[str]:
        return [name for name, row in self.rows.items() if row.whole_site == whole_site]


def pue(facility: FacilitySpec, outdoor_c: Float64Array) -> Float64Array:
    """Facility power for each watt of IT power at `outdoor_c` (any shape), without the fixed part.

    >>> hot = pue(FacilitySpec(cooling=CoolingSpec(), design_outdoor_c=35.0), np.array([35.0, 45.0]))
    >>> hot.round(3).tolist()
    [1.309, 1.309]
    """
    if facility.cooling is None:
        return np.full_like(outdoor_c, facility.pue)
    return pue_at(facility.cooling, np.minimum(outdoor_c, facility.design_outdoor_c))


def fixed_w(facility: FacilitySpec, nameplate_it_w: float) -> float:
    """Constant draw of the facility, at any load [W].

    Args:
        facility: the site's.
        nameplate_it_w: its IT nameplate.
    """
    return 0.0 if facility.cooling is None else facility.cooling.fixed_fraction * nameplate_it_w


def it_nameplate_w(facility: FacilitySpec, gpu_tdp_w: list[float]) -> float:
    """IT power with every GPU at its TDP and every server on [W].

    >>> it_nameplate_w(FacilitySpec(host_w_per_gpu=300.0), [700.0, 700.0])
    2000.0
    """
    return sum(tdp_w + facility.host_w_per_gpu + facility.host_w_per_board_w * tdp_w for tdp_w in gpu_tdp_w)


def nameplate_w(facility: FacilitySpec, gpu_tdp_w: list[float]) -> float:
    """Facility power at `it_nameplate_w` and the design temperature [W].

    >>> nameplate_w(FacilitySpec(pue=1.2, host_w_per_gpu=300.0), [700.0, 700.0])
    2400.0
    """
    it_w = it_nameplate_w(facility, gpu_tdp_w)
    return float(pue(facility, np.array(facility.design_outdoor_c))) * it_w + fixed_w(facility, it_w)
