"""Request classes: named service levels, and what a client may be told to do."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.layers.agents import PriceToleranceSpec, RequestClassSpec
from tokenfleet.envs.layers.agents.classes import load_slo
from tokenfleet.envs.spec import SpecError

BASE = {"model": "llama-3.1-70b", "usd_per_million_input_tokens": 0.4, "usd_per_million_output_tokens": 0.4}


MLPERF = {
    "llama2-70b": (2.0, 0.2),
    "llama2-70b-interactive": (0.45, 0.04),
    "mixtral-8x7b": (2.0, 0.2),
    "llama3.1-405b": (6.0, 0.175),
    "llama3.1-405b-interactive": (4.5, 0.08),
    "llama3.1-8b": (2.0, 0.1),
    "llama3.1-8b-interactive": (0.5, 0.03),
    "deepseek-r1": (2.0, 0.08),
    "deepseek-r1-interactive": (1.5, 0.015),
}
"""Limits of TTFT and TPOT [s] at the 99th percentile, as the rules of MLPerf Inference state them."""


def test_the_service_levels_are_those_of_mlperf():
    levels = {name: load_slo(name) for name in catalog_names("slo")}
    assert {name: (level.ttft_s, level.tpot_s) for name, level in levels.items()} == MLPERF
    assert {level.percentile for level in levels.values()} == {99.0}


def test_a_class_takes_its_limits_from_a_named_level():
    spec = RequestClassSpec.parse({**BASE, "slo": "llama2-70b-interactive"})
    assert (spec.ttft_s, spec.tpot_s) == (0.45, 0.04)


def test_a_limit_given_with_the_class_goes_before_the_level():
    spec = RequestClassSpec.parse({**BASE, "slo": "llama2-70b-interactive", "ttft_s": 1.0})
    assert (spec.ttft_s, spec.tpot_s) == (1.0, 0.04)


def test_a_class_with_a_named_level_survives_its_own_dump():
    spec = RequestClassSpec.parse({**BASE, "slo": "llama2-70b", "price_tolerance": {"median": 2.0}})
    assert RequestClassSpec.parse(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(("key", "value", "message"), [
    ("slo", "llama2-70b-interactiv", "slo: unknown name .*did you mean 'llama2-70b-interactive'"),
    ("slo", 3, r"slo: a name of letters.*\(got 3\)"),
    ("max_attempts", 0, r"max_attempts: .*greater than 0 \(got 0\)"),
    ("backoff_factor", 0.5, r"backoff_factor: .*greater than or equal to 1 \(got 0.5\)"),
    ("backoff_jitter", 2.0, r"backoff_jitter: .*less than or equal to 1 \(got 2.0\)"),
    ("session_budget_usd", 0, r"session_budget_usd: .*greater than 0"),
    ("cached_input_fraction_of_price", -0.1, "cached_input_fraction_of_price: .*greater than or equal to 0"),
    ("price_tolerance", {"median": 0}, r"price_tolerance.median: .*greater than 0"),
    ("price_tolerance", {"median": 1, "episode_factor": [2, 1]}, "episode_factor: the lower bound 2 is above .* 1"),
    ("token_price_factor", {"low": 2.0}, r"token_price_factor: low \(2\) must not be above high \(1\)"),
    ("token_price_factor", {"lowest": 1}, r"token_price_factor.lowest: unknown key.*did you mean 'low'"),
])  # fmt: skip
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(key, value, message):
    with pytest.raises(SpecError, match=message):
        RequestClassSpec.parse({**BASE, key: value})


def test_half_of_the_clients_accept_the_median_price_factor():
    factors = PriceToleranceSpec(median=2.0, sigma=0.5).sample(np.random.default_rng(0), 20_001)
    assert np.median(factors) == pytest.approx(2.0, rel=0.02)
    assert np.log(factors).std() == pytest.approx(0.5, rel=0.03)


def test_factors_of_episodes_lie_between_their_bounds_half_of_them_below_the_geometric_mean():
    spec = PriceToleranceSpec(median=1.0, episode_factor=(0.5, 2.0))
    rng = np.random.default_rng(0)
    factors = np.array([spec.draw_factor(rng) for _ in range(2001)])
    assert 0.5 <= factors.min() < 0.51
    assert 1.98 < factors.max() <= 2.0
    assert np.median(factors) == pytest.approx(1.0, abs=0.05)
