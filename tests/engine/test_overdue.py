"""When a request counts as overdue, by hand, and what being overdue says of its end.

The pool's iteration lasts 10 ms plus 1 ms a prefill token (`small_fleets.one_pool`); a token costs a dollar in and two
out.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, run
from tests.engine.small_fleets import one_pool, plain_episode
from tests.engine.test_agreement import SITUATIONS
from tests.engine.test_billing import MOVABLE, PRICES, at_factors, last_run
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.traces import RequestTable


def overdue(result: Run, ticks: int) -> list[float]:
    return result.outcomes["overdue_usd"][:ticks, 0].tolist()


@pytest.mark.parametrize("engine", ENGINES)
class TestByHand:
    def test_a_late_first_token_is_known_when_it_comes_and_forgotten_when_the_answer_ends(self, engine):
        """Its first token comes after 0.1 s of the 0.05 that it may take, its 205th at 2.64 s."""
        result = last_run(engine, one_pool(**PRICES, ttft_s=0.05), RequestTable.of([0.5], [90], [205]))
        assert overdue(result, 4) == [500.0, 500.0, 0.0, 0.0]
        assert result.outcomes["overdue_change_usd"][:4, 0].tolist() == [500.0, 0.0, -500.0, 0.0]

    def test_a_first_token_that_does_not_come_is_known_when_its_limit_has_passed(self, engine):
        """2990 tokens of prompt take three seconds; the limit passes at 1.7 s, the first token comes at 3.5 s."""
        result = last_run(engine, one_pool(**PRICES, ttft_s=1.2), RequestTable.of([0.5], [2990], [5]))
        assert overdue(result, 5) == [0.0, 3000.0, 3000.0, 0.0, 0.0]

    def test_a_deadline_that_has_passed_is_known_in_the_midst_of_an_answer(self, engine):
        result = last_run(engine, one_pool(**PRICES, ttft_s=0.2, deadline_s=1.2), RequestTable.of([0.5], [90], [205]))
        assert overdue(result, 4) == [0.0, 500.0, 0.0, 0.0]

    def test_who_fails_after_the_limit_of_the_first_token_cannot_be_in_time_again(self, engine):
        """Declined at 0.5 s, it is tried again at 2.5 s and answered, at another price."""
        arrays = one_pool(**MOVABLE, max_attempts=3, backoff_s=2.0, ttft_s=1.0)
        table = RequestTable.of([0.5], [90], [205], price_tolerance=1.6)
        result = last_run(engine, arrays, table, [3.0, 3.0, 1.5])
        assert overdue(result, 6) == [0.0, 1500.0, 750.0, 750.0, 0.0, 0.0]

    def test_who_is_in_time_is_never_overdue(self, engine):
        result = last_run(engine, one_pool(**PRICES, ttft_s=0.2, deadline_s=5.0), RequestTable.of([0.5], [90], [205]))
        assert not result.outcomes["overdue_usd"].any()

    def test_what_is_refused_is_overdue_no_longer(self, engine):
        """The second one waits for the first, whose prompt takes five seconds, and loses patience."""
        arrays = one_pool(**PRICES, ttft_s=1.0, patience_s=2.0, token_budget=10_000)
        table = RequestTable.of([0.5, 0.6], [4990, 90], [1, 5])
        result = run(engine, arrays, plain_episode(arrays, table), at_factors([1.0]))
        assert result.log.status[1] == RequestStatus.EXPIRED
        assert result.outcomes["overdue_usd"][4, 0] == 4990 + 2 + 100
        assert result.outcomes["overdue_usd"][5:].sum() == 0


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_overdue_request_is_never_answered_within_its_slo(situation: str, seed: int) -> None:
    """At the end of every tick the sum is that over requests which are under way and can only end late, or be lost."""
    instance = random_instance(seed, **SITUATIONS[situation])
    arrays, table = instance.arrays, instance.episode.requests
    result = run("native", arrays, instance.episode, instance.controls)
    log, k = result.log, table.class_id
    ttft_s, deadline_s = arrays.ttft_s[k], arrays.deadline_s[k]
    usd = table.prompt_tokens * arrays.usd_per_input_token[k] + table.output_tokens * arrays.usd_per_output_token[k]
    most_usd = usd * np.maximum(1.0, arrays.highest_price_factor[k])
    done = np.where(np.isnan(log.finished_s), np.inf, log.finished_s)
    in_slo = (log.status == RequestStatus.COMPLETED) & (log.first_token_s - log.asked_s <= ttft_s + 1e-7)
    in_slo &= done - log.asked_s <= deadline_s + 1e-7
    for tick, sums_usd in enumerate(result.outcomes["overdue_usd"]):
        now_s = (tick + 1) * arrays.tick_s
        may_be = (log.asked_s < now_s) & (done >= now_s - 1e-7) & ~in_slo
        most = np.bincount(k[may_be], weights=most_usd[may_be], minlength=arrays.num_classes)
        assert (sums_usd <= most * (1 + 1e-9) + 1e-7).all()
    standing = np.cumsum(result.outcomes["overdue_change_usd"], axis=0)
    np.testing.assert_allclose(result.outcomes["overdue_usd"], standing, rtol=1e-9, atol=1e-7)
