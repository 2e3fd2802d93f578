"""Fitted numbers of kernels and interconnects, as the YAML has them; what nobody timed gets those of its like."""

from __future__ import annotations

from functools import cache
from typing import Any

from calibration.fit.time.collectives import COLLECTIVES, MEASURED_ON, NCCL_ALONE, fit_interconnect
from calibration.fit.time.latent_attention import fit_latent
from calibration.fit.time.products import kernel_numbers
from tokenfleet.envs.catalog import SHIPPED, catalog_names, read_yaml

KERNELS_OF = {
    "a100-sxm-40gb": "a100-sxm-80gb",
    "rtx-4090": "l40s",
    "rtx-pro-6000-blackwell-workstation": "rtx-pro-6000-blackwell-server",
}
"""Board that nobody timed -> its like, of the same chip or generation."""
SCALED = {"pcie-3": "pcie-4", "infinity-fabric-3": "nvlink-4"}
"""Interconnect that nobody timed -> a timed one; the rates are those times the ratio of their lines."""


@cache
def board_kernels() -> dict[str, dict[str, Any]]:
    """GPU name -> the keys of its `kernels` that are fitted."""
    numbers = {}
    for name in catalog_names("gpu"):
        shipped = read_yaml(SHIPPED / "gpu" / f"{name}.yaml").get("kernels", {})
        found = {**kernel_numbers(KERNELS_OF.get(name, name)), **kernel_numbers(name)} if shipped else {}
        if name in fit_latent().launch_s:
            found["latent_launch_s"] = float(f"{fit_latent().launch_s[name]:.3g}")
        numbers[name] = {key: value for key, value in found.items() if key in shipped}
    return numbers


@cache
def interconnects() -> dict[str, dict[str, Any]]:
    """Interconnect -> collective -> boards -> pieces."""
    numbers: dict[str, dict[str, Any]] = {name: fit_interconnect(name) for name in (*MEASURED_ON, *NCCL_ALONE)}
    numbers.update({name: scaled(name, like) for name, like in SCALED.items()})
    return numbers


def scaled(name: str, like: str) -> dict[str, Any]:
    """The collectives of an interconnect with the latencies of another, its rates times the ratio of their lines."""
    ratio = _link_bytes_per_s(name) / _link_bytes_per_s(like)
    return {
        collective: {
            boards: [(start, latency_s, float(f"{rate * ratio:.3g}")) for start, latency_s, rate in pieces]
            for boards, pieces in fit_interconnect(like)[collective].items()
        }
        for collective in COLLECTIVES
    }


def _link_bytes_per_s(name: str) -> float:
    return float(read_yaml(SHIPPED / "interconnect" / f"{name}.yaml")["link_bytes_per_s"])
