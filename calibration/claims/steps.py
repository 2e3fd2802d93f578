"""Claims of times: decode steps of models in a fit and of models left out, boards that it never saw, prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.profiles import BY_LAYER, FROM_KERNELS, FROM_RUNS, MEASURED, SERVED_LIKE, Pair, time_fits
from calibration.fit.time import serving_costs
from calibration.fit.time.decode_steps import pair_steps
from calibration.fit.time.kernels import Kernels
from calibration.fit.time.serving import decode_batches, fit_measured, from_kernels, runs
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import ProfileSpec, load_model, load_profile, profile_name, roofline_profile
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s

SEQUENCES = np.array([1.0, 8.0, 32.0, 128.0])
CONTEXT_TOKENS = 1000.0


def decode_steps() -> Comparison:
    """Decode steps of dense models: host and per-sequence time fitted on the same runs, all else from kernels."""
    return _errors_of((*MEASURED, *(pair for pair in FROM_RUNS if load_model(pair[0]).experts == 1)), "decode_step")


def decode_steps_of_another_gpu() -> Comparison:
    """Decode steps on the B200 from its kernels and the H100's overhead, which never saw its runs."""
    measured, predicted, group = [], [], []
    for model, gpu, degree in MEASURED:
        if gpu == SERVED_LIKE:
            continue
        donor = next(tp for name, board, tp in MEASURED if name == model and board == SERVED_LIKE)
        served, kernels = fit_measured(model, SERVED_LIKE, donor), from_kernels(Kernels(model, gpu, degree))
        fit = replace(kernels, host_s=served.host_s, decode_s=served.decode_s)
        rows = runs(model, gpu, degree)
        measured.append(rows.median_itl_ms.to_numpy() / 1e3)
        predicted.append(iteration_time_s(fit, decode_batches(rows)))
        group += [profile_name(model, gpu, degree)] * len(rows)
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(group))


def prefills() -> Comparison:
    """Whole prompts of 512 to 8192 tokens against the sum of measured kernels."""
    return _errors_of((*MEASURED, *FROM_KERNELS), "prefill")


def steps_of_mixtures() -> Comparison:
    """Decode steps of mixtures: host and per-sequence time fitted on the same runs, all else from kernels."""
    pairs = [pair for pair in FROM_RUNS if load_model(pair[0]).experts > 1]
    measured = [pair_steps(*pair).time_s.to_numpy() for pair in pairs]
    errors = [np.array(time_fits()[profile_name(*pair)].errors["decode_step"]) for pair in pairs]
    group = [profile_name(*pair) for pair, own in zip(pairs, measured, strict=True) for _ in own]
    predicted = [own * (1.0 + error) for own, error in zip(measured, errors, strict=True)]
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(group))


def steps_of_dense_models_left_out() -> Comparison:
    """Decode steps by the roofline, kernels by board, collectives by interconnect, costs of serving by other models."""
    rows = serving_costs.left_out_s()
    return Comparison(rows.time_s.to_numpy(), rows.predicted.to_numpy(), tuple(rows.family))


def steps_of_dense_models_on_a_board_left_out() -> Comparison:
    """The same, costs of serving from the runs on the other board: H100's for the B200, B200's for the H100."""
    rows = serving_costs.known_steps()
    others = {"h100-sxm": "b200-sxm", "b200-sxm": "h100-sxm"}
    frames = [
        own.assign(predicted=serving_costs.predicted_s(serving_costs.fit_costs(gpu=others[str(gpu)]), own))
        for gpu, own in rows.groupby("gpu")
    ]
    found = pd.concat(frames)
    return Comparison(found.time_s.to_numpy(), found.predicted.to_numpy(), tuple(found.gpu))


def steps_on_other_boards() -> Comparison:
    """Decode steps by the roofline that follows from the law, against profiles from kernels of boards it never saw."""
    pairs = (*FROM_KERNELS, *BY_LAYER)
    measured = [_step_s(load_profile(*pair)) for pair in pairs]
    predicted = [_step_s(_roofline(*pair)) for pair in pairs]
    group = [profile_name(*pair) for pair in pairs for _ in SEQUENCES]
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(group))


CLAIMS = (
    Claim(
        "decode step, dense", decode_steps, 0.05,
        judged_by="two numbers a profile fitted on these vLLM runs (ML.ENERGY v3), all else from kernels",
    ),
    Claim(
        "decode step, GPU left out", decode_steps_of_another_gpu, 0.12,
        judged_by="kernels of the B200, host and per-sequence time of the H100's runs; judged on the B200's runs",
    ),
    Claim(
        "prefill, kernels", prefills, 0.15,
        judged_by="profiles against sums of measured kernels (aiconfigurator; H100 scaled from H200)",
    ),
    Claim("decode step, mixtures of experts", steps_of_mixtures, 0.12),
    Claim("decode step, dense model left out", steps_of_dense_models_left_out, 0.08),
    Claim("decode step, dense, board left out", steps_of_dense_models_on_a_board_left_out, 0.08),
    Claim("decode step, roofline on other boards", steps_on_other_boards),
)  # fmt: skip


def _errors_of(pairs: tuple[Pair, ...], comparison: str) -> Comparison:
    """A comparison of which only relative errors are at hand: predicted over measured."""
    errors = {profile_name(*pair): time_fits()[profile_name(*pair)].errors[comparison] for pair in pairs}
    ratios = 1.0 + np.concatenate([np.array(own) for own in errors.values()])
    return Comparison(np.ones_like(ratios), ratios, tuple(name for name, own in errors.items() for _ in own))


def _roofline(model: str, gpu: str, tensor_parallel: int) -> ProfileSpec:
    board = load_gpu(gpu)
    return roofline_profile(board, load_model(model), tensor_parallel, load_interconnect(board.interconnect))


def _step_s(profile: ProfileSpec) -> Array:
    """Decode steps of SEQUENCES with CONTEXT_TOKENS each [s]."""
    nothing = np.zeros_like(SEQUENCES)
    return iteration_time_s(profile, Batch(SEQUENCES, CONTEXT_TOKENS * SEQUENCES, nothing, nothing))
