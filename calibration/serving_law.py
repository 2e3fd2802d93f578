"""One law for the decode step of every model on H100 and B200, from vLLM's serving runs (ML.ENERGY v3).

A step that decodes B sequences whose contexts total C tokens takes

    t = base + layers (layer + mixture expert_layer + log2(boards) collective_layer) + sequence B
        + ((bytes(B) / (memory_efficiency bandwidth))^4 + (flops(B) / (compute_efficiency peak))^4)^(1/4)
        + kv_bytes C / (context_efficiency bandwidth)

`mixture` is 1 for a mixture of experts. Boards that share out experts (expert parallelism) wait for the one whose
experts are touched most, and each reads all of attention; boards that split every matrix share all of it. (That
attention is not split beside shared-out experts is an assumption: how the runs were launched suggests otherwise, but
splitting it misses a mixture left out by 15.0 instead of 10.6 %.) Six numbers
are fitted to all models by least squares of relative error; the efficiencies of arithmetic and of attention come from
measured kernels (`layers.llm.roofline`). What a run does not say, prompts and the context of a running sequence, is
assumed as in `calibration.power`.

Runs are left out whose step is not a decode step (0.4 prompts or more started per iteration), that are short of KV
memory (less than 95 % of their seats taken), or whose batch exceeds 512; and the runs of long reasoning on B200, which
take 30 ms and more at any batch of any model: something else than the GPU sets their pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares, lsq_linear

from calibration.kernels import table
from calibration.power import CONTEXT_SHARE, GPU_NAMES, PROMPT_TOKENS
from calibration.profile_power import family
from calibration.serving import FULL_SHARE, LARGEST_BATCH, RARE_PREFILLS, TimeFit
from calibration.shapes import DENSE, SHAPES, Shape
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, bounds_s, load_model
from tokenfleet.envs.layers.llm.iteration import at_tokens
from tokenfleet.envs.layers.llm.roofline import (
    COMPUTE_EFFICIENCY,
    CONTEXT_RATIO,
    JOIN_POWER,
    PREFILL_ATTENTION_RATIO,
)

Array = NDArray[np.float64]
PACED_BY_SOMETHING_ELSE = ("b200-sxm", "gpqa")
DRAWS = 200  # of a batch's routing, for the most touched board
UNITS = {"base_s": 1e-3, "layer_s": 1e-4, "expert_layer_s": 1e-4, "collective_layer_s": 1e-4, "sequence_s": 1e-5}
START = {"base_s": 0.4, "layer_s": 0.6, "expert_layer_s": 0.1, "collective_layer_s": 0.2, "sequence_s": 6.0}


@dataclass(frozen=True)
class Law:
    """The fitted numbers [s], and the share of peak bandwidth that weights are read at."""

    base_s: float
    layer_s: float
    expert_layer_s: float
    collective_layer_s: float
    sequence_s: float
    memory_efficiency: float

    def token_s(self, work: Work) -> Array:
        """All but attention of steps that compute so many tokens [s]."""
        memory_s = work.memory_s / self.memory_efficiency
        compute_s = work.compute_s / COMPUTE_EFFICIENCY
        return np.asarray((memory_s**JOIN_POWER + compute_s**JOIN_POWER) ** (1.0 / JOIN_POWER))


@dataclass(frozen=True)
class Work:
    """Bytes over peak bandwidth and FLOPs over peak rate of the busiest board, for each of some steps [s]."""

    memory_s: Array
    compute_s: Array


def work(shape: Shape, gpu: str, boards: int, tensor_parallel: int, tokens: Array) -> Work:
    """What steps of `tokens` tokens move and compute; boards beyond `tensor_parallel` share out experts."""
    board = load_gpu(gpu)
    peak = board.peak_bf16_flops * (2.0 if shape.bytes_per_weight == 1.0 else 1.0)
    touched = shape.touched_experts(tokens) / boards
    if shape.experts and tensor_parallel < boards:
        touched = np.array([most_touched(shape.experts, shape.routed, boards, round(float(n))) for n in tokens])
    expert_bytes = shape.expert_weights * shape.bytes_per_expert_weight * touched
    common_bytes = shape.common_weights * shape.bytes_per_weight / tensor_parallel
    flops = 2.0 * (shape.common_weights / tensor_parallel + shape.expert_weights * shape.routed / boards) * tokens
    return Work((common_bytes + expert_bytes) / board.memory_bandwidth_bytes_per_s, flops / peak)


@cache
def most_touched(experts: int, routed: int, boards: int, tokens: int) -> float:
    """Mean of the largest number of experts that any of `boards` has touched by `tokens` evenly routed tokens."""
    if tokens * routed > 20 * experts:
        return experts / boards
    scores = np.random.default_rng(0).random((DRAWS, max(tokens, 1), experts))
    chosen = np.argpartition(scores, routed, axis=2)[:, :, :routed].reshape(DRAWS, -1)
    touched = np.zeros((DRAWS, experts), dtype=np.bool_)
    np.put_along_axis(touched, chosen, True, axis=1)
    return float(touched.reshape(DRAWS, boards, -1).sum(axis=2).max(axis=1).mean())


@cache
def steps() -> pd.DataFrame:
    """Every run that the law is for, with what its step moves and computes; treat it as read-only."""
    rows = table("power_runs")
    rows = rows[rows.model_id.isin(SHAPES) & (rows.max_num_seqs <= LARGEST_BATCH)]
    rows = rows.assign(gpu=rows.gpu_model.map(GPU_NAMES), time_s=rows.median_itl_ms / 1e3)
    is_step = rows.avg_batch_size / rows.avg_output_len < RARE_PREFILLS
    paced = (rows.gpu == PACED_BY_SOMETHING_ELSE[0]) & (rows.task == PACED_BY_SOMETHING_ELSE[1])
    rows = rows[is_step & (rows.avg_batch_size >= FULL_SHARE * rows.max_num_seqs) & ~paced]
    context = rows.task.map(PROMPT_TOKENS) + rows.task.map(CONTEXT_SHARE) * rows.avg_output_len
    frames = []
    for (model_id, gpu, boards, degree), group in rows.assign(context=context).groupby(
        ["model_id", "gpu", "num_gpus", "tensor_parallel"]
    ):
        shape, batch = SHAPES[model_id], group.avg_batch_size.to_numpy()
        done = work(shape, gpu, boards, degree, batch)
        attended_bytes = shape.kv_bytes_per_token * shape.attended(group.context.to_numpy()) * batch / boards
        kv_s = attended_bytes / load_gpu(gpu).memory_bandwidth_bytes_per_s
        frames.append(
            group.assign(
                family=shape.family, dense=model_id in DENSE, layers=shape.layers, mixture=float(shape.experts > 0),
                doublings=np.log2(boards), memory_s=done.memory_s, compute_s=done.compute_s, kv_s=kv_s,
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def predicted_s(law: Law, rows: pd.DataFrame) -> Array:
    """The step of each run by the law [s]."""
    layer_s = law.layer_s + rows.mixture * law.expert_layer_s + rows.doublings * law.collective_layer_s
    fixed_s = law.base_s + rows.layers * layer_s + law.sequence_s * rows.avg_batch_size
    token_s = law.token_s(Work(rows.memory_s.to_numpy(), rows.compute_s.to_numpy()))
    return np.asarray(fixed_s + token_s + CONTEXT_RATIO * rows.kv_s)


@cache
def fit_law(without: str = "") -> Law:
    """The law of all runs but those of the family `without`."""
    rows = steps()
    rows = rows[rows.family != without]

    def law_of(x: Array) -> Law:
        seconds = {name: float(value) * unit for (name, unit), value in zip(UNITS.items(), x, strict=False)}
        return Law(**seconds, memory_efficiency=float(x[-1]))

    def error(x: Array) -> Array:
        return np.asarray(predicted_s(law_of(x), rows) / rows.time_s - 1.0)

    upper = [np.inf] * len(UNITS) + [1.0]
    found = least_squares(error, [*START.values(), 0.9], bounds=(0.0, upper), loss="soft_l1", f_scale=0.05)
    return law_of(found.x)


def left_out_s() -> pd.DataFrame:
    """The runs, each with the step that the law of all other families predicts, as `predicted` [s]."""
    frames = [
        group.assign(predicted=predicted_s(fit_law(str(name)), group)) for name, group in steps().groupby("family")
    ]
    return pd.concat(frames)


def pair_steps(model: str, gpu: str, boards: int) -> pd.DataFrame:
    """The runs of one model of the catalogue on so many boards."""
    rows = steps()
    return rows[(rows.family == family(model)) & (rows.gpu == gpu) & (rows.num_gpus == boards)]


def fit_pair(model: str, gpu: str, boards: int) -> TimeFit:
    """A profile: T and attention by the law, host and per-sequence time by least squares over the pair's own runs."""
    rows, law = pair_steps(model, gpu, boards), fit_law()
    shape, degree = SHAPES[rows.model_id.iloc[0]], int(rows.tensor_parallel.iloc[0])
    least = bounds_s(load_gpu(gpu), load_model(model), boards)
    done = work(shape, gpu, boards, degree, np.array(TOKEN_KNOTS, dtype=np.float64))
    token_s = np.maximum.accumulate(np.maximum(law.token_s(done), least.token_s))
    batch, time_s = rows.avg_batch_size.to_numpy(), rows.time_s.to_numpy()
    known_s = at_tokens(token_s, batch) + CONTEXT_RATIO * rows.kv_s.to_numpy()
    columns = np.column_stack([np.full_like(batch, 1e-3), 1e-5 * batch]) / time_s[:, None]
    host_ms, sequence = lsq_linear(columns, (time_s - known_s) / time_s, bounds=(0.0, np.inf)).x
    errors = (host_ms * 1e-3 + sequence * 1e-5 * batch + known_s) / time_s - 1.0
    memory = (done.memory_s / law.memory_efficiency) ** JOIN_POWER
    share = memory / (memory + (done.compute_s / COMPUTE_EFFICIENCY) ** JOIN_POWER)
    return TimeFit(
        host_s=float(host_ms) * 1e-3,
        token_s=token_s.tolist(),
        token_memory_share=share.tolist(),
        decode_s=float(sequence) * 1e-5,
        context_s=least.context_s * CONTEXT_RATIO,
        prefill_attention_s=least.prefill_attention_s * PREFILL_ATTENTION_RATIO,
        errors={"decode_step": errors.tolist()},
    )
