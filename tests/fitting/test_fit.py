"""A fit finds the numbers that made the runs, moves no others, and says how wrong it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.fitting.benches import H100_8B, H100_70B, engine_run, lawful_runs, roofline, with_numbers
from tokenfleet.envs.fitting import Fit, Run, fit_profile
from tokenfleet.envs.fitting.errors import relative_errors
from tokenfleet.envs.fitting.numbers import profile_with, start_values
from tokenfleet.envs.fitting.problem import TOLD
from tokenfleet.envs.layers.llm import bounds_s, check_profile
from tokenfleet.envs.spec import SpecError

BATCHES = [(batch, 500.0, 400.0) for batch in (1.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0)]
CONTEXTS = [(batch, prompt, 400.0) for batch in (16.0, 64.0) for prompt in (200.0, 2_000.0, 6_000.0)]
PROMPTS = [(1.0, prompt, 100.0) for prompt in (256.0, 1_024.0, 4_096.0, 8_192.0)]
TRUTH = {"host_ms": 2.5, "decode_us": 80.0, "context": 1.25, "compute": 0.85, "power_factor": 1.1}


def told(fit: Fit) -> dict[str, float]:
    return {estimate.name: estimate.value for estimate in fit.estimates if estimate.kept == TOLD}


def why_kept(fit: Fit, name: str) -> str:
    return next(estimate.kept for estimate in fit.estimates if estimate.name == name)


def errors(fit: Fit, name: str) -> np.ndarray:
    return next(np.abs(result.errors) for result in fit.results if result.comparison.name == name)


def left_out(fit: Fit, name: str) -> np.ndarray:
    return next(np.abs(result.left_out_errors) for result in fit.results if result.comparison.name == name)


def fitted(loads: list[tuple[float, float, float]], noise: float = 0.01, seed: int = 0, **truth: float) -> Fit:
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, **truth), loads, noise, seed)
    return fit_profile(H100_8B, roofline(H100_8B), runs)


def test_without_noise_every_number_is_found_to_four_digits() -> None:
    fit = fitted([*BATCHES, *CONTEXTS, *PROMPTS], noise=0.0, **TRUTH)
    assert told(fit).pop("frontend_ms") == pytest.approx(0.0, abs=1e-4)
    assert {name: told(fit)[name] for name in TRUTH} == pytest.approx(TRUTH, rel=1e-4)
    assert errors(fit, "decode_step").max() < 1e-4
    assert errors(fit, "board_power").max() < 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_at_one_per_cent_of_noise_every_number_is_found_to_a_few_per_cent(seed: int) -> None:
    fit = fitted([*BATCHES, *CONTEXTS, *PROMPTS], seed=seed, **TRUTH)
    found = told(fit)
    assert found["host_ms"] == pytest.approx(TRUTH["host_ms"], abs=0.25)
    assert found["decode_us"] == pytest.approx(TRUTH["decode_us"], abs=6.0)
    for name in ("context", "compute", "power_factor"):
        assert found[name] == pytest.approx(TRUTH[name], rel=0.06)
    assert left_out(fit, "decode_step").mean() < 0.02


def test_a_start_that_is_right_is_not_changed() -> None:
    fit = fitted([*BATCHES, *CONTEXTS, *PROMPTS], noise=0.0)
    assert fit.profile.host_s == pytest.approx(fit.start.host_s, rel=1e-3)
    np.testing.assert_allclose(fit.profile.token_s, fit.start.token_s, rtol=1e-3)


def test_contexts_that_are_all_alike_do_not_tell_context_from_decode() -> None:
    fit = fitted(BATCHES, **TRUTH)
    assert "do not tell it apart from" in why_kept(fit, "context")
    assert fit.profile.context_s == pytest.approx(fit.start.context_s, rel=1e-3)
    assert errors(fit, "decode_step").mean() < 0.015  # decode_s takes over


def test_one_batch_tells_host_time_alone() -> None:
    fit = fitted([(32.0, 500.0, 400.0)] * 4, host_ms=3.0)
    assert set(told(fit)) - {"power_factor"} == {"host_ms"}
    assert fit.profile.decode_s == fit.start.decode_s


def test_steps_alone_do_not_tell_what_prompts_take() -> None:
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, compute=1.3), BATCHES, 0.0)
    runs = [replace(run, ttft_s=None, power_w=None) for run in runs]
    fit = fit_profile(H100_8B, roofline(H100_8B), runs)
    assert why_kept(fit, "compute") != TOLD
    assert why_kept(fit, "power_factor") == "no run depends on it"
    assert fit.profile.prefill_attention_s == pytest.approx(fit.start.prefill_attention_s, rel=1e-3)


def test_what_stands_before_the_engine_is_told_from_the_engine_by_prompts_of_different_length() -> None:
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, compute=1.2), [*BATCHES, *PROMPTS], 0.0)
    late = [replace(run, ttft_s=(run.ttft_s or 0.0) + 0.020) for run in runs]
    found = told(fit_profile(H100_8B, roofline(H100_8B), late))
    assert found["frontend_ms"] == pytest.approx(20.0, abs=0.1)
    assert found["compute"] == pytest.approx(1.2, rel=1e-3)


def test_where_host_time_would_fall_to_nothing_memory_is_read_faster() -> None:
    """The start's host time stays, and the weights are read in what is left of a step."""
    start = with_numbers(H100_70B, memory=1.25, host_ms=1.5)
    runs = lawful_runs(H100_70B, with_numbers(H100_70B, memory=0.9 * 1.25, host_ms=0.5), BATCHES, 0.0)
    fit = fit_profile(H100_70B, start, runs)
    assert why_kept(fit, "host_ms") == "it would fall to 0; memory-bound part of token_s moves instead"
    assert fit.profile.host_s == pytest.approx(start.host_s)
    assert told(fit)["memory"] == pytest.approx(0.9 + (0.5e-3 - start.host_s) / start.token_s[0], abs=0.005)
    assert errors(fit, "decode_step").max() < 0.005


def test_where_physics_stops_memory_host_time_moves_the_rest_of_the_way() -> None:
    fit = fitted(BATCHES, noise=0.0, memory=0.8, host_ms=0.1)
    assert fit.profile.token_s[0] == pytest.approx(4.48e-3, rel=1e-3)  # 15 GB at 3.35 TB/s
    assert 0.09 < told(fit)["host_ms"] < 0.4
    assert errors(fit, "decode_step").max() < 0.01


def test_no_coefficient_beats_physics_whatever_the_runs_say() -> None:
    runs = [replace(run, median_step_s=(run.median_step_s or 0) * 0.62) for run in fitted(BATCHES, host_ms=0.1).runs]
    fit = fit_profile(H100_8B, roofline(H100_8B), runs)
    check_profile(fit.profile, H100_8B.gpu, H100_8B.model)


def test_one_odd_run_bends_the_fit_little_and_shows() -> None:
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, **TRUTH), BATCHES, 0.0)
    runs[3] = replace(runs[3], median_step_s=1.5 * (runs[3].median_step_s or 0))
    fit = fit_profile(H100_8B, roofline(H100_8B), runs)
    worst = errors(fit, "decode_step")
    assert worst.argmax() == 3
    assert np.delete(worst, 3).max() < 0.05


def test_a_run_that_was_left_out_is_predicted_by_a_fit_to_the_others() -> None:
    """The error of a left-out run is that of a fit to the others."""
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, **TRUTH), BATCHES, 0.03)
    fit = fit_profile(H100_8B, roofline(H100_8B), runs)
    others = fit_profile(H100_8B, roofline(H100_8B), runs[1:])
    decode = next(result for result in fit.results if result.comparison.name == "decode_step")
    predicted = decode.comparison.predicted(others.profile, H100_8B, runs[:1])
    alone = relative_errors(predicted, decode.comparison.values(runs[:1], H100_8B))
    assert decode.left_out_errors[0] == pytest.approx(alone[0], abs=1e-3)


def test_watts_move_times_only_where_boards_draw_the_limit() -> None:
    """A board at its limit slows down the more, the more its work draws: prompts would be faster without it."""
    runs = lawful_runs(H100_8B, with_numbers(H100_8B, **TRUTH), BATCHES, 0.01)
    cold = fit_profile(H100_8B, roofline(H100_8B), [replace(run, power_w=None) for run in runs])
    hot = fit_profile(H100_8B, roofline(H100_8B), runs)
    np.testing.assert_allclose(hot.profile.token_s[:7], cold.profile.token_s[:7], rtol=1e-3)
    assert hot.profile.host_s == pytest.approx(cold.profile.host_s, rel=0.01)
    assert hot.profile.token_s[-1] < cold.profile.token_s[-1]
    assert hot.profile.power_factor != cold.profile.power_factor


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_runs_are_refused(count: int) -> None:
    runs = lawful_runs(H100_8B, with_numbers(H100_8B), BATCHES, 0.0)[:count]
    with pytest.raises(SpecError, match=rf"runs: at least 3 with a time between tokens.* \(got {count}\)"):
        fit_profile(H100_8B, roofline(H100_8B), runs)


ENGINE_TRUTH = with_numbers(H100_8B, host_ms=2.5, decode_us=80.0, compute=1.2)


@pytest.fixture(scope="module")
def engine_runs() -> list[Run]:
    """Closed loops of clients on the native engine: mean time per token and TTFT."""
    loads = [(1, 300), (1, 2_000), (1, 6_000), (4, 300), (16, 300), (48, 300), (96, 300)]
    return [engine_run(H100_8B, ENGINE_TRUTH, clients, prompt, answer=300) for clients, prompt in loads]


def test_a_fit_to_runs_of_the_engine_finds_the_numbers_of_its_replica(engine_runs: list[Run]) -> None:
    found = told(fit_profile(H100_8B, roofline(H100_8B), engine_runs))
    assert found["host_ms"] == pytest.approx(2.5, abs=0.15)
    assert found["decode_us"] == pytest.approx(80.0, abs=8.0)
    assert found["compute"] == pytest.approx(1.2, rel=0.03)


def test_a_profile_fitted_to_runs_of_the_engine_predicts_what_the_engine_does(engine_runs: list[Run]) -> None:
    fit = fit_profile(H100_8B, roofline(H100_8B), engine_runs)
    assert errors(fit, "mean_iteration").max() < 0.03
    assert errors(fit, "ttft").max() < 0.02
    assert left_out(fit, "mean_iteration").mean() < 0.03


def test_a_lone_prompt_takes_on_the_engine_what_the_comparison_says(engine_runs: list[Run]) -> None:
    """Chunk by chunk, at a budget of 2048 tokens."""
    fit = fit_profile(H100_8B, ENGINE_TRUTH, engine_runs)
    ttft = next(result for result in fit.results if result.comparison.name == "ttft")
    assert np.abs(ttft.start_errors).max() < 1e-6


def test_what_mixed_iterations_take_beyond_goes_with_the_context() -> None:
    start = roofline(H100_8B).model_copy(update={"mixed_context_s": 1e-8})
    least = bounds_s(H100_8B.gpu, H100_8B.model, 1)
    assert profile_with(start, least, {**start_values(start), "context": 1.5}).mixed_context_s == pytest.approx(1.5e-8)
