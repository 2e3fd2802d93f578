"""The law of an iteration inside the engines: knots, clocks and energy, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.runs import ENGINES, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

SQUARES_S = 1e-6 * np.array([TOKEN_KNOTS], dtype=float) ** 2


def bent_pool(**changes: object) -> FleetArrays:
    """T(n) is 1 us times n squared at the knots; the host takes 1 ms; a decoding sequence costs its token alone."""
    return replace(one_pool(host_s=0.001, token_budget=100_000, decode_s=0.0), token_s=SQUARES_S, **changes)


def test_time_is_affine_between_two_knots(engine):
    """100 tokens between 64 and 128: 4096 us + 36/64 of 12288 us; then 4 steps of one token."""
    arrays = bent_pool()
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [100], [5]))).log
    prompt_s = 0.001 + 1e-6 * (4096 + 36 / 64 * 12288)
    assert log.first_token_s[0] == pytest.approx(prompt_s, rel=1e-12)
    assert log.finished_s[0] == pytest.approx(prompt_s + 4 * (0.001 + 1e-6), rel=1e-12)


def test_beyond_the_last_knot_the_last_slope_goes_on(engine):
    """20,000 tokens: 16384 squared and 3,616 more at the slope between 8192 and 16384, 24,576 us."""
    arrays = bent_pool(horizon_ticks=400)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [20_000], [1]))).log
    assert log.first_token_s[0] == pytest.approx(0.001 + 1e-6 * (16384.0**2 + 3616 * 24576), rel=1e-12)


def test_decoded_and_prefilled_tokens_are_counted_together(engine):
    """A prompt of 31 joins one decoding sequence: 32 tokens, 1024 us."""
    arrays = bent_pool()
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0001], [1, 31], [3, 1]))).log
    assert log.first_token_s[1] == pytest.approx((0.001 + 1e-6) + (0.001 + 1024e-6), rel=1e-12)


def test_contexts_are_read_more_slowly_beside_a_prefill(engine):
    """2 ms a token and 3 more in mixed iterations: steps of 1 + 1 ms + 2 C alone, 1 + 4 ms + 5 C beside a prompt of 2.

    The first request's steps read 2, 3 and 4 tokens; the second one's prompt, which comes during the first step, joins
    the second.
    """
    arrays = one_pool(fixed_s=0.001, decode_s=0.0, context_s=2e-3, mixed_context_s=3e-3)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.003], [1, 2], [4, 1]))).log
    prompt_s, alone_s, mixed_s, last_s = 0.002, 0.002 + 2 * 2e-3, 0.004 + 3 * 5e-3, 0.002 + 4 * 2e-3
    assert log.first_token_s[1] == pytest.approx(prompt_s + alone_s + mixed_s)
    assert log.finished_s[0] == pytest.approx(prompt_s + alone_s + mixed_s + last_s)


def test_each_knot_has_its_own_share_of_memory(engine):
    """Half the clock: the knot of 8 does not stretch (all memory, m = 1), that of 16 doubles; the host is unmoved."""
    share = np.where(np.array([TOKEN_KNOTS]) <= 8, 1.0, 0.0)
    arrays = bent_pool(token_memory_share=share)
    episode = replace(plain_episode(arrays, RequestTable.of([0.0], [12], [1])), decode_memory_fraction=np.ones(1))
    half = [replace(neutral(arrays), clock_fraction=np.array([[0.5]]))] * arrays.horizon_ticks
    log = run(engine, arrays, episode, half).log
    assert log.first_token_s[0] == pytest.approx(0.001 + 1e-6 * (64 + 2 * 256) / 2, rel=1e-12)


def test_the_energy_of_weights_follows_the_tokens(engine):
    """100 W for a busy second less idle, and 1 J a knot's tokens: 48 tokens between 32 and 64 cost 48 J."""
    arrays = one_pool(work_j=[np.array(TOKEN_KNOTS, dtype=float)], horizon_ticks=2)
    quiet = run(engine, arrays, plain_episode(arrays, RequestTable.empty())).total("energy_j")
    busy = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [48], [1]))).total("energy_j")
    assert busy - quiet == pytest.approx((100.0 - 40.0) * 0.058 + 48.0)
