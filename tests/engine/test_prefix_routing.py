"""Where a call of a conversation goes, by hand: to its cached context or to the shortest queue."""

import dataclasses

import numpy as np
import pytest

from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

# A conversation of 100 + 20 tokens on replica 0; then prompts of 560 and 500 tokens for replicas 0 and 1; then the
# conversation's next call, with 120 of its tokens cached on replica 0, whose queue is longer by 60 tokens.
TABLE = RequestTable.of(
    arrival_s=[0.0, 3.0, 3.0, 3.001],
    prompt_tokens=[100, 560, 500, 170],
    output_tokens=[20, 1, 1, 1],
    conversation_id=[0, -1, -1, 0],
    reusable_tokens=[0, 0, 0, 120],
)


def last_replica(engine: str, affinity: float | None) -> int:
    arrays = dataclasses.replace(one_pool(prefix_block_tokens=10, token_budget=10), replicas=np.array([2]))
    one = np.ones((1, 1))
    prefix_affinity = None if affinity is None else np.full((1, 1), affinity)
    controls = Controls(np.ones((1, 1, 1)), one, one, np.full((1, 1), np.inf), prefix_affinity=prefix_affinity)
    log = run(engine, arrays, plain_episode(arrays, TABLE), [controls] * 20).log
    assert log.replica[:3].tolist() == [0, 0, 1]
    return int(log.replica[3])


def test_load_alone_sends_it_to_the_shorter_queue(engine):
    assert last_replica(engine, 0.0) == 1


@pytest.mark.parametrize(("affinity", "replica"), [(0.4, 1), (0.6, 0), (None, 0), (np.inf, 0)])
def test_a_queue_may_be_longer_by_so_many_tokens_for_each_cached_one(engine, affinity, replica):
    """60 tokens more for 120 cached: an affinity of a half is the border, and without one it is 1."""
    assert last_replica(engine, affinity) == replica


@pytest.mark.parametrize("holder", [0, 1])
def test_a_conversation_from_before_the_episode_returns_to_who_holds_it(engine, holder):
    table = RequestTable.of([0.0], [170], [1], conversation_id=[0], reusable_tokens=[120])
    arrays = dataclasses.replace(one_pool(prefix_block_tokens=10), replicas=np.array([2]))
    contexts = ContextTable(np.array([0]), np.array([holder]))
    log = run(engine, arrays, dataclasses.replace(plain_episode(arrays, table), contexts=contexts)).log
    assert log.replica[0] == holder


def test_a_call_that_can_reuse_nothing_is_not_drawn_home(engine):
    table = dataclasses.replace(TABLE, reusable_tokens=np.zeros(4, np.int32))
    arrays = dataclasses.replace(one_pool(prefix_block_tokens=10, token_budget=10), replicas=np.array([2]))
    assert run(engine, arrays, plain_episode(arrays, table)).log.replica[3] == 1
