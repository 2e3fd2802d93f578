"""The steady state of a replica follows from the law of an iteration."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.layers.llm import load_profile
from tokenfleet.envs.layers.llm.coefficients import TimeCoefficients
from tokenfleet.envs.layers.llm.iteration import iteration_time_s
from tokenfleet.envs.layers.llm.steady_state import (
    MeanRequest,
    largest_batch,
    service_rate_rps,
    steady_batch,
    tpot_s,
)

rises = st.lists(st.floats(1e-5, 1.0), min_size=15, max_size=15)
sequences = st.floats(1.0, 10_000.0)
requests = st.builds(MeanRequest, st.floats(1.0, 20_000.0), st.floats(1.0, 2_000.0))


def law(**given: Any) -> TimeCoefficients:
    """Nothing takes time but what is given."""
    nothing = dict.fromkeys((field.name for field in fields(TimeCoefficients)), 0.0)
    return TimeCoefficients(**{**nothing, **given})


def law_with(rises_s: list[float]) -> TimeCoefficients:
    return law(host_s=0.01, token_s=np.cumsum(rises_s), decode_s=1e-4, context_s=1e-8, prefill_attention_s=1e-10)


@given(rises, requests, sequences)
def test_a_token_takes_the_mean_iteration(rises_s, request, batch):
    times = law_with(rises_s)
    expected_s = iteration_time_s(times, steady_batch(request, batch))
    assert tpot_s(times, request, batch) == pytest.approx(expected_s, rel=1e-9)


@given(rises, requests, sequences)
def test_the_largest_batch_takes_just_its_limit(rises_s, request, batch):
    times = law_with(rises_s)
    assert largest_batch(times, request, tpot_s(times, request, batch)) == pytest.approx(batch, rel=1e-6)


def test_without_a_limit_any_batch_will_do():
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1)
    assert largest_batch(profile, MeanRequest(250.0, 370.0), np.inf) == np.inf


def test_service_worked_by_hand():
    """Ten sequences of 99 prompt and 100 output tokens; 19.9 tokens an iteration, each of 1 ms, and 1 ms a sequence."""
    times = law(token_s=1e-3 * 2.0 ** np.arange(15), decode_s=1e-3)
    request = MeanRequest(99.0, 100.0)
    assert tpot_s(times, request, 10.0) == pytest.approx(0.0299)
    assert service_rate_rps(times, request, 10.0) == pytest.approx(10.0 / (100 * 0.0299))
