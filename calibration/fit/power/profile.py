"""What work took in a profile's serving runs over what the law of the GPU says of such iterations.

The law is not linear in the work: an iteration with prefill draws more than one without, but its power rises
less than its work.
So each run is taken apart into its iterations, with no, one, two ... prompts, as the engines run them
(`tokenfleet.envs.fitting.compare`), and not at its mean composition.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from calibration.excerpts import table
from calibration.fit.serving_runs import CHAT, described
from calibration.fit.shapes import SHAPES, family
from tokenfleet.envs.fitting.bench import TOKEN_BUDGET, Bench
from tokenfleet.envs.fitting.compare import BOARD_POWER
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import ProfileSpec, load_model

SOUGHT = (0.3, 4.0)  # bounds of a power factor


def power_factor(profile: ProfileSpec) -> float:
    """Factor that meets a pair's runs, chat if there is any, in the geometric mean; 1 where nobody measured the pair.

    In some runs the limit of the boards binds, and no factor matters; so the factor is searched for.
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
    return [] if rows.empty else relative_errors(predicted_w(profile), rows.avg_power_watts).tolist()


def predicted_w(profile: ProfileSpec) -> Array:
    """Watts of all boards in each of a pair's runs, of which there is one at least; vLLM's token budget is assumed."""
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    bench = Bench(gpu, model, profile.parallelism, TOKEN_BUDGET)
    return BOARD_POWER.predicted(profile, bench, [_run(row) for row in _runs_of(profile).to_dict("records")])


def _run(row: dict[str, float]) -> Run:
    return Run("", "", row["avg_batch_size"], row["prompt"], row["avg_output_len"], row["context"])


def _runs_of(profile: ProfileSpec) -> pd.DataFrame:
    rows = described(table("power_runs"))
    mine = rows.model_id.map(lambda name: name in SHAPES and SHAPES[name].family == family(profile.model))
    rows = rows[mine & (rows.gpu == profile.gpu) & (rows.num_gpus == profile.tensor_parallel)]
    return rows[rows.task == CHAT] if CHAT in set(rows.task) else rows
