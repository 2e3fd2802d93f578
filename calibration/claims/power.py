"""Claims of layer 3: the watts of boards in serving runs.

`left out` means that the judged model or board took no part in the fit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.power.board import CHIPS, fit_board, rates_by_gpu, scaled_coefficients
from calibration.fit.power.experts import fit_expert_costs, fit_fp8_byte_flops, kernels_w, mixture_w
from calibration.fit.power.profile import power_errors
from calibration.fit.power.runs import runs
from calibration.fit.profiles import FROM_RUNS, MEASURED
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import load_profile, profile_name
from tokenfleet.envs.layers.llm.work import EXPERT_FLOP_COST, FP8_EXPERT_BYTE_FLOPS, UNPACKED_BYTE_FLOPS

BUSY_CHIPS = ("h100-sxm", "b200-sxm")


def power_of_profiles() -> Comparison:
    """Board power of a profile's runs, taken apart into iterations as engines run them, one factor fitted to each."""
    pairs = (*MEASURED, *FROM_RUNS)
    errors = [np.array(power_errors(load_profile(*pair))) for pair in pairs]
    group = [profile_name(*pair) for pair, own in zip(pairs, errors, strict=True) for _ in own]
    return Comparison(np.ones(len(group)), 1.0 + np.concatenate(errors), tuple(group))


def dense_power() -> Comparison:
    """Board power of dense models on H100 and B200 [W] at the measured step, one law a GPU, fitted to them all."""
    rows = pd.concat([fit_board(chip).runs for chip in BUSY_CHIPS])
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, rows.predicted)


def dense_power_with_factor() -> Comparison:
    """The same with each series' own factor, as a measured profile has it: model, boards and task."""
    rows = pd.concat([fit_board(chip).runs for chip in BUSY_CHIPS])
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, _with_factor(rows))


def left_out_model_power() -> Comparison:
    """Board power of a dense model on H100 and B200 [W] at the measured step, by the law of all the others."""
    rows = _left_out_models()
    rows = rows[rows.busy]
    return _compare(rows, rows.watts, rows.predicted)


def left_out_model_energy() -> Comparison:
    """Energy per generated token of a dense model on H100 and B200 [J], its step time as measured, model left out."""
    rows = _left_out_models()
    rows = rows[rows.busy]
    tokens_per_s = rows.output_throughput_tokens_per_sec
    return _compare(rows, rows.avg_power_watts / tokens_per_s, rows.predicted * rows.num_gpus / tokens_per_s)


def earlier_request_energy() -> Comparison:
    """Energy per request [J] on H100 and A100 40 GB of an earlier vLLM (ML.ENERGY v2), step given, model left out."""
    rows = _left_out_models(("h100-sxm", "a100-sxm"))
    rows = rows[~rows.busy]
    return _compare(rows, rows.joule_per_request, rows.joule_per_request * rows.predicted / rows.watts)


def mixture_power() -> Comparison:
    """Board power of mixtures of experts on H100 and B200 [W]: the law of dense models, three costs of experts."""
    rows = _mixtures()
    return _compare(rows, rows.watts, rows.predicted)


def left_out_mixture_power() -> Comparison:
    """Board power of a mixture in bf16 or MXFP4 [W], costs from all others, the tile of 64 rows from kernels."""
    rows = runs(dense=False)
    groups = [group.reset_index(drop=True) for _, group in rows[rows.fp8_bytes == 0.0].groupby("family")]
    rows = pd.concat(
        [group.assign(predicted=mixture_w(group, *fit_expert_costs(group.family[0]))) for group in groups],
        ignore_index=True,
    )
    return _compare(rows, rows.watts, rows.predicted)


def kernels_mixture_power() -> Comparison:
    """Board power of mixtures [W] with nothing fitted to them: tiles of rows that fused kernels show, FLOPs at par."""
    rows = runs(dense=False)
    rows = rows.assign(predicted=kernels_w(rows))
    return _compare(rows, rows.watts, rows.predicted)


def left_out_boards_power() -> Comparison:
    """Board power of a mixture in fp8 [W] on four H100, its cost of a byte from eight, and on eight from four."""
    rows = runs(dense=False)
    groups = [group.reset_index(drop=True) for _, group in rows[rows.fp8_bytes > 0.0].groupby("num_gpus")]
    costs = [(*fit_expert_costs(), fit_fp8_byte_flops(int(group.num_gpus[0]))) for group in groups]
    rows = pd.concat(
        [group.assign(predicted=mixture_w(group, *cost)) for group, cost in zip(groups, costs, strict=True)],
        ignore_index=True,
    )
    return _compare(rows, rows.watts, rows.predicted)


def mixture_power_with_factor() -> Comparison:
    """The same with each series' own factor."""
    rows = _mixtures()
    return _compare(rows, rows.watts, _with_factor(rows))


def left_out_board_power() -> Comparison:
    """Board power of dense models on a GPU [W] from its data sheet and the other chips' ratios."""
    frames = []
    for chip, boards in CHIPS.items():
        others = tuple(other for other in CHIPS if other != chip)
        for name in boards:
            gpu = load_gpu(name)
            scaled = gpu.model_copy(update={"static_w": gpu.idle_w, "floor_w": 0.0, **scaled_coefficients(gpu, others)})
            rows = runs()[runs().gpu == name]
            frames.append(rows.assign(predicted=rates_by_gpu(rows)[name].lawful_w(scaled)))
    rows = pd.concat(frames)
    return _compare(rows, rows.watts, rows.predicted)


PROFILES = Claim("board power of shipped profiles", power_of_profiles)
CLAIMS = (
    Claim("board power, dense", dense_power, 0.04),
    Claim("board power, dense, with a profile's factor", dense_power_with_factor, 0.04),
    Claim("board power, model left out", left_out_model_power, 0.10),
    Claim("energy per token, model left out", left_out_model_energy, 0.15),
    Claim("energy per request, earlier vLLM, model left out", earlier_request_energy, 0.15),
    Claim("board power, mixtures of experts", mixture_power),
    Claim("board power, mixture left out", left_out_mixture_power, 0.10),
    Claim("board power, mixture, by kernels alone", kernels_mixture_power),
    Claim("board power, mixture in fp8, boards left out", left_out_boards_power, 0.10),
    Claim("board power, mixtures of experts, with a profile's factor", mixture_power_with_factor),
    Claim("board power, chip left out", left_out_board_power),
)


def _mixtures() -> pd.DataFrame:
    rows = runs(dense=False)
    return rows.assign(predicted=mixture_w(rows, EXPERT_FLOP_COST, UNPACKED_BYTE_FLOPS, FP8_EXPERT_BYTE_FLOPS))


def _with_factor(rows: pd.DataFrame) -> Array:
    """Predicted watts times the geometric mean ratio of each series: GPU, model, boards and task."""
    ratio = np.log(rows.watts / rows.predicted)
    factor = np.exp(ratio.groupby([rows.gpu, rows.family, rows.num_gpus, rows.task]).transform("mean"))
    limit_w = rows.gpu.map(lambda name: load_gpu(name).limit_w)
    return np.asarray(np.minimum(factor * rows.predicted, limit_w), np.float64)


def _left_out_models(chips: tuple[str, ...] = BUSY_CHIPS) -> pd.DataFrame:
    frames = []
    for chip in chips:
        families = fit_board(chip).runs.family.unique()
        frames += [fit_board(chip, family).runs.query("family == @family") for family in families]
    return pd.concat(frames, ignore_index=True)


def _compare(rows: pd.DataFrame, measured: pd.Series, predicted: pd.Series | Array) -> Comparison:
    group = tuple(rows.gpu + " " + rows.family)
    return Comparison(np.asarray(measured, float), np.asarray(predicted, float), group)
