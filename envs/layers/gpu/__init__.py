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

__all__ = [
    "Coefficient",
    "Draw",
    "GpuSpec",
    "Number",
    "PowerCoefficients",
    "Precision",
    "board_power_w",
    "busy_floor_w",
    "byte_energy_scale",
    "clock_stretch",
    "load_gpu",
    "voltage_fraction",
]
