"""The prefix cache, by hand: what is found, what shares memory, what gives way.

The pool's iteration lasts 10 ms plus 1 ms for each token that it prefills (`worlds.one_pool`).
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.runs import ENGINES, run
from tests.engine.worlds import one_pool, plain_episode, random_world
from tokenfleet.envs.layers.failures import FailureTable
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def requests(*rows: tuple[float, int, int], **columns: object) -> RequestTable:
    """Requests of (arrival, prompt, output)."""
    arrival_s, prompt, output = zip(*rows, strict=True)
    return RequestTable.of(arrival_s, prompt, output, **columns)


def hits(engine: str, table: RequestTable, **pool: object) -> list[float]:
    """Prefix hits of each tick [tokens]."""
    arrays = one_pool(**{"prefix_block_tokens": 10, **pool})
    return run(engine, arrays, plain_episode(arrays, table)).outcomes["prefix_hit_tokens"][:, 0].tolist()


def test_the_next_call_computes_only_what_is_new(engine):
    """A context of 100 + 20 tokens; the next prompt repeats it and adds 50."""
    arrays = one_pool(prefix_block_tokens=10)
    table = requests((0.0, 100, 20), (2.0, 170, 1), conversation_id=0, reusable_tokens=[0, 120])
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.total("prefilled_tokens") == 100 + 50
    assert result.total("prefix_hit_tokens") == 120
    np.testing.assert_allclose(result.log.finished_s[1], 2.0 + 0.010 + 0.050)


def test_only_whole_blocks_are_found(engine):
    assert sum(hits(engine, requests((0.0, 100, 7), (2.0, 200, 1), conversation_id=0, reusable_tokens=[0, 107]))) == 100


def test_a_prompt_that_is_all_cached_still_computes_its_last_block(engine):
    assert (
        sum(hits(engine, requests((0.0, 100, 20), (2.0, 120, 1), conversation_id=0, reusable_tokens=[0, 120]))) == 110
    )


def test_after_a_reset_only_the_common_beginning_is_reused(engine):
    assert sum(hits(engine, requests((0.0, 100, 20), (2.0, 90, 1), conversation_id=0, reusable_tokens=[0, 30]))) == 30


def test_conversations_of_a_group_share_their_beginning(engine):
    table = requests((0.0, 100, 20), (2.0, 100, 1), conversation_id=[0, 1], group_id=0, group_tokens=60)
    assert sum(hits(engine, table)) == 60


def test_without_a_cache_nothing_is_found(engine):
    table = requests((0.0, 100, 20), (2.0, 170, 1), conversation_id=0, reusable_tokens=[0, 120])
    assert sum(hits(engine, table, prefix_block_tokens=0)) == 0


def test_the_least_recently_used_context_gives_way_from_its_end(engine):
    """Contexts of 100 and 60 tokens fill 160 of 200; a request of 100 needs 60 of them: the older one's last blocks."""
    rows = ((0.0, 90, 10), (1.0, 50, 10), (2.0, 90, 10), (3.0, 110, 1), (4.0, 70, 1))
    table = requests(*rows, conversation_id=[0, 1, -1, 0, 1], reusable_tokens=[0, 0, 0, 100, 60])
    found = hits(engine, table, kv_tokens=200)
    assert found[3] == 40  # 100 less 60
    assert found[4] == 60


def test_a_groups_beginning_takes_memory_once_however_many_use_it(engine):
    """Three of 100 tokens, 80 of them common, fit a cache of 150 together: 80 and 20 for each."""
    rows = ((0.0, 90, 10), (2.0, 90, 10), (2.0, 90, 10), (2.0, 90, 10))
    arrays = one_pool(prefix_block_tokens=10, kv_tokens=150)
    table = requests(*rows, conversation_id=[0, 1, 2, 3], group_id=0, group_tokens=80)
    log = run(engine, arrays, plain_episode(arrays, table)).log
    np.testing.assert_allclose(log.first_token_s[1:], 2.0 + np.array([0.020, 0.050, 0.050]))
    assert len(set(log.finished_s[1:])) == 2


def test_a_failure_loses_the_cache(engine):
    arrays = one_pool(prefix_block_tokens=10, wake_s=0.0)
    table = requests((0.0, 100, 20), (5.0, 170, 1), conversation_id=0, reusable_tokens=[0, 120])
    failure = FailureTable(np.array([3]), np.array([0]), np.array([4.0]))
    result = run(engine, arrays, dataclasses.replace(plain_episode(arrays, table), failures=failure))
    assert result.total("prefix_hit_tokens") == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_running_and_cached_tokens_never_exceed_the_memory(engine, seed):
    world = random_world(seed, load=5.0, small_kv=True)
    views = run(engine, world.arrays, world.episode, world.controls).views
    assert (views["kv_reserved_fraction"] + views["cached_fraction"] <= 1.0 + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_request_finds_more_than_it_could_reuse(engine, seed):
    world = random_world(seed, load=2.0)
    table = world.episode.requests
    result = run(engine, world.arrays, world.episode, world.controls)
    again = result.total("retries") + result.total("preemptions") + 1
    assert result.total("prefix_hit_tokens") <= again * np.maximum(table.reusable_tokens, table.group_tokens).sum()
