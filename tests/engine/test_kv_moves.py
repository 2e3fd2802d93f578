"""KV cache that moves, by hand: hand-offs from prefill to decode, and prefixes that follow their conversation.

Both pools need 10 ms an iteration and 1 ms a prefill token (`small_fleets.two_pools`).
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import plain_episode, two_pools
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def handing_off(**changes: object) -> FleetArrays:
    """The first pool prefills for the second: 50 ms away, 1 ms for each token of the prompt."""
    roles = {"hand_off_to": [1, -1], "takes_over": [False, True], "kv_grows": [True, False]}
    way = {"kv_latency_s": np.full((2, 2), 0.05), "kv_token_s": np.full((2, 2), 0.001)}
    return two_pools(**{**roles, **way, "route_mask": [[True, False]], **changes})


def test_a_prompt_is_prefilled_here_and_decoded_there(engine):
    """100 ms of prefill, 50 + 90 ms of way, ten more tokens of 10 ms."""
    arrays = handing_off()
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([1.0], [90], [11])))
    np.testing.assert_allclose([result.log.first_token_s[0], result.log.finished_s[0]], [1.1, 1.34], atol=1e-12)
    assert result.log.replica.tolist() == [1]
    totals = {name: result.outcomes[name].sum(axis=0).tolist() for name in ("prefilled_tokens", "generated_tokens")}
    assert totals == {"prefilled_tokens": [90, 0], "generated_tokens": [1, 10]}
    assert result.outcomes["handed_off_tokens"].sum(axis=0).tolist() == [91, 0]
    assert result.outcomes["taken_over_tokens"].sum(axis=0).tolist() == [0, 91]


def test_an_answer_of_one_token_stays_where_it_was_prefilled(engine):
    arrays = handing_off()
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [90], [1])))
    assert result.log.finished_s[0] == pytest.approx(0.1)
    assert result.total("handed_off_tokens") == 0


def test_the_sender_has_space_for_the_next_prompt_at_once(engine):
    """Its KV cache holds one prompt at a time, and never an answer."""
    arrays = handing_off(kv_tokens=[90, 10_000], context_limit_tokens=[1_000, 10_000])
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [90, 90], [500, 500]))).log
    np.testing.assert_allclose(log.first_token_s, [0.1, 0.2], atol=1e-12)
    assert log.status.tolist() == [RequestStatus.COMPLETED] * 2


def test_what_has_come_along_waits_for_a_seat(engine):
    """The first decodes from 0.24 to 0.34; the second has come at 0.34 and would otherwise have been done at 0.44."""
    arrays = handing_off(max_batch=[64, 1])
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.05], [90, 90], [21, 11]))).log
    np.testing.assert_allclose(log.finished_s, [0.44, 0.54], atol=1e-12)


def test_a_receiver_with_requests_of_its_own_decodes_all_together(engine):
    """Its own prompt runs in the iteration from 0.235 to 0.335, at the end of which the other joins."""
    arrays = handing_off(route_mask=[[True, True]], decode_s=[-0.001, -0.001])
    table = RequestTable.of([0.0, 0.235], [90, 90], [3, 2])
    log = run(engine, arrays, plain_episode(arrays, table)).log
    assert log.replica.tolist() == [1, 1]
    np.testing.assert_allclose(log.finished_s, [0.355, 0.345], atol=1e-12)


def test_without_a_receiver_awake_a_request_is_lost_and_its_client_tries_again(engine):
    arrays = dataclasses.replace(handing_off(), max_attempts=np.array([2]))
    asleep = [dataclasses.replace(neutral(arrays), awake_fraction=np.array([[1.0, 0.0]]))] * arrays.horizon_ticks
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [90], [11])), asleep)
    assert result.log.status.tolist() == [RequestStatus.REFUSED]
    assert result.total("retries") == 1
    assert result.total("handed_off_tokens") == 2 * 91


def test_a_context_that_would_not_fit_where_it_is_decoded_is_refused(engine):
    arrays = handing_off(kv_tokens=[1_000, 100], context_limit_tokens=[100, 100])
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [90, 90], [11, 10]))).log
    assert log.status.tolist() == [RequestStatus.REFUSED, RequestStatus.COMPLETED]


def test_a_receiver_whose_kv_grows_computes_again_what_it_had_to_preempt(engine):
    """Two contexts of 31 tokens grow to 36 each; 70 tokens of space preempt the younger one."""
    arrays = handing_off(kv_grows=[True, True], kv_tokens=[1_000, 70], context_limit_tokens=[70, 70])
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [30, 30], [10, 10])))
    assert result.outcomes["preemptions"].sum(axis=0).tolist() == [0, 1]
    assert result.outcomes["prefilled_tokens"].sum(axis=0)[1] >= 31
    assert result.log.status.tolist() == [RequestStatus.COMPLETED] * 2


def talk(engine: str, sites: int = 1, **changes: object) -> Run:
    """A call of 100 + 20 tokens in the first pool; the next, 50 tokens longer, goes to the second."""
    caches = {"prefix_block_tokens": [10, 10], "migrates_prefixes": [True, True]}
    way = {"kv_latency_s": np.full((2, 2), 0.02), "kv_token_s": np.full((2, 2), 1e-4)}
    arrays = two_pools(sites, **{**caches, **way, **changes})
    table = RequestTable.of([0.0, 2.0], [100, 170], [20, 1], conversation_id=[0, 0], reusable_tokens=[0, 120])
    first, second = (
        [dataclasses.replace(neutral(arrays), route_share=np.array([[share]]))] * ticks
        for share, ticks in (([1.0, 0.0], 1), ([0.0, 1.0], arrays.horizon_ticks - 1))
    )
    return run(engine, arrays, plain_episode(arrays, table), first + second)


def test_a_prefix_follows_its_conversation(engine):
    """120 tokens come along in 20 + 12 ms; 50 are computed in 10 + 50."""
    result = talk(engine)
    assert result.log.replica.tolist() == [0, 1]
    assert result.total("migrated_tokens") == result.total("prefix_hit_tokens") == 120
    np.testing.assert_allclose(result.log.finished_s[1], 2.0 + 0.032 + 0.060, atol=1e-12)


def test_a_prefix_that_is_computed_sooner_than_sent_stays_where_it_is(engine):
    """120 tokens take 120 ms to compute, and 20 + 120 ms to come along."""
    result = talk(engine, kv_token_s=np.full((2, 2), 1e-3))
    assert result.total("migrated_tokens") == 0
    np.testing.assert_allclose(result.log.finished_s[1], 2.0 + 0.180, atol=1e-12)


def test_a_pool_that_does_not_ask_for_prefixes_computes_them(engine):
    assert talk(engine, migrates_prefixes=[False, False]).total("prefilled_tokens") == 100 + 170


@pytest.mark.parametrize(("sites", "sent_bytes"), [(1, 0.0), (2, 120 * 5.0)])
def test_what_leaves_a_site_is_counted(engine, sites, sent_bytes):
    assert talk(engine, sites=sites, kv_bytes_per_token=[5.0, 5.0]).total("kv_sent_bytes") == sent_bytes


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_token_of_context_is_somewhere(engine, seed):
    """Per pool: what is made or comes in is answered with, given up, lost, sent on or still there."""
    instance = random_instance(seed, load=5.0, hand_offs=True, small_kv=True)
    result = run(engine, instance.arrays, instance.episode, instance.controls)
    made = ("prefilled_tokens", "prefix_hit_tokens", "generated_tokens", "taken_over_tokens")
    gone = ("handed_off_tokens", "preempted_tokens", "dropped_tokens", "running_tokens_change")
    left = sum(result.outcomes[name].sum(axis=0) for name in made)
    left -= sum(result.outcomes[name].sum(axis=0) for name in gone)
    pool_of = np.repeat(np.arange(instance.arrays.num_pools), instance.arrays.replicas)
    done = result.log.status == RequestStatus.COMPLETED
    requests = instance.episode.requests
    context = (requests.prompt_tokens + requests.output_tokens)[done]
    answered = np.bincount(pool_of[result.log.replica[done]], context, instance.arrays.num_pools)
    np.testing.assert_array_equal(left, answered)
