"""Layer 2, facility: what a data centre draws besides its GPU boards."""

from __future__ import annotations

from pydantic import Field

from tokenfleet.envs.spec import NonNegativeFloat, Spec


class FacilitySpec(Spec):
    """Cooling and servers of a site.

    Attributes:
        pue: power usage effectiveness, facility power over IT power; 1.2 is an assumption for a modern air-cooled hall.
        host_w_per_gpu: CPUs, memory, fans and network of a running server, per GPU [W]. An H100 server of eight is
            rated 10.2 kW with 5.6 kW of GPUs (NVIDIA DGX H100 user guide), 575 W per GPU at the very most; 250 W in
            operation is an assumption.
        host_asleep_w_per_gpu: the same server suspended [W]; assumption.
    """

    pue: float = Field(default=1.2, ge=1.0, le=3.0)
    host_w_per_gpu: NonNegativeFloat = 250.0
    host_asleep_w_per_gpu: NonNegativeFloat = 20.0


def nameplate_w(facility: FacilitySpec, gpu_tdp_w: list[float]) -> float:
    """Facility power with every GPU at its TDP and every server on [W].

    >>> nameplate_w(FacilitySpec(pue=1.2, host_w_per_gpu=300.0), [700.0, 700.0])
    2400.0
    """
    return facility.pue * sum(tdp_w + facility.host_w_per_gpu for tdp_w in gpu_tdp_w)
