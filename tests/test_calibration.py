"""The catalogue holds what the measurements say: the shipped numbers are the fit, and the fit is honest."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def fit() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        return importlib.import_module("calibration.fit")


def test_the_shipped_numbers_are_the_fit(fit):
    assert fit.shipped_differences() == []


@pytest.mark.parametrize(("profile", "comparison", "mean", "worst"), [
    ("llama-3.1-8b_h100-sxm_tp1", "decode_step", 0.015, 0.03),
    ("llama-3.1-8b_h100-sxm_tp1", "mean_iteration", 0.07, 0.18),
    ("llama-3.1-70b_h100-sxm_tp4", "decode_step", 0.025, 0.05),
    ("llama-3.1-70b_h100-sxm_tp4", "mean_iteration", 0.09, 0.28),
    ("llama-3.1-70b_b200-sxm_tp2", "decode_step", 0.015, 0.03),
    ("llama-3.1-70b_b200-sxm_tp2", "mean_iteration", 0.08, 0.28),
    ("llama-3.1-8b_b200-sxm_tp1", "decode_step", 0.02, 0.03),
    ("llama-3.1-8b_b200-sxm_tp1", "mean_iteration", 0.16, 0.23),
])  # fmt: skip
def test_decode_follows_the_serving_runs(fit, profile, comparison, mean, worst):
    errors = np.abs(fit.time_fits()[profile].errors[comparison])
    assert errors.mean() < mean
    assert errors.max() < worst


def test_whole_prefills_follow_the_kernels(fit):
    for time_fit in fit.time_fits().values():
        errors = np.abs(time_fit.errors["prefill"])
        assert errors.mean() < 0.04
        assert errors.max() < 0.07


@pytest.mark.parametrize(("chip", "mean", "worst"), [
    ("h100-sxm", 0.05, 0.18), ("b200-sxm", 0.035, 0.18), ("a100-sxm", 0.03, 0.08),
])  # fmt: skip
def test_one_law_gives_the_watts_of_every_dense_model(fit, chip, mean, worst):
    errors = np.abs(fit.fit_board(chip).errors)
    assert errors.mean() < mean
    assert errors.max() < worst


def test_a_flop_in_fp8_costs_what_one_in_bf16_costs(fit):
    """By the law of the bf16 models, Llama 3.1 405B in fp8 on 8 H100 is within 7 %; at half the price it is not."""
    power = importlib.import_module("calibration.power")
    board = power.fit_board("h100-sxm", "llama-3.1-405b")
    rows = board.runs[board.runs.family == "llama-3.1-405b"]
    cheap = power.rates_by_gpu(rows.assign(flops=rows.flops / 2))["h100-sxm"].lawful_w(board.gpus["h100-sxm"])
    assert rows.error.abs().mean() < 0.07
    assert (cheap / rows.watts - 1).mean() < -0.12


def test_perseus_clocks_are_fitted(fit):
    clock = fit.fit_clock()
    assert 0.09 <= clock.memory_fraction <= 0.12
    assert clock.voltage_floor_fraction == pytest.approx(0.76, abs=0.01)
    assert clock.power_error < 0.015
    assert clock.time_error < 0.01


def test_the_power_claims_hold():
    claims = importlib.import_module("calibration.power_claims")
    found = {name: (claim(), target) for name, (claim, target) in claims.CLAIMS.items()}
    assert {
        name: pair.mean_error for name, (pair, target) in found.items() if target and pair.mean_error > target
    } == {}
    assert all(len(pair.group) == len(pair.measured) == len(pair.predicted) > 100 for pair, _ in found.values())


def test_a_profile_carries_what_its_boards_drew_beyond_the_law(fit):
    """Llama 3.1 8B on one H100 draws 16 % more than the law of all dense models; nobody ran it on an H200."""
    factors = {name: numbers["power_factor"] for name, numbers in fit.power_factors().items()}
    assert factors["llama-3.1-8b_h100-sxm_tp1"] == pytest.approx(1.16, abs=0.02)
    assert factors["llama-3.1-70b_b200-sxm_tp2"] == pytest.approx(1.0, abs=0.02)
    assert factors["llama-3.1-8b_h200-sxm_tp1"] == 1.0


def test_the_h200s_matrix_products_stand_for_the_h100s(fit):
    """LLMServingSim timed the same products on an H100, alone and without sustained load: at most 17 % faster."""
    kernels = importlib.import_module("calibration.kernels")
    rows = kernels.table("h100_layers")
    rows = rows[rows.layer_name.str.contains("_proj")]
    for (model, degree, tokens), layers in rows.groupby(["model", "tp_size", "input"]):
        ours = kernels.Kernels(model, "h100-sxm", int(degree))
        head_s = ours._product_s(256, kernels.VOCABULARY // int(degree), ours.width)
        h100_s = layers.time_us.sum() * 1e-6 * ours.model.layers
        assert 1.0 < (ours.products_s(int(tokens)) - head_s) / h100_s < 1.17


def test_the_report_reads(fit):
    assert "llama-3.1-8b_h100-sxm_tp1" in fit.report()


def test_the_excerpts_stay_small_and_name_their_sources():
    files = sorted((ROOT / "calibration" / "data").glob("*.csv"))
    assert sum(file.stat().st_size for file in files) < 1_000_000
    readme = (ROOT / "calibration" / "data" / "README.md").read_text()
    assert all(file.name in readme for file in files)
