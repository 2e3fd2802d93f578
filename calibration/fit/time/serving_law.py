"""One law for the decode step of every model on H100 and B200, from vLLM's serving runs (ML.ENERGY v3).

Only the shipped profiles of `fit.profiles.FROM_RUNS` come from it. Rooflines add up timed parts instead, with what
`serving_costs` and `mixtures` find; both read the runs through this module.

A step that decodes B sequences whose contexts total C tokens takes

    t = base + layers (layer + mixture expert_layer + log2(boards) collective_layer) + sequence B
        + ((bytes(B) / (memory_efficiency bandwidth))^4 + (flops(B) / (compute_efficiency peak))^4)^(1/4)
        + kv_bytes C / (context_efficiency bandwidth)

`mixture` is 1 for a mixture of experts. Boards that share out experts (expert parallelism) wait for the one whose
experts are touched most, and each reads all of attention; boards that split every matrix share all of it. (That
attention is not split beside shared-out experts was chosen on these runs: split, a mixture left out is 15.0 instead of
10.6 % off. `mixtures` says what else speaks for it.) Six numbers are fitted to all models by least squares
of relative error; the efficiencies of arithmetic and of attention come from measured kernels.
What a run does not say, prompts and the context of a running sequence, is assumed (`fit.serving_runs`).

Runs are left out whose step is not a decode step (0.4 prompts or more started per iteration), that are short of KV
memory (less than 95 % of their seats taken), or whose batch exceeds 512; and the runs of long reasoning on B200, which
take 30 ms and more at any batch of any model: something else than the GPU sets their pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.serving_runs import decodes, described, has_memory
from calibration.fit.shapes import DENSE, SHAPES, Shape, family
from calibration.fit.time.time_fit import TimeFit, fit_host_and_sequence
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.knots import never_falling
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, bounds_s, load_model
from tokenfleet.envs.layers.llm.iteration import at_tokens
from tokenfleet.envs.layers.llm.part import joined_s, memory_share

# Typical shares of peak that measured kernels reach, and of attention over its bound.
COMPUTE_EFFICIENCY = 0.66
CONTEXT_RATIO = 1.15
PREFILL_ATTENTION_RATIO = 1.94
PRICED_ELSEWHERE = "qwen3-235b-a22b"  # a mixture in fp8: `mixtures` finds what that takes
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

    def bounds_s(self, work: Work) -> tuple[Array, Array]:
        """Steps bound by memory alone, and by arithmetic alone [s]."""
        return work.memory_s / self.memory_efficiency, work.compute_s / COMPUTE_EFFICIENCY

    def token_s(self, work: Work) -> Array:
        """All but attention of steps that do some work [s]."""
        return joined_s(*self.bounds_s(work))


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
    known = [model_id for model_id, shape in SHAPES.items() if shape.family != PRICED_ELSEWHERE]
    rows = described(rows[rows.model_id.isin(known)])
    rows = rows.assign(time_s=rows.median_itl_ms / 1e3)
    paced = (rows.gpu == PACED_BY_SOMETHING_ELSE[0]) & (rows.task == PACED_BY_SOMETHING_ELSE[1])
    rows = rows[decodes(rows) & has_memory(rows) & ~paced]
    frames = []
    for (model_id, gpu, boards, degree), group in rows.groupby(["model_id", "gpu", "num_gpus", "tensor_parallel"]):
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
def fit_law() -> Law:
    """The law of all runs."""
    rows = steps()

    def law_of(x: Array) -> Law:
        seconds = {name: float(value) * unit for (name, unit), value in zip(UNITS.items(), x, strict=False)}
        return Law(**seconds, memory_efficiency=float(x[-1]))

    def error(x: Array) -> Array:
        return relative_errors(predicted_s(law_of(x), rows), rows.time_s)

    upper = [np.inf] * len(UNITS) + [1.0]
    return law_of(minimise(error, [[*START.values(), 0.9]], bounds=(0.0, upper), soft=0.05).values)


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
    token_s = never_falling(law.token_s(done), least.token_s)
    batch, time_s = rows.avg_batch_size.to_numpy(), rows.time_s.to_numpy()
    known_s = at_tokens(token_s, batch) + CONTEXT_RATIO * rows.kv_s.to_numpy()
    host_s, decode_s = fit_host_and_sequence(batch, known_s, time_s)
    return TimeFit(
        host_s=host_s,
        token_s=token_s.tolist(),
        token_memory_share=memory_share(*law.bounds_s(done)).tolist(),
        decode_s=decode_s,
        context_s=least.context_s * CONTEXT_RATIO,
        prefill_attention_s=least.prefill_attention_s * PREFILL_ATTENTION_RATIO,
        errors={"decode_step": relative_errors(host_s + decode_s * batch + known_s, time_s).tolist()},
    )
