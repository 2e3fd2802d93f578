"""Decode steps of vLLM's serving runs on H100 and B200 (ML.ENERGY v3), and profiles of the models in them.

A profile has the parts of a roofline, which were timed one by one: products, experts, element-wise layers, collectives,
attention. Only what a step and a sequence take beside them is fitted to the pair's own runs. So a prompt, of which the
runs say little, takes what its kernels and its collectives take.

Under expert parallelism all boards wait for the one whose experts are touched most, and each reads all of attention;
boards that split every matrix share all of it. What a run does not say, prompts and the context of a running sequence,
is assumed (`fit.serving_runs`).

Three kinds of runs are left out: those with 0.4 prompts or more started per iteration, as their step is no decode step;
those short of KV memory, with less than 95 % of their seats taken; those with a batch above 512. The runs of long
reasoning on B200 are left out too: they take 30 ms and more at any batch of any model, so that something else than the
GPU sets their pace.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.serving_runs import decodes, described, has_memory
from calibration.fit.shapes import DENSE, SHAPES, family
from calibration.fit.time.time_fit import TimeFit, fit_host_and_sequence
from tokenfleet.envs.fitting.errors import relative_errors
from tokenfleet.envs.fitting.knots import never_falling
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import TOKEN_KNOTS, Parallelism, bounds_s, load_model
from tokenfleet.envs.layers.llm.collectives import logits_s
from tokenfleet.envs.layers.llm.roofline import token_part

PRICED_ELSEWHERE = "qwen3-235b-a22b"  # a mixture in fp8: `mixtures` finds what that takes
PACED_BY_SOMETHING_ELSE = ("b200-sxm", "gpqa")


@cache
def steps() -> pd.DataFrame:
    """Every run of a known shape, with what its attention reads as `kv_s`, at peak bandwidth; treat it as read-only."""
    rows = table("power_runs")
    known = [model_id for model_id, shape in SHAPES.items() if shape.family != PRICED_ELSEWHERE]
    rows = described(rows[rows.model_id.isin(known)])
    rows = rows.assign(time_s=rows.median_itl_ms / 1e3)
    paced = (rows.gpu == PACED_BY_SOMETHING_ELSE[0]) & (rows.task == PACED_BY_SOMETHING_ELSE[1])
    rows = rows[decodes(rows) & has_memory(rows) & ~paced]
    frames = []
    for (model_id, gpu, boards, _), group in rows.groupby(["model_id", "gpu", "num_gpus", "tensor_parallel"]):
        shape, batch = SHAPES[model_id], group.avg_batch_size.to_numpy()
        attended_bytes = shape.kv_bytes_per_token * shape.attended(group.context.to_numpy()) * batch / boards
        kv_s = attended_bytes / load_gpu(gpu).memory_bandwidth_bytes_per_s
        frames.append(group.assign(family=shape.family, dense=model_id in DENSE, layers=shape.layers, kv_s=kv_s))
    return pd.concat(frames, ignore_index=True)


def pair_steps(model: str, gpu: str, boards: int) -> pd.DataFrame:
    """The runs of one model of the catalogue on so many boards."""
    rows = steps()
    return rows[(rows.family == family(model)) & (rows.gpu == gpu) & (rows.num_gpus == boards)]


def run_parallelism(boards: int, tensor_parallel: int) -> Parallelism:
    """How the boards of a run share its model: those beyond tensor parallelism share out experts."""
    groups = boards // tensor_parallel
    return Parallelism(tensor_parallel, groups, boards if groups > 1 else 1)


def fit_pair(model: str, gpu: str, boards: int) -> TimeFit:
    """A profile: the parts of a roofline, host and per-sequence time by least squares over the pair's own runs."""
    rows, spec, board = pair_steps(model, gpu, boards), load_model(model), load_gpu(gpu)
    shared, wired = run_parallelism(boards, int(rows.tensor_parallel.iloc[0])), load_interconnect(board.interconnect)
    least = bounds_s(board, spec, boards)
    batch, time_s = rows.avg_batch_size.to_numpy(), rows.time_s.to_numpy()
    gathered_s = logits_s(spec, wired, shared.tensor)
    attention_s = board.kernels.context_ratio * rows.kv_s.to_numpy() + gathered_s * batch
    known_s = token_part(board, spec, shared, wired, batch).time_s + attention_s
    host_s, decode_s = fit_host_and_sequence(batch, known_s, time_s)
    whole = token_part(board, spec, shared, wired, np.array(TOKEN_KNOTS, dtype=np.float64))
    return TimeFit(
        host_s=host_s,
        token_s=never_falling(whole.time_s, least.token_s).tolist(),
        token_memory_share=np.clip(whole.memory_share, 0.0, 1.0).tolist(),
        decode_s=decode_s + gathered_s,
        context_s=least.context_s * board.kernels.context_ratio,
        prefill_attention_s=least.prefill_attention_s * board.kernels.prefill_attention_ratio,
        errors={"decode_step": relative_errors(host_s + decode_s * batch + known_s, time_s).tolist()},
    )
