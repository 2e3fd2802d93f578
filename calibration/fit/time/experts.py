"""One fused kernel of experts a format, from measured kernels of six boards (aiconfigurator).

The tables say how tokens were routed: in turns (`routing` 0), or by loads that follow a power law. Loads are drawn
between 1 and 0.8 times the tokens of a batch, or between 0.01 and 2 where there are no more pairs than experts, as the
tables' makers draw them; here quantiles of the loads stand for draws. Rows whose weights fit in a board's cache are
left out: a served layer finds none of its weights there.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import pandas as pd

from calibration.excerpts import table
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu
from tokenfleet.envs.layers.llm.experts import (
    BusiestBoard,
    ExpertFormat,
    ExpertKernel,
    ExpertShape,
    Rates,
    kernel_times,
    product_rates,
)
from tokenfleet.envs.layers.llm.part import joined_s

# Second-level cache of a board [bytes]: NVIDIA's data sheets and architecture papers.
CACHE_BYTES = {
    "a100-sxm-80gb": 40e6, "h100-sxm": 50e6, "h200-sxm": 50e6, "b200-sxm": 126e6, "l40s": 96e6,
    "rtx-pro-6000-blackwell-server": 128e6,
}  # fmt: skip
BYTES_PER_WEIGHT = {"bf16": 2.0, "fp8": 1.0, "mxfp4": 4.25 / 8}
UNITS = (1e-5, 1.0, 1.0, 100.0, 1.0)  # of the fields of ExpertKernel
STARTS = ((2.5, 0.9, 0.5, 0.6, 1.5), (2.5, 0.9, 0.5, 0.2, 1.5))
LOWER, UPPER = (0.0, 0.1, 0.05, 0.0, 0.0), (30.0, 1.2, 1.2, 5.0, 20.0)
SHAPE_COLUMNS = ["width", "expert_width", "routed", "experts"]
EVEN = 0.0
IN_GROUPS = (7168, 2048, 8, 256)  # DeepSeek-V3 chooses four of eight groups of experts first: not in turns
SEED = 0
PLACEMENTS = 64


@cache
def kernels() -> pd.DataFrame:
    """Measured kernels with what the busiest board has of each; treat it as read-only."""
    rows = table("experts")
    batches = rows[["tokens", "routed", "experts", "expert_parallel", "routing"]].drop_duplicates()
    found = [busiest(*values) for values in batches.itertuples(index=False, name=None)]
    rows = rows.merge(batches.assign(touched=[one[0] for one in found], pairs=[one[1] for one in found]))
    weights = 3.0 * rows.width * rows.expert_width / rows.tensor_parallel
    touched_bytes = weights * rows.touched * rows.format.map(BYTES_PER_WEIGHT)
    boards = {name: load_gpu(name) for name in rows.gpu.unique()}
    pairs = list(zip(rows.gpu, rows.format, strict=True))
    kinds = [kind(boards[gpu], weights) for gpu, weights in pairs]
    rates = [product_rates(boards[gpu], found) for (gpu, _), found in zip(pairs, kinds, strict=True)]
    rows = rows.assign(
        kind=kinds,
        shape=list(rows[SHAPE_COLUMNS].itertuples(index=False, name=None)),
        weight_bytes=rows.format.map(BYTES_PER_WEIGHT),
        bytes_per_s=[rate.bytes_per_s for rate in rates],
        flops=[rate.flops for rate in rates],
    )
    even = (rows["shape"] != IN_GROUPS) | (rows.routing != EVEN)
    return rows[even & (touched_bytes > rows.gpu.map(CACHE_BYTES))].reset_index(drop=True)


def kind(gpu: GpuSpec, weights: Literal["bf16", "fp8", "mxfp4"]) -> ExpertFormat:
    """The kernel that a format of weights gets on a board."""
    if weights != "mxfp4":
        return weights
    return "packed" if gpu.peak_fp4_flops else "unpacked"


def busiest(tokens: int, per_token: int, experts: int, boards: int, exponent: float) -> tuple[float, float]:
    """Experts touched and pairs on the busiest of some boards."""
    pairs = tokens * per_token
    if exponent == EVEN:
        return max(min(pairs, experts) / boards, 1.0), pairs / boards
    low, high = (1.0, 0.8 * tokens) if pairs > experts else (0.01, 2.0)
    power = 1.0 - exponent
    quantiles = (np.arange(experts) + 0.5) / experts
    shares = ((high**power - low**power) * quantiles + low**power) ** (1.0 / power)
    loads = np.minimum(pairs * shares / shares.sum(), tokens)
    touched = np.minimum(loads, 1.0) if pairs <= experts else (loads >= 0.5).astype(float)
    placed = np.random.default_rng(SEED).permuted(np.tile(np.arange(experts), (PLACEMENTS, 1)), axis=1)
    placed = placed.reshape(PLACEMENTS, boards, -1)
    held, used = loads[placed].sum(axis=2), touched[placed].sum(axis=2)
    most_loaded = held.argmax(axis=1)[:, None]
    most_used, most_held = (float(np.take_along_axis(of, most_loaded, axis=1).mean()) for of in (used, held))
    return max(most_used, 1.0), most_held


def predicted_s(kernel: ExpertKernel, rows: pd.DataFrame) -> Array:
    """Time of measured kernels by a law [s]."""
    shape = ExpertShape(
        rows.width.to_numpy(), (rows.expert_width / rows.tensor_parallel).to_numpy(), rows.weight_bytes.to_numpy()
    )
    busiest = BusiestBoard(rows.touched.to_numpy(), rows.pairs.to_numpy())
    rates = Rates(rows.bytes_per_s.to_numpy(), rows.flops.to_numpy())
    times = kernel_times(kernel, shape, busiest, rates)
    return np.asarray(times.fixed_s + joined_s(times.memory_s, times.compute_s) + times.activation_s)


@cache
def fit_kernel(kind: ExpertFormat, without_gpu: str = "", without_shape: tuple[int, ...] = ()) -> ExpertKernel:
    """The kernel of a format from all boards and shapes but those left out, by least squares of relative error."""
    rows = kernels()
    rows = rows[(rows.kind == kind) & (rows.gpu != without_gpu) & (rows["shape"] != without_shape)]
    measured_s = rows.latency_us.to_numpy() / 1e6

    def kernel_of(x: Array) -> ExpertKernel:
        return ExpertKernel(*(float(value) * unit for value, unit in zip(x, UNITS, strict=True)))

    def error(x: Array) -> Array:
        return np.asarray(np.log(predicted_s(kernel_of(x), rows) / measured_s))

    return kernel_of(minimise(error, STARTS, bounds=(LOWER, UPPER), soft=0.1).values)
