"""Multi-head latent attention from measured modules of DeepSeek-V3, one layer with all its products (aiconfigurator).

Only H100, H200 and B200 have kernels made for it; other boards fall back to Triton, ten times as far from their peaks, and
hold no model of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import load_model
from tokenfleet.envs.layers.llm.latent_attention import LatentKernel, latent_flops
from tokenfleet.envs.layers.llm.part import joined_s
from tokenfleet.envs.layers.llm.roofline import COMPUTE_EFFICIENCY, MEMORY_EFFICIENCY

MODEL = "deepseek-v3"
BOARDS = ("h100-sxm", "h200-sxm", "b200-sxm")
WIDTH, QUERY_RANK, LATENT, ROTARY, HEAD_DIM, VALUE_DIM = 7168, 1536, 512, 64, 192, 128  # config.json
CACHE_BYTES = 2.0 * (LATENT + ROTARY)  # of a token in one layer, bf16
BYTES = {"bf16": 2.0, "fp8": 1.0}
START, UNIT_S = [0.85, 0.8, 1.4, 5.0], 1e-5


def weights(heads: Array) -> Array:
    """Of the products of one layer with so many heads."""
    compressed = WIDTH * (QUERY_RANK + LATENT + ROTARY)
    return np.asarray(compressed + heads * (QUERY_RANK * HEAD_DIM + LATENT * 2 * VALUE_DIM + VALUE_DIM * WIDTH))


@cache
def modules() -> pd.DataFrame:
    """Measured modules with what their products take by the roofline, `products_s`; treat it as read-only."""
    rows = table("latent_attention")
    rows = rows[rows.gpu.isin(BOARDS)].reset_index(drop=True)
    boards = {name: load_gpu(name) for name in BOARDS}
    held = weights(rows.heads.to_numpy())
    computed = np.where(rows.phase == "decode", rows.batch, rows.batch * rows.tokens)
    bandwidth = rows.gpu.map({name: gpu.memory_bandwidth_bytes_per_s for name, gpu in boards.items()}).to_numpy()
    formats = zip(rows.gpu, rows.format, strict=True)
    peak = np.array([boards[gpu].peak_flops("fp8" if weight == "fp8" else "bf16") for gpu, weight in formats])
    memory_s = held * rows.format.map(BYTES).to_numpy() / (MEMORY_EFFICIENCY * bandwidth)
    decode = (rows.phase == "decode").to_numpy()
    attended = rows.batch * np.where(decode, rows.tokens, rows.tokens * (rows.tokens + 1) / 2)
    decode_flops, prefill_flops = latent_flops(load_model(MODEL), 1), 2.0 * (HEAD_DIM + VALUE_DIM)
    attention_flops = attended * rows.heads * np.where(decode, decode_flops, prefill_flops)
    return rows.assign(
        decode=decode,
        computed=computed,
        products_s=joined_s(memory_s, 2.0 * held * computed / (COMPUTE_EFFICIENCY * peak)),
        row_s=2.0 * WIDTH * computed / bandwidth,
        cache_s=attended * CACHE_BYTES / bandwidth,
        attention_s=attention_flops / rows.gpu.map({name: gpu.peak_bf16_flops for name, gpu in boards.items()}),
    )


@dataclass(frozen=True)
class LatentFit:
    """The kernel, board -> what its kernels take to start [s], and how often rows pass through memory beside products."""

    kernel: LatentKernel
    launch_s: dict[str, float]
    row_passes: float

    def predicted_s(self, rows: pd.DataFrame) -> Array:
        """Time of measured modules; a board that took no part starts kernels as fast as the mean of those that did [s]."""
        decode_s = self.kernel.decode_s(rows.cache_s.to_numpy(), rows.attention_s.to_numpy())
        attended_s = np.where(rows.decode, decode_s, self.kernel.prefill_ratio * rows.attention_s)
        launch_s = rows.gpu.map(self.launch_s).fillna(float(np.mean(list(self.launch_s.values()))))
        return np.asarray(launch_s + rows.products_s + self.row_passes * rows.row_s + attended_s)


@cache
def fit_latent(without_gpu: str = "") -> LatentFit:
    """From all boards but one, by least squares of relative error."""
    rows = modules()
    rows = rows[rows.gpu != without_gpu]
    measured_s = rows.latency_us.to_numpy() / 1e6
    boards = [name for name in BOARDS if name != without_gpu]

    def found(x: Array) -> LatentFit:
        launch_s = {name: float(value) * UNIT_S for name, value in zip(boards, x[4:], strict=True)}
        return LatentFit(LatentKernel(*x[:3].tolist()), launch_s, float(x[3]))

    def error(x: Array) -> Array:
        return np.log(found(x).predicted_s(rows) / measured_s)

    upper = [1.0, 1.0, 5.0, 100.0] + [50.0] * len(boards)
    lower = [0.1, 0.1, 1.0, 0.0] + [0.0] * len(boards)
    return found(minimise(error, [START + [8.0] * len(boards)], bounds=(lower, upper), soft=0.1).values)
