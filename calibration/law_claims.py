"""Claims of the serving law: decode steps of models that it saw and of models left out, boards that it never saw.

`python -m calibration.validation` prints them with the others.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from calibration.fit import FROM_KERNELS, FROM_RUNS, MEASURED, time_fits
from calibration.layer_kernels import BY_LAYER
from calibration.power_claims import Comparison
from calibration.profile_power import power_errors
from calibration.serving_law import left_out_s, pair_steps
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import ProfileSpec, load_model, load_profile, profile_name, roofline_profile
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s

Array = NDArray[np.float64]
SEQUENCES = np.array([1.0, 8.0, 32.0, 128.0])
CONTEXT_TOKENS = 1000.0


def steps_of_mixtures() -> Comparison:
    """Decode steps of mixtures of experts: host and per-sequence time fitted on the same runs, all else by one law."""
    pairs = [pair for pair in FROM_RUNS if load_model(pair[0]).experts > 1]
    measured = [pair_steps(*pair).time_s.to_numpy() for pair in pairs]
    errors = [np.array(time_fits()[profile_name(*pair)].errors["decode_step"]) for pair in pairs]
    group = [profile_name(*pair) for pair, own in zip(pairs, measured, strict=True) for _ in own]
    predicted = [own * (1.0 + error) for own, error in zip(measured, errors, strict=True)]
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(group))


def steps_of_dense_models_left_out() -> Comparison:
    """Decode steps of a dense model on H100 and B200 by the law of all other models, mixtures among them."""
    return _left_out(dense=True)


def steps_of_mixtures_left_out() -> Comparison:
    """Decode steps of a mixture of experts on H100 and B200 by the law of all other models."""
    return _left_out(dense=False)


def steps_on_other_boards() -> Comparison:
    """Decode steps by the roofline that follows from the law, against profiles from kernels of boards it never saw."""
    pairs = (*FROM_KERNELS, *BY_LAYER)
    measured = [_step_s(load_profile(*pair)) for pair in pairs]
    predicted = [_step_s(roofline_profile(load_gpu(gpu), load_model(model), tp)) for model, gpu, tp in pairs]
    group = [profile_name(*pair) for pair in pairs for _ in SEQUENCES]
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(group))


def power_of_profiles() -> Comparison:
    """Board power of a profile's runs, taken apart into iterations as engines run them, one factor fitted to each."""
    pairs = (*MEASURED, *FROM_RUNS)
    errors = [np.array(power_errors(load_profile(*pair))) for pair in pairs]
    group = [profile_name(*pair) for pair, own in zip(pairs, errors, strict=True) for _ in own]
    return Comparison(np.ones(len(group)), 1.0 + np.concatenate(errors), tuple(group))


CLAIMS = {
    "decode step, mixtures of experts": (steps_of_mixtures, 0.12),
    "decode step, dense model left out": (steps_of_dense_models_left_out, 0.12),
    "decode step, mixture left out": (steps_of_mixtures_left_out, 0.12),
    "decode step, roofline on other boards": (steps_on_other_boards, None),
    "board power of shipped profiles": (power_of_profiles, None),
}
"""Name -> the comparison and the largest mean error that is aimed at, if any."""


def _left_out(dense: bool) -> Comparison:
    rows: pd.DataFrame = left_out_s()
    rows = rows[rows.dense == dense]
    return Comparison(rows.time_s.to_numpy(), rows.predicted.to_numpy(), tuple(rows.family))


def _step_s(profile: ProfileSpec) -> Array:
    """Decode steps of SEQUENCES with CONTEXT_TOKENS each [s]."""
    nothing = np.zeros_like(SEQUENCES)
    return iteration_time_s(profile, Batch(SEQUENCES, CONTEXT_TOKENS * SEQUENCES, nothing, nothing))
