"""How a record is dealt to train, validation and test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tokenfleet.envs.catalog import load_trace
from tokenfleet.envs.traces import check_parts, parts
from tokenfleet.envs.traces.deal import deal, deal_clusters
from tokenfleet.envs.traces.parts import BLOCKS

AMOUNTS = hnp.arrays(np.float64, st.tuples(st.integers(5, 60), st.just(2)), elements=st.floats(0, 1e6))


@given(AMOUNTS)
def test_every_round_of_five_gives_three_to_train_and_one_to_each_of_the_others(amounts):
    whole = len(amounts) // 5 * 5
    assert (np.sort(deal(amounts)[:whole].reshape(-1, 5)) == [0, 0, 0, 1, 2]).all()


def test_heavy_pieces_are_shared_as_nearly_as_they_can_be():
    amounts = np.random.default_rng(0).pareto(1.5, (300, 3))
    split = deal_clusters(amounts, np.arange(300))
    shares = np.stack([amounts[split == number].sum(axis=0) for number in range(3)]) / amounts.sum(axis=0)
    np.testing.assert_allclose(shares, np.array([[0.6], [0.2], [0.2]]) * np.ones(3), rtol=0.02)


@given(st.integers(0, 2**32))
def test_pieces_of_one_cluster_stay_together(seed):
    rng = np.random.default_rng(seed)
    cluster = np.concatenate([np.arange(8), rng.integers(0, 8, 30)])
    split = deal_clusters(rng.random((38, 2)), cluster)
    assert all(len(set(split[cluster == number])) == 1 for number in range(8))


@pytest.fixture
def chat():
    """An hour of chat, and its parts."""
    trace = load_trace("azure-chat-2023")
    amounts = np.stack([trace.prompt_tokens, trace.output_tokens], axis=1).astype(np.float64)
    return trace, parts(trace.arrival_s, trace.duration_s, amounts)


def test_parts_share_no_request_and_leave_none_out(chat):
    trace, found = chat
    np.testing.assert_array_equal(np.sort(np.concatenate([part.row for part in found])), np.arange(len(trace)))


def test_parts_have_the_rate_and_the_tokens_of_the_record(chat):
    trace, found = chat
    for part in found:
        assert len(part.row) / part.span_s == pytest.approx(len(trace) / trace.duration_s)
        for column in (trace.prompt_tokens, trace.output_tokens):
            assert column[part.row].mean() == pytest.approx(column.mean(), rel=0.02)


def test_within_a_block_the_recorded_gaps_stay_but_for_the_pace(chat):
    trace, found = chat
    block = (trace.arrival_s / (trace.duration_s / BLOCKS)).astype(int)
    for part in found:
        gap_s = np.diff(trace.arrival_s[part.row])
        same = (np.diff(block[part.row]) == 0) & (gap_s > 1e-3)
        np.testing.assert_allclose(np.diff(part.at_s)[same], gap_s[same], rtol=0.03)


def test_a_record_without_a_request_for_every_split_is_refused():
    at_s = np.array([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"trace 'few' is too sparse: one of its splits has 0 requests"):
        check_parts("trace 'few'", parts(at_s, 100.0, np.ones((3, 1))), 5.0)
