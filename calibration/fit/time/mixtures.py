"""What serving adds to the kernels of a mixture of experts, from vLLM's runs (ML.ENERGY v3): three costs a layer.

A decode step is that of the roofline, as a user gets it, of which

    EXPERT_LAYER_S, DISPATCH_LAYER_S where boards have attention of their own, and FP8_LAYER_S in fp8

for each layer are fitted, by least squares of relative error. So is how unevenly tokens choose experts
(`ModelSpec.routing_skew`), in steps of 0.2: a family that is left out has both from the other families. The benchmark's
runs of expert parallelism over several boards have `tensor_parallel` 1: each board holds all of attention and its own
sequences (data parallelism). Two things show this: if every board held all sequences, the cache of these batches would
not fit, and the layers for all tokens take as long as on one board.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.serving_runs import decodes, described, has_memory
from calibration.fit.time.decode_steps import PACED_BY_SOMETHING_ELSE, run_parallelism
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import ModelSpec, Parallelism, ProfileSpec, load_model
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s
from tokenfleet.envs.layers.llm.roofline import (
    DISPATCH_LAYER_S,
    EXPERT_LAYER_S,
    FP8_LAYER_S,
    roofline_profile,
)

MODELS = {
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-30B-A3B-Thinking-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "qwen3-30b-a3b",
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": "qwen3-coder-480b-a35b",
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b-fp8",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama-4-scout",
}
UNIT_S = 1e-5
SKEWS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHIPPED_SKEW = float(ModelSpec.model_fields["routing_skew"].default)


class LayerCosts(NamedTuple):
    """Costs a layer, as the roofline has them [s]."""

    expert_s: float
    dispatch_s: float
    fp8_s: float


SHIPPED = LayerCosts(EXPERT_LAYER_S, DISPATCH_LAYER_S, FP8_LAYER_S)


@cache
def steps(skew: float = SHIPPED_SKEW) -> pd.DataFrame:
    """Runs of mixtures with their roofline's step, experts chosen with so much skew; treat it as read-only.

    Columns beside those of the runs: `kind` (bf16, fp8 or mxfp4, of the experts), `roofline_s` without the costs that
    are fitted, and how often each cost is in it.
    """
    rows = table("power_runs")
    rows = described(rows[rows.model_id.isin(MODELS)])
    paced = (rows.gpu == PACED_BY_SOMETHING_ELSE[0]) & (rows.task == PACED_BY_SOMETHING_ELSE[1])
    rows = rows[decodes(rows) & has_memory(rows) & ~paced]
    keys = ["model_id", "gpu", "num_gpus", "tensor_parallel"]
    return pd.concat([_with_roofline(group, skew, *names) for names, group in rows.groupby(keys)], ignore_index=True)


def _with_roofline(
    rows: pd.DataFrame, skew: float, model_id: str, gpu: str, boards: int, tensor_parallel: int
) -> pd.DataFrame:
    model = load_model(MODELS[model_id])
    nothing, batch = np.zeros(len(rows)), rows.avg_batch_size.to_numpy()
    work = Batch(batch, batch * model.attended_tokens(rows.context.to_numpy()), nothing, nothing)
    rows = rows.assign(
        family=_family(model),
        kind=_kind(model),
        time_s=rows.median_itl_ms / 1e3,
        **_charged(model, run_parallelism(boards, tensor_parallel)),
    )
    step_s = iteration_time_s(_roofline(model, gpu, boards, tensor_parallel, skew), work)
    return rows.assign(roofline_s=step_s - added_s(SHIPPED, rows))


def _roofline(model: ModelSpec, gpu: str, boards: int, tensor_parallel: int, skew: float) -> ProfileSpec:
    board, shared = load_gpu(gpu), run_parallelism(boards, tensor_parallel)
    skewed = model.model_copy(update={"routing_skew": skew})
    return roofline_profile(board, skewed, shared, load_interconnect(board.interconnect))


def _charged(model: ModelSpec, shared: Parallelism) -> dict[str, int]:
    """How many layers each cost is charged for."""
    mixture = model.routed_layers if model.experts > 1 else 0
    return {
        "expert": mixture,
        "dispatch": mixture if shared.data > 1 else 0,
        "fp8": mixture if model.arithmetic == "fp8" else 0,
    }


def _family(model: ModelSpec) -> str:
    return model.name.removesuffix("-fp8")


def _kind(model: ModelSpec) -> str:
    return "mxfp4" if model.has_packed_experts else model.arithmetic


def added_s(costs: LayerCosts, rows: pd.DataFrame) -> Array:
    """What the costs add to the step of each run [s]."""
    added = costs.expert_s * rows.expert + costs.dispatch_s * rows.dispatch + costs.fp8_s * rows.fp8
    return np.asarray(added)


@cache
def fit_layer_costs(without: str = "", boards: int = 0, skew: float = SHIPPED_SKEW) -> LayerCosts:
    """The costs from all runs but those of the family `without`; if `boards` is not 0, its runs on other numbers stay.

    Every family counts the same.
    """
    costs, _ = _fit(without, boards, skew)
    return costs


@cache
def chosen_skew(without: str = "", boards: int = 0) -> float:
    """The skew that leaves the same runs the least squares of relative error."""
    return min(SKEWS, key=lambda skew: _fit(without, boards, skew)[1])


@cache
def _fit(without: str, boards: int, skew: float) -> tuple[LayerCosts, float]:
    """The costs, and the squares that they leave."""
    rows = steps(skew)
    rows = rows[(rows.family != without) | ((boards > 0) & (rows.num_gpus != boards))]
    weight = np.sqrt(1.0 / rows.groupby("family").time_s.transform("size").to_numpy())

    def error(x: Array) -> Array:
        step_s = rows.roofline_s + added_s(LayerCosts(*(UNIT_S * x).tolist()), rows)
        return np.asarray(weight * relative_errors(step_s, rows.time_s))

    found = minimise(error, [[0.0, 2.0, 7.0]], bounds=([-np.inf, 0.0, 0.0], np.inf), soft=0.05).values
    return LayerCosts(*(UNIT_S * found).tolist()), float(np.sum(error(found) ** 2))


def left_out() -> pd.DataFrame:
    """The runs with the step by the skew and the costs of all other families, as `predicted` [s].

    Only one family is in fp8: its runs on some number of boards are left out, and those on another stay.
    """
    frames = []
    for family, boards, in_fp8 in _parts():
        others = (family, boards if in_fp8 else 0)
        rows = steps(chosen_skew(*others))
        group = rows[(rows.family == family) & (rows.num_gpus == boards)]
        predicted = group.roofline_s + added_s(fit_layer_costs(*others, chosen_skew(*others)), group)
        frames.append(group.assign(predicted=predicted))
    return pd.concat(frames)


def left_out_profile(model_id: str, gpu: str, boards: int, tensor_parallel: int) -> ProfileSpec:
    """The roofline of a pair by the skew and the costs of all other families, as in `left_out`."""
    model = load_model(MODELS[model_id])
    others = (_family(model), boards if model.arithmetic == "fp8" else 0)
    skew = chosen_skew(*others)
    roofline = _roofline(model, gpu, boards, tensor_parallel, skew)
    layers = pd.DataFrame([_charged(model, roofline.parallelism)])
    costs_s = added_s(fit_layer_costs(*others, skew), layers) - added_s(SHIPPED, layers)
    return roofline.model_copy(update={"host_s": roofline.host_s + float(costs_s[0])})


def _parts() -> list[tuple[str, int, bool]]:
    """Families and boards, and whether a family is in fp8."""
    groups = steps().groupby(["family", "num_gpus"])
    return [(str(family), int(boards), bool((group.fp8 > 0).any())) for (family, boards), group in groups]
