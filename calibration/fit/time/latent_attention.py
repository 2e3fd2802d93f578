"""Multi-head latent attention from measured modules of DeepSeek-V3, one layer with all its products (aiconfigurator).

Only H100, H200 and B200 have kernels made for it; other boards fall back to Triton, ten times as far from their peaks,
and hold no model of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import Precision, load_gpu
from tokenfleet.envs.layers.llm import load_model
from tokenfleet.envs.layers.llm.attention import prefill_pairs
from tokenfleet.envs.layers.llm.latent_attention import LatentKernel, latent_flops
from tokenfleet.envs.layers.llm.part import together
from tokenfleet.envs.layers.llm.products import attention_matrices, matrix_part

MODEL = "deepseek-v3"
BOARDS = ("h100-sxm", "h200-sxm", "b200-sxm")
WIDTH, LATENT, ROTARY, HEAD_DIM, VALUE_DIM = 7168, 512, 64, 192, 128  # config.json
CACHE_BYTES = 2.0 * (LATENT + ROTARY)  # of a token in one layer, bf16
BYTES = {"bf16": 2.0, "fp8": 1.0}
START, UNIT_S = [0.85, 0.8, 1.4, 5.0], 1e-5


@cache
def modules() -> pd.DataFrame:
    """Measured modules with what their products take by those of the board, `products_s`; treat it as read-only."""
    rows = table("latent_attention")
    rows = rows[rows.gpu.isin(BOARDS)]
    decode = rows.phase == "decode"
    attended = rows.batch * np.where(decode, rows.tokens, prefill_pairs(rows.tokens))
    decode_flops, prefill_flops = latent_flops(load_model(MODEL), 1), 2.0 * (HEAD_DIM + VALUE_DIM)
    flops = attended * rows.heads * np.where(decode, decode_flops, prefill_flops)
    rows = rows.assign(decode=decode, computed=np.where(decode, rows.batch, rows.batch * rows.tokens))
    bandwidth = rows.gpu.map({name: load_gpu(name).memory_bandwidth_bytes_per_s for name in BOARDS})
    peak = rows.gpu.map({name: load_gpu(name).peak_bf16_flops for name in BOARDS})
    rows = rows.assign(
        cache_s=attended * CACHE_BYTES / bandwidth,
        attention_s=flops / peak,
        row_s=2.0 * WIDTH * rows.computed / bandwidth,
    )
    frames = [
        own.assign(products_s=products_s(str(gpu), int(heads), "fp8" if weights == "fp8" else "bf16", own))
        for (gpu, heads, weights), own in rows.groupby(["gpu", "heads", "format"])
    ]
    return pd.concat(frames, ignore_index=True)


def products_s(gpu: str, heads: int, weights: Precision, rows: pd.DataFrame) -> Array:
    """Products of one layer, so many heads of it [s]."""
    model = load_model(MODEL).model_copy(update={"arithmetic": weights, "bytes_per_parameter": BYTES[weights]})
    matrices = attention_matrices(model, model.attention_heads // heads)
    tokens = rows.computed.to_numpy(float)
    parts = [matrix_part(load_gpu(gpu), model, matrix._replace(times=1), tokens) for matrix in matrices]
    return together(parts).time_s


@dataclass(frozen=True)
class LatentFit:
    """The kernel, what it takes to start beside products by board [s], and how often rows pass through memory."""

    kernel: LatentKernel
    launch_s: dict[str, float]
    row_passes: float

    def predicted_s(self, rows: pd.DataFrame) -> Array:
        """Time of measured modules; a board that took no part starts kernels as fast as the mean of the others [s]."""
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
        return np.asarray(np.log(found(x).predicted_s(rows) / measured_s))

    upper = [1.0, 1.0, 5.0, 100.0] + [50.0] * len(boards)
    lower = [0.1, 0.1, 1.0, 0.0] + [0.0] * len(boards)
    return found(minimise(error, [START + [8.0] * len(boards)], bounds=(lower, upper), soft=0.1).values)
