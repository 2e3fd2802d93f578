"""Conversations: how a record is cut into them by its blocks, and how episodes replay or overlay its windows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tokenfleet.envs.catalog import load_sessions
from tokenfleet.envs.demand.mooncake import conversations
from tokenfleet.envs.layers.agents import ConversationStream, merge
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS


def test_the_record_has_its_published_statistics():
    record = load_sessions("mooncake-chat")
    assert len(record.prompt_tokens) == 7_851
    assert np.median(record.prompt_tokens) == 7_284
    assert abs(np.corrcoef(record.prompt_tokens, record.output_tokens)[0, 1]) < 0.1
    assert record.group_tokens.tolist() == [512]
    # With every prefix that was ever seen in a cache without end, 36 % of the prompts need not be computed again.
    assert record.reusable_tokens.sum() / record.prompt_tokens.sum() == pytest.approx(0.30, abs=0.01)


def test_the_derived_clock_is_the_recorded_one_wherever_an_answer_fits_between():
    record = load_sessions("mooncake-chat")
    made_s = record.start_s[record.session] + record.recorded_s
    assert made_s.max() == pytest.approx(2397.0, abs=0.01)
    np.testing.assert_allclose((made_s + 1.5) % 3.0, 1.5, atol=0.01)  # ticks of 3 s


def test_windows_hold_the_recorded_rate_and_conversations_of_their_own_split():
    stream = ConversationStream(request_class="chat")
    lengths = []
    for split in SPLITS:
        demands = [stream.sample(np.random.default_rng(seed), 300.0, split) for seed in range(40)]
        assert np.mean([len(demand) for demand in demands]) / 300.0 == pytest.approx(stream.mean_rate_rps, rel=0.1)
        pairs = [zip(demand.prompt_tokens.tolist(), demand.output_tokens.tolist(), strict=True) for demand in demands]
        lengths.append({pair for found in pairs for pair in found})
    record = load_sessions("mooncake-chat")
    counts = Counter(zip(record.prompt_tokens.tolist(), record.output_tokens.tolist(), strict=True))
    once = {pair for pair, count in counts.items() if count == 1}
    assert not lengths[0] & lengths[1] & once
    assert not lengths[0] & lengths[2] & once
    assert not lengths[1] & lengths[2] & once


@pytest.mark.parametrize("rate_rps", [1.0, 10.0])
def test_a_rescaled_record_overlays_windows_and_leaves_conversations_out(rate_rps):
    stream = ConversationStream(request_class="chat", rate_rps=rate_rps)
    tables = [merge([stream.sample(np.random.default_rng(seed), 200.0, "train")], [0]) for seed in range(10)]
    assert np.mean([len(table) for table in tables]) / 200.0 == pytest.approx(rate_rps, rel=0.2)
    for table in tables:
        assert np.all(table.arrival_s[np.isfinite(table.arrival_s)] < 200.0)
        assert table.is_closed_loop


def test_conversations_come_out_of_chained_blocks():
    """A request goes on with the last one whose blocks, less the final one, begin its own; the third has none."""

    def line(at_s, blocks, output=20):
        return {
            "timestamp": at_s * 1000, "input_length": 512 * len(blocks) - 100, "output_length": output,
            "hash_ids": blocks,
        }  # fmt: skip

    record = conversations([
        line(0, [0, 1, 2, 3]),
        line(30, [0, 1, 2, 4, 5]),
        line(33, [0, 1, 6, 7]),
        line(60, [0, 1, 2, 4, 8]),
        line(63, [0, 1, 2, 4, 9, 10]),
    ])  # fmt: skip
    assert record.prompt_tokens.tolist() == [1948, 2460, 2460, 2972, 1948]
    assert record.first_call.tolist() == [0, 4, 5]
    assert record.reusable_tokens.tolist() == [0, 3 * 512, 4 * 512, 4 * 512, 0]
    assert record.wait_s.tolist() == [0, 29, 29, 2, 0]
    assert record.start_s.tolist() == [0, 33]


@pytest.mark.parametrize(("keys", "message"), [
    ({"trace": "coding-agents"}, "trace: 'coding-agents' has no clock of its own; replay it with kind: agent_sessions"),
    ({"trace": "mooncake"}, "trace: unknown name 'mooncake'; did you mean 'mooncake-chat'"),
    ({"rate_rps": 0}, r"rate_rps: .*greater than 0 \(got 0\)"),
])  # fmt: skip
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(keys, message):
    with pytest.raises(SpecError, match=message):
        ConversationStream.parse({"request_class": "chat", **keys})


def test_too_long_an_episode_is_refused():
    with pytest.raises(ValueError, match=r"'mooncake-chat' is too short: its smallest split spans 474 s"):
        ConversationStream(request_class="chat").check(600.0)
