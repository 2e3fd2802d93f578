"""Sliding windows inside the engines, worked out by hand."""

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def test_a_context_beyond_the_window_is_seen_in_part(engine):
    """1 ms a token that is attended to; half as many layers with a window of 4 as without: c + min(c, 4) / 2 of c.

    The prompt of 2 gives the first token; steps follow at contexts of 3, 4, 5 and 6.
    """
    arrays = one_pool(fixed_s=0.001, token_s=0.001, context_s=1e-3, window_tokens=4, window_ratio=0.5)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [2], [5]))).log
    assert log.first_token_s[0] == pytest.approx(0.003)
    attended = np.array([3 + 1.5, 4 + 2.0, 5 + 2.0, 6 + 2.0])
    assert log.finished_s[0] == pytest.approx(0.003 + 4 * 0.001 + 1e-3 * attended.sum())


def test_sequences_fill_their_windows_one_after_the_other(engine):
    """A window of 10 in two layers for each without, c + 2 min(c, 10) ms; the second prompt joins the first step.

    The first sequence reads contexts of 9 to 19, the second one of 3 to 12 beside it and of 13 alone.
    """
    arrays = one_pool(fixed_s=0.001, token_s=0.0, context_s=1e-3, window_tokens=10, window_ratio=2.0)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [8, 2], [12, 12]))).log
    attended = sum((c + 2 * np.minimum(c, 10)).sum() for c in (np.arange(9, 20), np.arange(3, 13)))
    assert log.finished_s[0] == pytest.approx(0.001 + 11 * 0.001 + 1e-3 * attended)
    assert log.finished_s[1] == pytest.approx(log.finished_s[0] + 0.001 + 1e-3 * (13 + 20))


def test_a_prompt_attends_through_its_window(engine):
    """Chunks of 4 and 2 tokens: 10 and 11 pairs; 4 + 5 + ... within a window of 3: 1 + 2 + 3 + 3 and 3 + 3."""
    arrays = one_pool(
        fixed_s=0.001,
        token_s=0.0,
        prefill_attention_s=1e-3,
        window_tokens=3,
        window_ratio=1.0,
        token_budget=4,
        max_batch=4,
    )
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [6], [1]))).log
    assert log.first_token_s[0] == pytest.approx(2 * 0.001 + 1e-3 * ((10 + 9) + (11 + 6)))
