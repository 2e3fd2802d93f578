"""What serving adds to the kernels of a step, from vLLM's runs on H100 and B200 (ML.ENERGY v3).

A decode step of B sequences takes what the parts of a roofline take, and

    added = base + layers layer + sequence B

more: launches and small kernels of each layer, planning, preparing inputs, sampling. Three numbers are fitted to all
dense models by least squares of relative error. Products, collectives and attention are given, by board and by
interconnect (`fit.time.products`, `fit.time.collectives`); no number depends on how many boards share a model.
`mixtures` finds what a layer of a mixture of experts adds.

Which runs are read, and what they do not say, is as in `decode_steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from calibration.excerpts import table
from calibration.fit.shapes import SHAPES
from calibration.fit.time.decode_steps import steps
from calibration.fit.time.llmservingsim import fit_bundle
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.least_squares import factors
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm.collectives import logits_s
from tokenfleet.envs.layers.llm.roofline import token_part


@dataclass(frozen=True)
class ServingCosts:
    """The fitted numbers [s]."""

    base_s: float
    layer_s: float
    sequence_s: float

    def added_s(self, rows: pd.DataFrame) -> Array:
        """What serving adds to the step of each run [s]."""
        return np.asarray(self.base_s + rows.layers * self.layer_s + self.sequence_s * rows.avg_batch_size)


@cache
def known_steps() -> pd.DataFrame:
    """The runs, with what kernels and collectives of each step take, as `known_s`; treat it as read-only."""
    frames = []
    rows = steps()
    for (model_id, gpu, boards), group in rows[rows.dense].groupby(["model_id", "gpu", "num_gpus"]):
        model, board = SHAPES[model_id].spec(), load_gpu(gpu)
        wired, batch = load_interconnect(board.interconnect), group.avg_batch_size.to_numpy()
        token_s = token_part(board, model, int(boards), wired, batch).time_s
        attention_s = board.kernels.context_ratio * group.kv_s
        frames.append(group.assign(known_s=token_s + attention_s + logits_s(model, wired, int(boards)) * batch))
    return pd.concat(frames, ignore_index=True)


def predicted_s(costs: ServingCosts, rows: pd.DataFrame) -> Array:
    """The step of each run [s]."""
    return np.asarray(rows.known_s.to_numpy() + costs.added_s(rows))


@cache
def fit_costs(without: str = "", gpu: str = "") -> ServingCosts:
    """The costs of all runs but those of the family `without`, of one board if `gpu` says which."""
    rows = known_steps()
    rows = rows[(rows.family != without) & (rows.gpu.isin([gpu]) | (gpu == ""))]
    columns = [np.ones(len(rows)), rows.layers, rows.avg_batch_size]
    return ServingCosts(*factors(columns, rows.time_s, rows.known_s))


@cache
def kernel_sequence_s() -> float:
    """What kernels alone take for each sequence, the mean of the two boards that LLMServingSim timed [s]."""
    return float(np.mean([fit_bundle(gpu).decode_s for gpu in table("layers").gpu.unique()]))


def left_out_s() -> pd.DataFrame:
    """The runs, each with the step that the costs of all other families predict, as `predicted` [s]."""
    frames = [
        group.assign(predicted=predicted_s(fit_costs(str(name)), group))
        for name, group in known_steps().groupby("family")
    ]
    return pd.concat(frames)
