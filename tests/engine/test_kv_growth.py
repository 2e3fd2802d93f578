"""A KV cache that fills token by token: preemption and recomputation, worked out by hand, on both engines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.traces import RequestTable

on_both_engines = pytest.mark.parametrize("engine", ENGINES)
SEEDS = st.integers(0, 2**32 - 1)


@on_both_engines
def test_only_the_prompt_needs_room_to_join(engine):
    """Two requests of 10 + 50 in 62 tokens: reserving their answers would serve them one after the other."""
    arrays = one_pool(kv_grows=True, kv_tokens=62)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [10, 10], [2, 50])))
    assert result.log.first_token_s == pytest.approx([0.02, 0.04])
    assert result.total("preemptions") == 0


@on_both_engines
def test_the_youngest_is_preempted_when_the_next_iteration_does_not_fit(engine):
    """From 0.06 on both decode, with 22 and 21 tokens: 45 tokens hold steps of 43 and 45, and 47 are too many.

    So the second gives way at 0.08 with 3 of its 5 tokens generated. The first needs 2 more steps of 10 ms, to 0.10;
    then 20 + 3 tokens are computed again, which gives the 4th token, and one more step gives the 5th.
    """
    arrays = one_pool(kv_grows=True, kv_tokens=45)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [20, 20], [6, 5])))
    assert result.log.first_token_s == pytest.approx([0.03, 0.06])
    assert result.log.finished_s[0] == pytest.approx(0.10)
    assert result.log.finished_s[1] == pytest.approx(0.10 + (0.01 + 0.023) + 0.01)
    assert result.total("preemptions") == 1
    assert result.total("prefilled_tokens") == 20 + 20 + 23
    assert result.total("generated_tokens") == 6 + 5


@on_both_engines
def test_a_prompt_in_prefill_is_the_youngest(engine):
    """The first decodes with 21 tokens at 0.04 when 60 tokens in chunks of 14 join it: 81 of 83 tokens.

    That lasts for three iterations of 10 + 14 ms, to 0.112; a fourth would take 84. The first goes on alone for its
    last 5 steps, to 0.162, and the second begins anew: four chunks of 15.
    """
    arrays = one_pool(kv_grows=True, kv_tokens=83, token_budget=15, max_batch=2)
    requests = RequestTable.of([0.0, 0.031], [20, 60], [9, 1])
    result = run(engine, arrays, plain_episode(arrays, requests))
    begun_s = (0.01 + 0.015) + (0.01 + 0.005)
    third_s = begun_s + 3 * (0.01 + 0.014)
    assert result.log.finished_s[0] == pytest.approx(third_s + 5 * 0.01)
    assert result.log.first_token_s[1] == pytest.approx(third_s + 5 * 0.01 + 4 * (0.01 + 0.015))
    assert result.total("preemptions") == 1
    assert result.total("prefilled_tokens") == 20 + 3 * 14 + 60


@on_both_engines
def test_a_preempted_request_goes_before_those_that_wait(engine):
    """The third fits beside the first when the second is preempted, and yet waits for it."""
    arrays = one_pool(kv_grows=True, kv_tokens=45, max_batch=2)
    requests = RequestTable.of([0.0, 0.0, 0.001], [20, 20, 1], [6, 5, 1])
    result = run(engine, arrays, plain_episode(arrays, requests))
    assert result.total("preemptions") == 1
    assert result.log.first_token_s[2] >= result.log.finished_s[0]


@on_both_engines
def test_patience_no_longer_counts_once_the_first_token_is_out(engine):
    """Preempted at 0.08 and taken up again at 0.10, well after its patience of 40 ms."""
    arrays = one_pool(kv_grows=True, kv_tokens=45, patience_s=0.04)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.0], [20, 20], [6, 5]))).log
    assert log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.COMPLETED]


@on_both_engines
@pytest.mark.parametrize(("watermark_tokens", "joins"), [(8, True), (9, False)])
def test_an_admission_leaves_the_watermark_free(engine, watermark_tokens, joins):
    """At 0.04 the first needs 22 tokens for its next step and the second 20: 8 of 50 remain."""
    arrays = one_pool(kv_grows=True, kv_tokens=50, watermark_tokens=watermark_tokens)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0, 0.035], [20, 20], [4, 1]))).log
    assert log.first_token_s[1] == pytest.approx((0.04 if joins else 0.06) + 0.03)


@on_both_engines
def test_the_watermark_does_not_hold_up_a_request_that_is_alone(engine):
    arrays = one_pool(kv_grows=True, kv_tokens=50, watermark_tokens=49)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [40], [10]))).log
    assert log.finished_s[0] == pytest.approx(0.05 + 9 * 0.01)


@on_both_engines
def test_a_request_that_could_never_finish_is_refused_at_the_door(engine):
    arrays = one_pool(kv_grows=True, kv_tokens=50)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [40], [11]))).log
    assert log.status[0] == RequestStatus.REFUSED


@on_both_engines
def test_the_kv_cache_in_use_grows_with_the_answer(engine):
    """The first token comes at 0.035 and the 97th at 0.995: the step that runs at 1 s holds 20 + 97 tokens."""
    arrays = one_pool(kv_grows=True, kv_tokens=1000)
    views = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.005], [20], [500]))).views
    assert views["kv_reserved_fraction"][1, 0] == pytest.approx((20 + 97) / 1000)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_the_kv_cache_is_never_overfull(seed):
    instance = random_instance(seed, load=5.0, small_kv=True)
    result = run("native", instance.arrays, instance.episode, instance.controls)
    assert np.all(result.views["kv_reserved_fraction"] <= 1.0)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, output=st.integers(2, 200))
def test_a_drained_replica_has_generated_every_token_once(seed, output):
    """However often a sequence is preempted: its tokens are computed again, not generated again."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(1, 100, 30)
    arrays = one_pool(kv_grows=True, kv_tokens=300, watermark_tokens=int(rng.integers(0, 10)), horizon_ticks=200)
    requests = RequestTable.of(np.sort(rng.uniform(0.0, 3.0, 30)), prompts, rng.integers(1, output, 30))
    result = run("native", arrays, plain_episode(arrays, requests))
    assert np.all(result.log.status == RequestStatus.COMPLETED)
    assert result.total("generated_tokens") == requests.output_tokens.sum()
    assert result.total("first_tokens") == 30
    computed_again = result.total("prefilled_tokens") - prompts.sum()
    assert (computed_again > 0) <= (result.total("preemptions") > 0)
    assert computed_again >= 0
