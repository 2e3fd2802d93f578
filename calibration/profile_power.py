"""What work took in a profile's serving runs over what the law of the GPU says of such iterations.

The law is not linear in the work: an iteration that prefills draws more than one that only decodes, by less than the
work is more. So each run is taken apart into its iterations, with no, one, two ... prompts, as the engines run them
(`tokenfleet.envs.measured.compare`), and not at its mean composition.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from calibration.kernels import table
from calibration.power import CONTEXT_SHARE, GPU_NAMES, PROMPT_TOKENS
from calibration.shapes import SHAPES
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import ProfileSpec, load_model
from tokenfleet.envs.measured.compare import BOARD_POWER, Bench
from tokenfleet.envs.measured.runs import Run

TOKEN_BUDGET = 8192  # of vLLM's serving default on such boards; assumption
CHAT = "lm-arena-chat"
SOUGHT = (0.3, 4.0)  # bounds of a power factor


def family(model: str) -> str:
    """What a catalogue's model is called among the shapes, which know no precision."""
    return model.removesuffix("-fp8")


def power_factor(profile: ProfileSpec) -> float:
    """By which a pair's runs are met in the geometric mean, chat if there is any; 1 where nobody measured the pair.

    The limit of the boards binds in some runs, where no factor matters; so it is searched for.
    """
    rows = _runs_of(profile)
    if rows.empty:
        return 1.0
    measured = float(np.log(rows.avg_power_watts).mean())

    def excess(factor: float) -> float:
        watts = predicted_w(profile.model_copy(update={"power_factor": factor}))
        return float(np.log(watts).mean()) - measured

    return float(brentq(excess, *SOUGHT))


def power_errors(profile: ProfileSpec) -> list[float]:
    """Signed relative errors of a profile's board power over its runs."""
    rows = _runs_of(profile)
    return [] if rows.empty else (predicted_w(profile) / rows.avg_power_watts.to_numpy() - 1.0).tolist()


def predicted_w(profile: ProfileSpec) -> NDArray[np.float64]:
    """Watts of all boards in each of a pair's runs, of which there is one at least."""
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    bench = Bench(gpu, model, profile.tensor_parallel, TOKEN_BUDGET)
    return BOARD_POWER.predicted(profile, bench, [_run(row) for row in _runs_of(profile).to_dict("records")])


def _run(row: dict[str, float]) -> Run:
    prompt_tokens = PROMPT_TOKENS[str(row["task"])]
    context_tokens = prompt_tokens + CONTEXT_SHARE[str(row["task"])] * row["avg_output_len"]
    return Run("", "", row["avg_batch_size"], prompt_tokens, row["avg_output_len"], context_tokens)


def _runs_of(profile: ProfileSpec) -> pd.DataFrame:
    rows = table("power_runs")
    mine = rows.model_id.map(lambda name: name in SHAPES and SHAPES[name].family == family(profile.model))
    mine &= (rows.gpu_model.map(GPU_NAMES) == profile.gpu) & (rows.num_gpus == profile.tensor_parallel)
    rows = rows[mine]
    return rows[rows.task == CHAT] if CHAT in set(rows.task) else rows
