"""Layer 3, the GPU: draw of a board, costs of its clock, rates of kernels and lines; servers that fail."""

from tokenfleet.envs.layers.gpu.board import GpuSpec, Precision, board_power_w, load_gpu
from tokenfleet.envs.layers.gpu.clock import LOWEST_CLOCK_FRACTION, Load, clock_under_limit
from tokenfleet.envs.layers.gpu.interconnect import LINE_LAWS, Collective, InterconnectSpec, LineLaw, load_interconnect
from tokenfleet.envs.layers.gpu.kernels import KernelSpec, ProductSpec
from tokenfleet.envs.layers.gpu.power_law import (
    Coefficient,
    Draw,
    Number,
    PowerCoefficients,
    busy_floor_w,
    byte_energy_scale,
    clock_stretch,
    memory_fraction_under,
    voltage_fraction,
)

__all__ = [
    "LINE_LAWS",
    "LOWEST_CLOCK_FRACTION",
    "Coefficient",
    "Collective",
    "Draw",
    "GpuSpec",
    "InterconnectSpec",
    "KernelSpec",
    "LineLaw",
    "Load",
    "Number",
    "PowerCoefficients",
    "Precision",
    "ProductSpec",
    "board_power_w",
    "busy_floor_w",
    "byte_energy_scale",
    "clock_stretch",
    "clock_under_limit",
    "load_gpu",
    "load_interconnect",
    "memory_fraction_under",
    "voltage_fraction",
]
