"""Credits of service agreements, on requests worked out by hand, on both engines.

The pool's iteration lasts 10 ms plus 1 ms a prefill token; a token costs a dollar in and two out, so that each of these
requests is worth 100 USD. One that begins at t has its first token 100 ms later and is answered after 140 ms.
"""

import numpy as np
import pytest

from tests.engine.runs import ENGINES, Run, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

AGREEMENT = {
    "usd_per_input_token": 1.0,
    "usd_per_output_token": 2.0,
    "agreement": 0,
    "agreement_window_ticks": 4,
    "agreement_below_share": [[0.9, 0.5, 0.0]],
    "agreement_credit_fraction": [[0.1, 0.6, 0.0]],
}


def answered(engine: str, arrival_s: list[float], **changes: object) -> Run:
    count = len(arrival_s)
    arrays = one_pool(**{**AGREEMENT, **changes})
    return run(engine, arrays, plain_episode(arrays, RequestTable.of(arrival_s, [90] * count, [5] * count)))


def given_back(result: Run) -> dict[int, float]:
    """Those that were given, by the tick in which they were."""
    usd = result.outcomes["credit_usd"][:, 0]
    return {int(tick): float(usd[tick]) for tick in np.flatnonzero(usd)}


def test_a_window_in_which_all_are_in_time_gives_nothing_back(engine):
    assert given_back(answered(engine, [0.0, 1.0, 2.0])) == {}


def test_the_step_that_the_share_falls_below_is_given_back_when_the_window_closes(engine):
    """Of two requests at once the second waits, and is late for a first token in 150 ms: half are in time."""
    result = answered(engine, [0.0, 0.0, 1.0], ttft_s=0.15)
    assert result.total("completed_in_slo") == 2
    assert given_back(result) == {3: pytest.approx(0.1 * 300)}
    assert result.views["agreement_share"][1:5, 0].tolist() == pytest.approx([0.5, 2 / 3, 2 / 3, 2 / 3])
    assert result.views["agreement_fraction"][:6, 0].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 0.25]


def test_of_several_steps_the_highest_counts(engine):
    result = answered(engine, [0.0, 0.0, 0.0], ttft_s=0.15)
    assert given_back(result) == {3: pytest.approx(0.6 * 300)}


def test_an_agreement_may_count_by_first_tokens_alone(engine):
    """All miss the SLO by their deadline; their first tokens are in time."""
    result = answered(engine, [0.0, 1.0], deadline_s=0.05, agreement_ttft_s=0.15)
    assert result.total("completed_in_slo") == 0
    assert result.total("in_agreement") == 2
    assert given_back(result) == {}


def test_a_class_that_is_refused_outright_gets_credit_all_the_same(engine):
    result = answered(engine, [0.0, 1.0], kv_tokens=50)
    assert result.total("refused") == 2
    assert given_back(result) == {3: pytest.approx(0.6 * 200)}


def test_each_window_is_judged_by_itself(engine):
    result = answered(engine, [0.0, 0.0, 4.0, 8.0, 8.0], ttft_s=0.15)
    assert given_back(result) == {3: pytest.approx(0.1 * 200), 11: pytest.approx(0.1 * 200)}


def test_the_end_of_the_episode_closes_the_last_window(engine):
    result = answered(engine, [4.0, 4.0, 4.0], ttft_s=0.15, horizon_ticks=6)
    assert given_back(result) == {5: pytest.approx(0.6 * 300)}
