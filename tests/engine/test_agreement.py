"""The native engine means exactly what the reference says, on hundreds of random instances."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.agreement import assert_same, both
from tests.engine.instances import Instance, random_instance
from tests.engine.runs import Run, run
from tokenfleet.envs.episode.warm_caches import ContextTable

SITUATIONS = {
    "light load": {"load": 0.5},
    "overload": {"load": 12.0},
    "tiny KV cache": {"load": 5.0, "small_kv": True},
    "brakes and trips": {"load": 4.0, "cap_share": 0.4},
    "long talks": {"load": 4.0, "long_talks": True, "cap_share": 100.0},
    "warm caches": {"load": 4.0, "long_talks": True, "warm": True},
    "closed loop": {"load": 3.0, "closed_loop": True},
    "long talks in a closed loop": {"load": 6.0, "long_talks": True, "closed_loop": True},
    "hand-offs": {"load": 3.0, "hand_offs": True},
    "hand-offs under stress": {"load": 6.0, "hand_offs": True, "long_talks": True, "closed_loop": True, "warm": True},
    "ties": {"load": 4.0, "ties": True},
    "ties in a closed loop": {"load": 4.0, "ties": True, "closed_loop": True, "long_talks": True},
    "ties of hand-offs": {"load": 4.0, "ties": True, "hand_offs": True, "warm": True, "cap_share": 0.4},
    "the longest requests": {"load": 1.0, "huge": True, "long_talks": True},
    "the longest clock": {"load": 2.0, "long_clock": True},
    "variants under stress": {"load": 4.0, "variants": True, "long_talks": True, "closed_loop": True, "warm": True},
    "ties of variants": {"load": 4.0, "variants": True, "ties": True, "cap_share": 0.4},
    "closed loop under stress": {"load": 8.0, "closed_loop": True, "small_kv": True, "cap_share": 0.4},
}


def in_native(instance: Instance) -> Run:
    return run("native", instance.arrays, instance.episode, instance.controls)


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_native_and_reference_agree_request_by_request(situation, seed):
    assert_same(*both(random_instance(seed, **SITUATIONS[situation])))


def test_the_random_instances_reach_every_situation():
    """Else agreement on them would say little."""
    instances = [random_instance(seed, **SITUATIONS["brakes and trips"]) for seed in range(60)]
    instances += [random_instance(seed, **SITUATIONS["tiny KV cache"]) for seed in range(80)]
    runs = [in_native(instance) for instance in instances]
    statuses = np.concatenate([r.log.status for r in runs])
    assert set(np.unique(statuses)) == {0, 1, 2, 3, 4}
    assert sum(r.total("preemptions") for r in runs) > 50
    assert sum(r.total("prefix_hit_tokens") for r in runs) > 10_000
    assert sum(r.views["cached_fraction"].sum() for r in runs) > 100
    assert sum(r.total("brakes") for r in runs) > 20
    assert sum(r.total("trips") for r in runs) > 5
    assert sum(r.total("row_brakes") for r in runs) > 10
    assert sum(r.total("row_trips") for r in runs) > 5
    for name in ("battery_charge_j", "battery_discharge_j", "solar_j", "derated_s"):
        assert sum(r.total(name) > 0.0 for r in runs) > 20
    assert sum(r.views["waking_replicas"].sum() for r in runs) > 50
    assert sum(r.views["held_requests"].sum() for r in runs) > 50
    for name in (
        "prefix_hit_tokens",
        "preempted_tokens",
        "dropped_tokens",
        "value_late_usd",
        "value_declined_usd",
        "overdue_usd",
    ):
        assert sum(r.total(name) for r in runs) > 1000, name


def test_long_talks_fill_both_memories():
    instances = [random_instance(seed, **SITUATIONS["long talks"]) for seed in range(80)]
    runs = [in_native(instance) for instance in instances]
    assert sum(r.total("host_hit_tokens") for r in runs) > 10_000
    assert sum(r.total("preemptions") for r in runs) > 30
    assert sum(r.views["cached_fraction"].mean() > 0.2 for r in runs) > 20


def test_contexts_from_before_are_found():
    instances = [random_instance(seed, **SITUATIONS["warm caches"]) for seed in range(40)]
    cold = [dataclasses.replace(instance.episode, contexts=ContextTable.none()) for instance in instances]
    runs = [in_native(instance) for instance in instances]
    runs_cold = [run("native", w.arrays, episode, w.controls) for w, episode in zip(instances, cold, strict=True)]
    found = [r.total("prefix_hit_tokens") - c.total("prefix_hit_tokens") for r, c in zip(runs, runs_cold, strict=True)]
    assert sum(tokens > 100 for tokens in found) > 15


def test_kv_cache_moves_between_pools():
    runs = {}
    for situation in ("hand-offs under stress", "long talks"):
        instances = [random_instance(seed, **SITUATIONS[situation]) for seed in range(60)]
        runs[situation] = [in_native(instance) for instance in instances]
    for name in ("handed_off_tokens", "taken_over_tokens"):
        assert sum(r.total(name) > 500 for r in runs["hand-offs under stress"]) > 10, name
    assert sum(r.total("migrated_tokens") for r in runs["long talks"]) > 3000
    assert sum(r.total("kv_sent_bytes") > 0 for r in runs["long talks"]) > 5


def test_replicas_switch_to_variants_and_back():
    instances = [random_instance(seed, **SITUATIONS["variants under stress"]) for seed in range(40)]
    runs = [in_native(instance) for instance in instances]
    assert sum(r.total("switches") for r in runs) > 200
    assert sum(r.views["switching_replicas"].sum() for r in runs) > 20
    assert sum(r.views["variant_replicas"].sum() for r in runs) > 200
    assert sum(r.total("quality_loss_usd") > 0.0 for r in runs) > 15


def test_the_closed_loops_reach_every_situation():
    instances = [random_instance(seed, **SITUATIONS["closed loop"]) for seed in range(80)]
    runs = [in_native(instance) for instance in instances]
    assert sum(r.total("retries") for r in runs) > 100
    assert sum(r.views["thinking_calls"].sum() for r in runs) > 50
    assert sum(r.views["away_requests"].sum() for r in runs) > 50
    assert sum(r.views["failed_replicas"].sum() for r in runs) > 50
    assert sum(r.total("budget_ended") for r in runs) > 50
    waited = [w.episode.requests.predecessors > 0 for w in instances]
    asked = [np.isfinite(r.log.asked_s[rows]) for r, rows in zip(runs, waited, strict=True)]
    assert 0.05 < np.mean(np.concatenate(asked)) < 0.9
