"""The watts of a board from serving runs, and how they fall with the clock.

Each ML.ENERGY v3 run gives the mean power of its boards and, with its batch, throughput and model shape, the bytes and
FLOPs that they moved per second, prefill included. P = min(limit, P0 + joule_per_byte bytes/s + joule_per_flop FLOP/s)
is fitted to all dense bf16 models on a GPU by least squares of relative error. The A100 has no such runs: Splitwise
gives its mean power while decoding Llama-2-70B.

P0 = static_w + floor_w. Perseus measured Ps + k F max(F, 0.76)^2 on an A100; Ps is what does not fall with the clock,
so it is the A100's static_w; the other GPUs take the same ratio of static_w to idle_w (an assumption).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from calibration.kernels import table
from calibration.serving import GPU_NAMES, PROMPT_TOKENS, with_rates
from tokenfleet.envs.layers.gpu import load_gpu

# Published shapes (config.json): weights that a token is multiplied with, layers, KV heads; every head has 128
# dimensions.
SHAPES = {
    "meta-llama/Llama-3.1-8B-Instruct": (7.505e9, 32, 8),
    "meta-llama/Llama-3.1-70B-Instruct": (69.503e9, 80, 8),
    "Qwen/Qwen3-8B": (7.57e9, 36, 8),
    "Qwen/Qwen3-14B": (13.99e9, 40, 8),
    "Qwen/Qwen3-32B": (31.98e9, 64, 8),
}
LLAMA_2_70B_BYTES = 2 * 68.7e9  # read per iteration: all but the input embedding, 32000 x 8192
A100_PREFILL_EFFICIENCY = 0.86  # share of peak of the A100's measured matrix products from 2048 tokens on
PERSEUS_TOP_MHZ = 1410


@dataclass(frozen=True)
class PowerFit:
    """P0 [W], joule per byte, joule per FLOP, and signed relative errors."""

    busy_w: float
    joule_per_byte: float
    joule_per_flop: float
    errors: list[float]


@dataclass(frozen=True)
class ClockFit:
    """Perseus on one A100: Ps and k [W], voltage floor, prefill's m; mean absolute relative errors."""

    static_w: float
    clock_w: float
    voltage_floor_fraction: float
    memory_fraction: float
    power_error: float
    time_error: float


def fit_power(gpu: str) -> PowerFit:
    """P0 and the energies of a byte and a FLOP, from the runs of every dense model on one GPU."""
    rows = table("serving_runs")
    rows = with_rates(rows[rows.gpu_model == GPU_NAMES[gpu]])
    bytes_per_s, flops = _rates(rows)
    watts = (rows.avg_power_watts / rows.num_gpus).to_numpy()
    limit_w = load_gpu(gpu).limit_w
    columns = np.column_stack([np.full(len(rows), 100.0), bytes_per_s * 1e-10, flops * 1e-12])

    def error(scaled: np.ndarray) -> np.ndarray:
        return np.asarray(np.minimum(columns @ scaled, limit_w) / watts - 1.0)

    solved = least_squares(error, [2.0, 1.0, 1.0], bounds=(0, np.inf), loss="soft_l1", f_scale=0.05)
    busy, per_byte, per_flop = solved.x.tolist()
    return PowerFit(busy * 100.0, per_byte * 1e-10, per_flop * 1e-12, error(solved.x).tolist())


def fit_power_a100() -> PowerFit:
    """The A100 from Splitwise: TP 2 and 4, one to 16 sequences of 512 to 1024 tokens; TP 8 waits for its host.

    A FLOP's energy is what makes the measured matrix products reach the limit: an assumption, bounded by the peak power
    of Splitwise's prefills, 1.0 to 1.08 of TDP.
    """
    gpu = load_gpu("a100-sxm-80gb")
    rows = table("splitwise")
    rows = rows[(rows.hardware == "a100-80gb") & rows.tensor_parallel.isin([2, 4]) & rows.average_power.notna()]
    rows = rows[rows.prompt_size <= 2048]
    read_per_s = LLAMA_2_70B_BYTES / rows.tensor_parallel / (rows.token_time * 1e-3)
    watts = (rows.average_power * gpu.tdp_w).to_numpy()
    columns = np.column_stack([np.ones(len(rows)), read_per_s]) / watts[:, None]
    scale = np.array([100.0, 1e-10])
    busy, per_byte = (np.linalg.lstsq(columns * scale, np.ones(len(rows)), rcond=None)[0] * scale).tolist()
    per_flop = (gpu.limit_w - busy) / (A100_PREFILL_EFFICIENCY * gpu.peak_bf16_flops)
    return PowerFit(busy, per_byte, per_flop, (columns @ np.array([busy, per_byte]) - 1.0).tolist())


def fit_clock() -> ClockFit:
    """Ps, k, voltage floor and m from Perseus's forward pass at 38 locked clocks."""
    rows = table("perseus")
    rows = rows[rows.instruction == "forward"]
    clock = rows.frequency.to_numpy() / PERSEUS_TOP_MHZ
    time_s = rows.time.to_numpy()
    watts = rows.energy.to_numpy() / time_s

    def power_error(x: np.ndarray) -> np.ndarray:
        return np.asarray((100.0 * x[0] + 100.0 * x[1] * clock * np.maximum(clock, x[2]) ** 2) / watts - 1.0)

    def time_error(x: np.ndarray) -> np.ndarray:
        return np.asarray(x[1] * time_s.min() * (x[0] + (1.0 - x[0]) / clock) / time_s - 1.0)

    starts = [least_squares(power_error, [1.0, 4.0, floor]) for floor in (0.70, 0.72, 0.74, 0.76, 0.78, 0.80)]
    power = min(starts, key=lambda found: float(found.cost))  # the kink has a local minimum between each two clocks
    time = least_squares(time_error, [0.1, 1.0])
    static, dynamic, floor = power.x.tolist()
    mean_power_error, mean_time_error = float(np.abs(power.fun).mean()), float(np.abs(time.fun).mean())
    return ClockFit(100 * static, 100 * dynamic, floor, float(time.x[0]), mean_power_error, mean_time_error)


def _rates(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Bytes per second and FLOP per second of one board, averaged over a run."""
    active, layers, kv_heads = (np.array(column) for column in zip(*rows.model_id.map(SHAPES), strict=True))
    kv_bytes = 2.0 * layers * kv_heads * 128 * 2
    tokens = rows.avg_batch_size + rows.prefills * PROMPT_TOKENS
    per_board_s = (rows.num_gpus * rows.mean_s).to_numpy()
    moved_bytes = 2.0 * active + kv_bytes * rows.context.to_numpy()
    return moved_bytes / per_board_s, 2.0 * active * tokens.to_numpy() / per_board_s
