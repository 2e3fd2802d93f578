"""What FLOPs and bytes of routed experts cost beside those of dense layers, from the watts of mixtures of experts.

Bytes are those of experts that tokens touch. What bytes cost beside being read is arithmetic, so it is counted in
FLOPs. Two costs come from mixtures in bf16 and MXFP4, and given these one from the only mixture in fp8. How many rows a
tile has comes from kernels alone (`kernel_tile_rows`).

Kernels alone do not give the costs: with the tile of each format in every touched expert, at the price of any FLOP,
watts of mixtures are 17 % off (`kernels_w`), in both directions.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from calibration.fit.power.board import fit_board, predicted_w, rates_by_gpu
from calibration.fit.power.runs import runs, touched_experts
from calibration.fit.shapes import SHAPES
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm.experts import KERNELS, ExpertFormat


def mixture_w(
    rows: pd.DataFrame, expert_flop_cost: float, unpacked_byte_flops: float, fp8_byte_flops: float = 0.0
) -> Array:
    """Watts of runs of mixtures of experts by the laws of dense models, experts at costs of their own."""
    gpus = {chip: fit_board(chip).gpus[chip] for chip in rows.gpu.unique()}
    beside_flops = unpacked_byte_flops * rows.packed_bytes + fp8_byte_flops * rows.fp8_bytes
    flops = rows.flops + (expert_flop_cost - 1.0) * rows.padded_flops + beside_flops
    return predicted_w(gpus, rates_by_gpu(rows.assign(flops=flops)))


@cache
def fit_expert_costs(without: str = "") -> tuple[float, float]:
    """EXPERT_FLOP_COST and UNPACKED_BYTE_FLOPS by least squares of relative error.

    Every family but `without` counts the same.
    """
    rows = runs(dense=False)
    rows = rows[(rows.family != without) & (rows.fp8_bytes == 0.0)].reset_index(drop=True)
    weight = np.sqrt(1.0 / rows.groupby("family").watts.transform("size"))

    def error(costs: Array) -> Array:
        return np.asarray(weight * relative_errors(mixture_w(rows, *costs.tolist()), rows.watts))

    found = minimise(error, [[3.0, 90.0]], bounds=([1.0, 0.0], [10.0, 1000.0]), step=1e-4, scale=[1.0, 30.0])
    flop_cost, unpacked_byte_flops = found.values
    return float(flop_cost), float(unpacked_byte_flops)


@cache
def fit_fp8_byte_flops(without_boards: int = 0) -> float:
    """FP8_EXPERT_BYTE_FLOPS from the runs on any number of boards but one, by least squares of relative error."""
    rows = runs(dense=False)
    rows = rows[(rows.fp8_bytes > 0.0) & (rows.num_gpus != without_boards)].reset_index(drop=True)

    def error(flops: Array) -> Array:
        return relative_errors(mixture_w(rows, *fit_expert_costs(), float(flops[0])), rows.watts)

    return float(minimise(error, [[150.0]], bounds=([0.0], [1000.0]), step=1e-4).values[0])


def kernel_tile_rows() -> int:
    """EXPERT_TILE_ROWS: the power of two nearest the rows that an expert takes beyond its own, all formats alike.

    >>> kernel_tile_rows()
    64
    """
    return int(2 ** round(float(np.mean(np.log2([kernel.tile_rows for kernel in KERNELS.values()])))))


def kernels_w(rows: pd.DataFrame) -> Array:
    """Watts with nothing fitted to mixtures: each touched expert computes the rows that kernels show for a tile."""
    gpus = {name: fit_board(name).gpus[name] for name in rows.gpu.unique()}
    flops = rows.flops.to_numpy(copy=True)
    for (model_id, gpu), group in rows.reset_index(drop=True).groupby(["model_id", "gpu"]):
        shape = SHAPES[model_id]
        tile_rows = KERNELS[_format(str(gpu), shape.bytes_per_expert_weight)].tile_rows
        padded = tile_rows * touched_experts(shape, group) / group.num_gpus
        flops[group.index] += 2.0 * shape.expert_weights * padded
    return predicted_w(gpus, rates_by_gpu(rows.assign(flops=flops)))


def _format(gpu: str, bytes_per_weight: float) -> ExpertFormat:
    if bytes_per_weight >= 1.0:
        return "fp8" if bytes_per_weight == 1.0 else "bf16"
    return "packed" if load_gpu(gpu).peak_fp4_flops else "unpacked"
