"""What both fitters stand on: least squares, errors, knots, rounding, and the mix of a run's iterations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.fitting.errors import scaled_errors
from tokenfleet.envs.fitting.iterations import chances
from tokenfleet.envs.fitting.knots import fit_knots
from tokenfleet.envs.fitting.least_squares import factors, minimise
from tokenfleet.envs.fitting.rounding import four_digits

SECONDS = st.floats(1e-9, 1e3)


def test_knots_are_fitted_to_every_measured_size() -> None:
    """A line through the knots is found again from sizes between them; beyond the last, time grows with the tokens."""
    tokens = np.arange(1.0, 1025.0)
    knots_s = fit_knots(tokens, 1e-3 * np.sqrt(np.maximum(tokens, 64.0)))
    np.testing.assert_allclose(knots_s[:7], 8e-3, rtol=1e-2)
    assert knots_s[14] == pytest.approx(16 * knots_s[10])
    assert (np.diff(knots_s) >= 0).all()


@given(fixed=SECONDS, each=SECONDS)
def test_factors_of_any_size_are_found_again(fixed: float, each: float) -> None:
    batch = np.array([1.0, 8.0, 64.0])
    found = factors([np.ones(3), batch], fixed + each * batch + 5.0, known=5.0)
    np.testing.assert_allclose(found[0] + found[1] * batch, fixed + each * batch, rtol=1e-6, atol=1e-9)


def test_a_factor_that_would_be_negative_is_nothing() -> None:
    """Times that fall with the batch: the best line that does not fall is flat."""
    fixed, each = factors([np.ones(2), np.array([1.0, 2.0])], np.array([4.0, 2.0]))
    assert each == pytest.approx(0.0, abs=1e-6)
    assert fixed == pytest.approx((1 / 4 + 1 / 2) / (1 / 16 + 1 / 4), rel=1e-5)


def test_a_soft_loss_bends_less_to_an_odd_value() -> None:
    values = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    plain, soft = (minimise(lambda x: x - values, [[1.5]], soft=soft).values[0] for soft in (None, 0.01))
    assert plain == pytest.approx(1.2)
    assert soft == pytest.approx(1.0, abs=0.02)


@given(value=SECONDS, lowest=st.floats(0.999, 1.0))
def test_four_digits_are_near_and_never_below_the_lowest(value: float, lowest: float) -> None:
    rounded = four_digits(value, lowest * value)
    assert rounded >= lowest * value
    assert rounded == pytest.approx(value, rel=1e-3)
    assert four_digits(rounded) == rounded


@given(scale=SECONDS)
def test_a_scale_makes_no_error_of_a_shape(scale: float) -> None:
    shape = np.array([1.0, 3.0, 2.0])
    np.testing.assert_allclose(scaled_errors(scale * shape, shape), 0.0, atol=1e-12)


def test_the_prompts_of_an_iteration_are_as_many_on_average_as_start() -> None:
    counts, mean = np.arange(30.0), np.array([0.0, 0.4, 4.0])
    chance = chances(counts, mean)
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    np.testing.assert_allclose(chance @ counts, mean, atol=1e-6)
