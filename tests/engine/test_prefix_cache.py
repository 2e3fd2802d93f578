"""The prefix cache, by hand: what is found, what shares memory, what gives way.

The pool's iteration lasts 10 ms plus 1 ms for each token that it prefills (`small_fleets.one_pool`).
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.gpu.failures import FailureTable
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
    """Contexts of 100 and 60 tokens fill 160 of 200; a request of 100 needs 60 of them: the older one's last blocks.

    That request leaves 100 tokens as well. So when the first conversation goes on in a space of 111, the second one's
    context is the oldest, and all of it goes.
    """
    rows = ((0.0, 90, 10), (1.0, 50, 10), (2.0, 90, 10), (3.0, 110, 1), (4.0, 70, 1))
    table = requests(*rows, conversation_id=[0, 1, -1, 0, 1], reusable_tokens=[0, 0, 0, 100, 60])
    found = hits(engine, table, kv_tokens=200)
    assert found[3] == 40
    assert found[4] == 0


def test_a_groups_beginning_takes_memory_once_however_many_use_it(engine):
    """Three of 100 tokens, 80 of them common, fit a cache of 150 together: 80 and 20 for each."""
    rows = ((0.0, 90, 10), (2.0, 90, 10), (2.0, 90, 10), (2.0, 90, 10))
    arrays = one_pool(prefix_block_tokens=10, kv_tokens=150)
    table = requests(*rows, conversation_id=[0, 1, 2, 3], group_id=0, group_tokens=80)
    log = run(engine, arrays, plain_episode(arrays, table)).log
    np.testing.assert_allclose(log.first_token_s[1:], 2.0 + np.array([0.020, 0.050, 0.050]))
    assert len(set(log.finished_s[1:])) == 2


def test_a_groups_beginning_is_found_while_the_first_that_computes_it_runs(engine):
    """The second joins at the first boundary, at 0.11, where the first is still decoding."""
    arrays = one_pool(prefix_block_tokens=10)
    table = requests((0.0, 100, 50), (0.001, 100, 1), conversation_id=[0, 1], group_id=0, group_tokens=60)
    log = run(engine, arrays, plain_episode(arrays, table)).log
    np.testing.assert_allclose(log.first_token_s[1], 0.110 + 0.010 + 0.040)


def test_a_preempted_request_finds_what_is_left_of_its_own_context(engine):
    """As in test_kv_growth, 23 tokens are to be computed anew at 0.10, of which 22 were cached at 0.08.

    The first sequence needs 24 and 25 of 45 tokens, and its context of 26 stays: 19 of the 22 are left, 4 are missing.
    """
    arrays = one_pool(kv_grows=True, kv_tokens=45, prefix_block_tokens=1)
    result = run(engine, arrays, plain_episode(arrays, requests((0.0, 20, 6), (0.0, 20, 5))))
    assert result.total("preemptions") == 1
    assert result.total("prefilled_tokens") == 20 + 20 + 4
    np.testing.assert_allclose(result.log.finished_s, [0.10, 0.10 + 0.014 + 0.010])


def test_a_context_that_the_conversation_has_left_behind_is_not_taken_for_the_new_one(engine):
    """120 tokens on replica 0; the next call keeps 30 of them on replica 1; the third one keeps all of that.

    Others load replica 0 when the second call comes and replica 1, its conversation's home, when the third does.
    """
    arrays = dataclasses.replace(one_pool(prefix_block_tokens=10), replicas=np.array([2]))
    rows = ((0.0, 100, 20), (2.0, 500, 1), (2.001, 100, 20), (5.0, 10, 1), (5.0, 500, 1), (5.001, 130, 1))
    table = requests(*rows, conversation_id=[0, -1, 0, -1, -1, 0], reusable_tokens=[0, 0, 30, 0, 0, 120])
    controls = dataclasses.replace(neutral(arrays), prefix_affinity=np.zeros((1, 1)))
    result = run(engine, arrays, plain_episode(arrays, table), [controls] * arrays.horizon_ticks)
    assert result.log.replica.tolist() == [0, 0, 1, 0, 1, 0]
    assert result.total("prefix_hit_tokens") == 30


@pytest.mark.parametrize(("host_cache_tokens", "found", "from_host"), [(0, 40, 0), (50, 90, 50), (1000, 100, 60)])
def test_host_memory_gives_back_what_the_gpus_had_no_room_for(engine, host_cache_tokens, found, from_host):
    """A space of 160 of 200 tokens takes 60 of a context of 100; each token that comes back costs 0.1 ms."""
    arrays = one_pool(
        prefix_block_tokens=10, kv_tokens=200, host_cache_tokens=host_cache_tokens, host_load_s=1e-4, horizon_ticks=5
    )
    table = requests(
        (0.0, 90, 10), (1.0, 150, 10), (2.0, 110, 1), conversation_id=[0, -1, 0], reusable_tokens=[0, 0, 100]
    )
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.total("prefix_hit_tokens") == found
    assert result.total("host_hit_tokens") == from_host
    np.testing.assert_allclose(result.log.first_token_s[2], 2.0 + 0.010 + (110 - found) * 1e-3 + from_host * 1e-4)


def test_boards_wait_for_host_memory_at_idle_power(engine):
    """So its energy does not depend on how long it takes."""
    table = requests(
        (0.0, 90, 10), (1.0, 150, 10), (2.0, 110, 1), conversation_id=[0, -1, 0], reusable_tokens=[0, 0, 100]
    )
    energy_j = []
    for host_load_s in (0.0, 1e-3):
        arrays = one_pool(prefix_block_tokens=10, kv_tokens=200, host_cache_tokens=1000, host_load_s=host_load_s)
        energy_j.append(run(engine, arrays, plain_episode(arrays, table)).total("it_energy_j"))
    np.testing.assert_allclose(energy_j[1], energy_j[0], rtol=1e-12)


def test_what_came_back_from_the_host_is_on_the_gpus_from_then_on(engine):
    rows = ((0.0, 90, 10), (1.0, 150, 10), (2.0, 110, 1), (3.0, 120, 1))
    table = requests(*rows, conversation_id=[0, -1, 0, 0], reusable_tokens=[0, 0, 100, 110])
    arrays = one_pool(prefix_block_tokens=10, kv_tokens=200, host_cache_tokens=1000)
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.outcomes["prefix_hit_tokens"][:4, 0].tolist() == [0, 0, 100, 110]
    assert result.outcomes["host_hit_tokens"][:4, 0].tolist() == [0, 0, 60, 0]


def test_host_memory_keeps_what_left_the_gpus_last(engine):
    """Two contexts of 60 leave together, the first one first, so that 100 tokens hold 40 of it and all of the second.

    The context of 200 that drove them out gives up 80 tokens when the first conversation goes on; the host takes them
    in and keeps 20 of the second.
    """
    rows = ((0.0, 50, 10), (1.0, 50, 10), (2.0, 190, 10), (3.0, 70, 1), (4.0, 70, 1))
    table = requests(*rows, conversation_id=[0, 1, -1, 0, 1], reusable_tokens=[0, 0, 0, 60, 60])
    arrays = one_pool(prefix_block_tokens=10, kv_tokens=200, host_cache_tokens=100)
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.outcomes["host_hit_tokens"][3:5, 0].tolist() == [40, 20]


def test_a_groups_beginning_comes_back_for_whoever_asks_first(engine):
    rows = ((0.0, 90, 10), (1.0, 190, 10), (2.0, 100, 1), (3.0, 100, 1))
    table = requests(*rows, conversation_id=[0, -1, 1, 2], group_id=[0, -1, 0, 0], group_tokens=[60, 0, 60, 60])
    arrays = one_pool(prefix_block_tokens=10, kv_tokens=200, host_cache_tokens=1000)
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.outcomes["prefix_hit_tokens"][2:4, 0].tolist() == [60, 60]
    assert result.outcomes["host_hit_tokens"][2:4, 0].tolist() == [60, 0]


def warm(engine: str, table: RequestTable, rows: list[int], **pool: object) -> Run:
    """The table on one replica that holds what calls before the episode have left to `rows`, in order of use."""
    arrays = one_pool(**{"prefix_block_tokens": 10, **pool})
    contexts = ContextTable(np.array(rows), np.zeros(len(rows), np.int64))
    return run(engine, arrays, dataclasses.replace(plain_episode(arrays, table), contexts=contexts))


def test_a_context_from_before_the_episode_is_found(engine):
    """The call can reuse 127 tokens, of which 12 blocks are held; its group's beginning of 40 is shared."""
    table = requests(
        (0.0, 170, 1), (1.0, 60, 1), conversation_id=[0, 1], reusable_tokens=[127, 0], group_id=0, group_tokens=40
    )
    result = warm(engine, table, [0])
    assert result.outcomes["prefix_hit_tokens"][:2, 0].tolist() == [120, 40]
    np.testing.assert_allclose(result.log.finished_s[0], 0.010 + 0.050)


def test_a_call_after_the_first_goes_on_from_what_is_common_to_all(engine):
    """100 tokens are held; the second call repeats only 30 tokens of the first one's context."""
    table = requests((0.0, 120, 10), (1.0, 90, 1), conversation_id=0, reusable_tokens=[100, 30])
    assert warm(engine, table, [0]).outcomes["prefix_hit_tokens"][:2, 0].tolist() == [100, 30]


def test_contexts_from_before_give_way_in_the_order_of_their_use(engine):
    """Contexts of 100 and 60 tokens stand in 200; a request of 100 needs 60 of them, which are the older one's."""
    rows = ((0.0, 99, 1), (1.0, 120, 1), (2.0, 80, 1))
    table = requests(*rows, conversation_id=[-1, 0, 1], reusable_tokens=[0, 100, 60])
    assert warm(engine, table, [1, 2], kv_tokens=200).outcomes["prefix_hit_tokens"][1, 0] == 40
    assert warm(engine, table, [2, 1], kv_tokens=200).outcomes["prefix_hit_tokens"][1, 0] == 100


def test_what_the_gpus_have_no_room_for_from_the_start_is_in_host_memory(engine):
    table = requests((0.0, 170, 1), (1.0, 170, 1), conversation_id=[0, 1], reusable_tokens=[150, 150])
    result = warm(engine, table, [0, 1], kv_tokens=200, host_cache_tokens=1000)
    assert result.outcomes["host_hit_tokens"][0, 0] == 100
    assert result.total("prefix_hit_tokens") == 300


def test_without_a_cache_nothing_is_held(engine):
    table = requests((0.0, 170, 1), conversation_id=0, reusable_tokens=[127])
    assert warm(engine, table, [0], prefix_block_tokens=0).total("prefix_hit_tokens") == 0


@pytest.mark.parametrize("host_cache_tokens", [0, 1000])
def test_a_failure_loses_the_cache(engine, host_cache_tokens):
    arrays = one_pool(prefix_block_tokens=10, wake_s=0.0, kv_tokens=200, host_cache_tokens=host_cache_tokens)
    table = requests((0.0, 100, 20), (5.0, 170, 1), conversation_id=0, reusable_tokens=[0, 120])
    failure = FailureTable(np.array([3]), np.array([0]), np.array([4.0]))
    result = run(engine, arrays, dataclasses.replace(plain_episode(arrays, table), failures=failure))
    assert result.total("prefix_hit_tokens") == 0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), host_cache_tokens=st.sampled_from([0, 500, 5_000]), block=st.sampled_from([1, 16])
)
def test_every_prompt_token_is_computed_or_found(engine, seed, host_cache_tokens, block):
    """Whatever is cached, given up and taken back; with the replica drained at the end."""
    rng = np.random.default_rng(seed)
    prompts = rng.integers(50, 400, 40)
    table = RequestTable.of(
        np.sort(rng.uniform(0.0, 40.0, 40)),
        prompts,
        rng.integers(1, 40, 40),
        conversation_id=rng.integers(-1, 8, 40),
        reusable_tokens=(prompts * rng.uniform(0.5, 1.0, 40)).astype(int),
        group_id=0,
        group_tokens=50,
    )
    arrays = one_pool(
        kv_tokens=900, prefix_block_tokens=block, host_cache_tokens=host_cache_tokens, horizon_ticks=60, tick_s=2.0
    )
    result = run(engine, arrays, plain_episode(arrays, table))
    assert result.total("completed_in_slo") == 40
    assert result.total("generated_tokens") == table.output_tokens.sum()
    assert result.total("prefilled_tokens") + result.total("prefix_hit_tokens") == prompts.sum()
    assert result.total("prefilled_tokens") >= 40
    assert result.total("host_hit_tokens") <= result.total("prefix_hit_tokens")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_running_and_cached_tokens_never_exceed_the_memory(engine, seed):
    instance = random_instance(seed, load=5.0, long_talks=True)
    views = run(engine, instance.arrays, instance.episode, instance.controls).views
    assert (views["kv_reserved_fraction"] + views["cached_fraction"] <= 1.0 + 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_request_finds_more_than_it_could_reuse(engine, seed):
    """Where nobody is preempted: such a request would find its own context too."""
    instance = random_instance(seed, load=2.0, long_talks=True)
    table = instance.episode.requests
    arrays = dataclasses.replace(instance.arrays, kv_grows=np.zeros(instance.arrays.num_pools, bool))
    result = run(engine, arrays, instance.episode, instance.controls)
    assert result.total("prefix_hit_tokens") <= np.maximum(table.reusable_tokens, table.group_tokens).sum()
