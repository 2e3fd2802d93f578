"""Layer 2, facility: what a data centre draws besides its GPU boards, and the rows that its racks stand in."""

from __future__ import annotations

from pydantic import Field

from tokenfleet.envs.layers.power import CapSpec
from tokenfleet.envs.layers.series import TemperatureSignal
from tokenfleet.envs.spec import Name, NonNegativeFloat, Spec


class RowSpec(CapSpec):
    """A row of racks behind one power distribution unit, with a cap, a meter, a brake and a breaker of its own.

    It carries IT power (boards and servers); cooling is fed past it. Its nameplate is the IT power of the pools that
    stand in it with every GPU at its TDP and every server on. A pool says where it stands with `row`.
    """


class FacilitySpec(Spec):
    """Cooling, servers and rows of a site.

    Attributes:
        pue: power usage effectiveness, facility power over IT power; 1.2 is an assumption for a modern air-cooled hall.
        host_w_per_gpu: CPUs, memory, fans and network of a running server, per GPU [W]. An H100 server of eight is
            rated 10.2 kW with 5.6 kW of GPUs (NVIDIA DGX H100 user guide), 575 W per GPU at the very most; 250 W in
            operation is an assumption.
        host_asleep_w_per_gpu: the same server suspended [W]; assumption.
        outdoor_c: air temperature outside [C]: a number, a recorded series or a generator; 15 is an assumption.
        rows: rows with limits of their own, by name; a pool without a row is fed from the site directly.
    """

    pue: float = Field(default=1.2, ge=1.0, le=3.0)
    host_w_per_gpu: NonNegativeFloat = 250.0
    host_asleep_w_per_gpu: NonNegativeFloat = 20.0
    outdoor_c: TemperatureSignal = 15.0
    rows: dict[Name, RowSpec] = Field(default_factory=dict)


def it_nameplate_w(facility: FacilitySpec, gpu_tdp_w: list[float]) -> float:
    """IT power with every GPU at its TDP and every server on [W].

    >>> it_nameplate_w(FacilitySpec(host_w_per_gpu=300.0), [700.0, 700.0])
    2000.0
    """
    return sum(tdp_w + facility.host_w_per_gpu for tdp_w in gpu_tdp_w)


def nameplate_w(facility: FacilitySpec, gpu_tdp_w: list[float]) -> float:
    """The same with cooling: facility power [W].

    >>> nameplate_w(FacilitySpec(pue=1.2, host_w_per_gpu=300.0), [700.0, 700.0])
    2400.0
    """
    return facility.pue * it_nameplate_w(facility, gpu_tdp_w)
