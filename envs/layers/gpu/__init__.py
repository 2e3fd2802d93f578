"""Layer 3, the GPU: what a board draws and what its clock costs; servers that fail."""

from tokenfleet.envs.layers.gpu.board import (
    Coefficient,
    Draw,
    GpuSpec,
    Number,
    PowerCoefficients,
    Precision,
    board_power_w,
    busy_floor_w,
    byte_energy_scale,
    clock_stretch,
    load_gpu,
    voltage_fraction,
)
from tokenfleet.envs.layers.gpu.clock import LOWEST_CLOCK_FRACTION, Load, clock_under_limit

__all__ = [
    "LOWEST_CLOCK_FRACTION",
    "Coefficient",
    "Draw",
    "GpuSpec",
    "Load",
    "Number",
    "PowerCoefficients",
    "Precision",
    "board_power_w",
    "busy_floor_w",
    "byte_energy_scale",
    "clock_stretch",
    "clock_under_limit",
    "load_gpu",
    "voltage_fraction",
]
