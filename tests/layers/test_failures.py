"""Failures come at the published rate, take whole servers, and are the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.layers.gpu.failures import FailureSpec, Servers, draw_failures


def draw(spec, pools, seed=0, ticks=86_400):
    return draw_failures(spec, pools, 1.0, ticks, np.random.default_rng(seed))


def test_a_day_of_16384_gpus_sees_as_many_failures_as_llama_3_training_did():
    """419 unexpected interruptions in 54 days, so 7.8 a day; 300 days narrow the mean to about 2 %."""
    pools = [Servers(0, 2048, 8)]
    days = [len(draw(FailureSpec(), pools, seed).tick) for seed in range(300)]
    assert np.mean(days) == pytest.approx(419 / 54, rel=0.08)


def test_all_replicas_of_a_server_break_together():
    table = draw(FailureSpec(rate_factor=2000.0), [Servers(0, 16, 1), Servers(16, 3, 4)])
    assert len(table.tick) > 20
    servers = {replica: replica // 8 if replica < 16 else 2 + (replica - 16) // 2 for replica in range(19)}
    sizes = {0: 8, 1: 8, 2: 2, 3: 1}
    for tick, repaired_s in {(t, r) for t, r in zip(table.tick, table.repaired_s, strict=True)}:
        hit = table.replica[(table.tick == tick) & (table.repaired_s == repaired_s)]
        assert len({servers[r] for r in hit.tolist()}) == 1
        assert len(hit) == sizes[servers[int(hit[0])]]


def test_a_replica_over_two_servers_breaks_twice_as_often():
    small, large = ([Servers(0, 64, width)] for width in (8, 16))
    spec = FailureSpec(rate_factor=100.0)
    counts = [sum(len(draw(spec, pools, seed).tick) for seed in range(40)) for pools in (small, large)]
    assert counts[1] / counts[0] == pytest.approx(2.0, rel=0.15)


@given(seed=st.integers(0, 1000), factor=st.floats(0, 5000))
def test_failures_are_ordered_within_the_episode_and_repaired_later(seed, factor):
    table = draw(FailureSpec(rate_factor=factor), [Servers(0, 5, 2), Servers(5, 9, 1)], seed, ticks=600)
    assert (np.diff(table.tick) >= 0).all()
    assert ((table.replica >= 0) & (table.replica < 14)).all()
    assert (table.repaired_s > table.tick).all()
    again = draw(FailureSpec(rate_factor=factor), [Servers(0, 5, 2), Servers(5, 9, 1)], seed, ticks=600)
    np.testing.assert_array_equal(again.repaired_s, table.repaired_s)
