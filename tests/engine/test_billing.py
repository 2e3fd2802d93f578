"""What requests cost, by hand: cached tokens, price factors, clients that decline, budgets of sessions.

The pool's iteration lasts 10 ms plus 1 ms a prefill token (`small_fleets.one_pool`); a token costs a dollar in and two
out.
"""

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

PRICES = {"usd_per_input_token": 1.0, "usd_per_output_token": 2.0}
MOVABLE = {**PRICES, "lowest_price_factor": 0.5, "highest_price_factor": 3.0, "priced": 0}


def at_factors(factors: list[float], admit_rate_rps: float = np.inf) -> list[Controls]:
    """Controls for one tick each at these price factors, then at the last of them."""
    ones = np.ones((1, 1))
    rate = np.full((1, 1), admit_rate_rps)
    tape = [Controls(np.ones((1, 1, 1)), ones, ones, rate, token_price_factor=np.full((1, 1), f)) for f in factors]
    return tape + [tape[-1]] * (20 - len(tape))


def last_run(engine: str, arrays: FleetArrays, table: RequestTable, factors: list[float] | None = None):
    return run(engine, arrays, plain_episode(arrays, table), at_factors(factors or [1.0]))


def test_a_request_within_its_limits_is_worth_its_tokens(engine):
    result = last_run(engine, one_pool(**PRICES), RequestTable.of([0.0], [90], [5]))
    assert result.total("value_in_slo_usd") == 90 + 2 * 5
    assert result.total("value_late_usd") == result.total("value_lost_usd") == 0


def test_a_late_one_is_counted_apart_at_its_whole_price(engine):
    result = last_run(engine, one_pool(**PRICES, ttft_s=0.05), RequestTable.of([0.0], [90], [5]))
    assert result.total("value_late_usd") == 100
    assert result.total("value_in_slo_usd") == 0


def test_a_refused_one_is_lost_at_its_whole_price(engine):
    result = last_run(engine, one_pool(**PRICES, kv_tokens=50), RequestTable.of([0.0], [90], [5]))
    assert result.total("value_lost_usd") == 100


CONVERSATION = RequestTable.of(
    [0.0, 2.0], [80, 170], [5, 5], conversation_id=0, reusable_tokens=[0, 85], session_id=0, price_tolerance=np.inf
)


def test_tokens_that_the_prefix_cache_held_have_a_price_of_their_own(engine):
    """Of 85 reusable tokens 80 stand in whole blocks: the second call pays 90 fresh and 80 cached tokens."""
    arrays = one_pool(**PRICES, prefix_block_tokens=10, cached_input_fraction_of_price=0.25)
    result = last_run(engine, arrays, CONVERSATION)
    assert result.total("prefix_hit_tokens") == 80
    assert result.total("value_in_slo_usd") == (80 + 10) + (90 + 0.25 * 80 + 10)


def test_cached_tokens_cost_as_much_as_fresh_ones_by_default(engine):
    result = last_run(engine, one_pool(**PRICES, prefix_block_tokens=10), CONVERSATION)
    assert result.total("value_in_slo_usd") == (80 + 10) + (170 + 10)


def test_a_request_pays_the_factor_at_which_it_was_called(engine):
    """It is called at 1.5 and answered three ticks later, when the factor is 2."""
    table = RequestTable.of([0.5], [90], [205])
    result = last_run(engine, one_pool(**MOVABLE), table, [1.5, 2.0])
    assert result.outcomes["value_in_slo_usd"][2, 0] == 1.5 * (90 + 2 * 205)


def test_factors_beyond_what_the_class_allows_count_as_the_nearer_bound(engine):
    table = RequestTable.of([0.5, 1.5], [90, 90], [5, 5])
    result = last_run(engine, one_pool(**MOVABLE), table, [0.1, 7.0])
    assert result.outcomes["value_in_slo_usd"][:2, 0].tolist() == [0.5 * 100, 3.0 * 100]
    assert result.views["token_price_factor"][:3, 0].tolist() == [1.0, 0.5, 3.0]


def test_a_price_that_may_not_be_moved_is_the_list_price(engine):
    result = last_run(engine, one_pool(**PRICES), RequestTable.of([0.5], [90], [5], price_tolerance=1.0), [2.0])
    assert result.total("value_in_slo_usd") == 100


def test_a_client_declines_a_price_above_its_tolerance_and_owes_nothing(engine):
    table = RequestTable.of([0.5, 0.5], [90, 90], [5, 5], price_tolerance=[1.9, 2.0])
    result = last_run(engine, one_pool(**MOVABLE), table, [2.0])
    assert result.log.status.tolist() == [RequestStatus.DECLINED, RequestStatus.COMPLETED]
    assert result.log.finished_s[0] == 0.5
    assert result.total("declined") == 1
    assert result.total("arrived") == 2
    assert result.total("value_declined_usd") == 2 * 100
    assert result.total("value_lost_usd") == 0
    assert result.views["declined"][1, 0] == 1


def test_a_client_that_declines_tries_again_and_pays_the_price_of_then(engine):
    arrays = one_pool(**MOVABLE, max_attempts=3, backoff_s=2.0)
    table = RequestTable.of([0.5], [90], [5], price_tolerance=1.6)
    result = last_run(engine, arrays, table, [3.0, 3.0, 1.5])
    assert result.total("retries") == 1
    assert result.total("declined") == 0
    assert result.total("value_in_slo_usd") == 1.5 * 100
    np.testing.assert_allclose(result.log.asked_s, 0.5)
    np.testing.assert_allclose(result.log.finished_s, 2.5 + 0.1 + 0.04, atol=1e-12)


def test_who_declines_takes_nobodys_turn(engine):
    """One request of admission credit, and a declined call before the one that is admitted."""
    arrays = one_pool(**MOVABLE)
    table = RequestTable.of([0.2, 0.4, 0.6], [90] * 3, [5] * 3, price_tolerance=[1.0, 2.0, 2.0])
    result = run(engine, arrays, plain_episode(arrays, table), at_factors([2.0], admit_rate_rps=0.0))
    assert result.log.status.tolist() == [RequestStatus.DECLINED, RequestStatus.COMPLETED, RequestStatus.REFUSED]


def chain(count: int, **columns: object) -> RequestTable:
    """Calls of one session, each after the one before it, worth 100 dollars each."""
    edges = [(row, row + 1) for row in range(count - 1)]
    arrival_s, waits_for = [0.5, *[np.inf] * (count - 1)], [0, *[1] * (count - 1)]
    return RequestTable.of(
        arrival_s, [90] * count, [5] * count, predecessors=waits_for, edges=edges, session_id=0, wait_s=0.1, **columns
    )


@pytest.mark.parametrize(("budget_usd", "calls"), [(100.0, 1), (100.5, 2), (250.0, 3), (np.inf, 5)])
def test_a_session_that_has_spent_its_budget_makes_no_further_call(engine, budget_usd, calls):
    result = last_run(engine, one_pool(**PRICES, session_budget_usd=budget_usd), chain(5))
    assert result.total("arrived") == result.total("completed_in_slo") == calls
    assert result.total("budget_ended") == (calls < 5)
    assert result.log.status.tolist() == [RequestStatus.COMPLETED] * calls + [RequestStatus.PENDING] * (5 - calls)


def test_a_budget_is_spent_at_the_price_factor(engine):
    result = last_run(engine, one_pool(**MOVABLE, session_budget_usd=400.0), chain(5), [2.0])
    assert result.total("arrived") == 2


def test_a_late_answer_costs_a_session_its_share_of_the_price(engine):
    arrays = one_pool(**PRICES, session_budget_usd=75.0, ttft_s=0.05, late_value_fraction=0.25)
    assert last_run(engine, arrays, chain(5)).total("arrived") == 3


def test_a_call_that_backs_off_when_its_session_ends_keeps_the_reason_of_its_failure(engine):
    """The session has one call in service, which spends the budget at 1.84, and one that declined at 0.6."""
    arrays = one_pool(**MOVABLE, session_budget_usd=100.0, max_attempts=3, backoff_s=2.0)
    table = RequestTable.of([0.5, 1.2], [90, 90], [75, 5], session_id=0, price_tolerance=[np.inf, 1.5])
    result = last_run(engine, arrays, table, [1.0, 3.0])
    assert result.log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.DECLINED]
    np.testing.assert_allclose(result.log.finished_s[1], 3.2)
    assert result.total("retries") == 1
