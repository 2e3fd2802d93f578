"""Variants, by hand on both engines: the own model takes 10 ms and 1 J for an iteration, the variant 5 ms and 0.1 J.

Boards draw 100 W beside that, and 40 W while a replica loads or waits. The variant loads in 3 s, the own model in 4 s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays, models
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import RequestTable

ON_BOTH = pytest.mark.parametrize("engine", ENGINES)
VARIANT: dict[str, Any] = {
    "token_s": 0.005 + 0.0005 * np.array(TOKEN_KNOTS),
    "decode_s": -0.0005,
    "work_j": 0.1,
    "load_s": 3.0,
    "wake_s": 3.0,
    "quality": 0.75,
}


def fleet(variant: dict[str, Any] | None = None, **changes: object) -> FleetArrays:
    given: dict[str, Any] = {
        "variant": 0,
        "variants": models(1, **VARIANT, **(variant or {})),
        "work_j": 1.0,
        "load_s": 4.0,
        "wake_s": 4.0,
        "usd_per_output_token": 1.0,
        "horizon_ticks": 12,
        **changes,
    }
    return one_pool(**given)


def asked(arrays: FleetArrays, **shares: float) -> Controls:
    return replace(neutral(arrays), **{f"{name}_fraction": np.array([[share]]) for name, share in shares.items()})


def lived(
    engine: str, arrays: FleetArrays, *spans: tuple[dict[str, float], int], requests: RequestTable | None = None
) -> Run:
    """So many ticks under each of some shares."""
    tape = [asked(arrays, **shares) for shares, ticks in spans for _ in range(ticks)]
    return run(engine, arrays, plain_episode(arrays, requests or RequestTable.empty()), tape)


def shown(result: Run) -> list[tuple[int, ...]]:
    """(awake, of them with the variant, switching, waking) after every tick."""
    names = ("awake_replicas", "variant_replicas", "switching_replicas", "waking_replicas")
    return [tuple(row) for row in np.stack([result.views[name][1:, 0] for name in names], axis=1).astype(int).tolist()]


@ON_BOTH
def test_the_variant_serves_by_its_own_law_at_its_own_watts_for_its_own_worth(engine: str) -> None:
    requests = RequestTable.of([5.0], [10], [101])  # a prefill of 10 ms, and 100 iterations of 5 ms
    result = lived(engine, fleet(), ({"variant": 1.0}, 8), requests=requests)
    assert shown(result) == [(0, 0, 0, 1)] * 3 + [(1, 1, 0, 0)] * 5
    assert result.log.first_token_s[0] == pytest.approx(5.01)
    assert result.log.finished_s[0] == pytest.approx(5.51)
    assert result.outcomes["busy_energy_j"][5, 0] == pytest.approx(0.51 * 100.0 + 101 * 0.1)
    assert result.outcomes["idle_energy_j"][:3, 0].tolist() == pytest.approx([40.0] * 3)
    assert result.total("value_in_slo_usd") == pytest.approx(101.0)
    assert result.total("quality_loss_usd") == pytest.approx(0.25 * 101.0)
    assert result.total("variant_tokens") == 101
    assert result.total("switches") == 1


@ON_BOTH
def test_the_variant_of_late_answers_loses_of_what_they_pay(engine: str) -> None:
    requests = RequestTable.of([5.0], [10], [101])
    result = lived(engine, fleet(deadline_s=0.1), ({"variant": 1.0}, 8), requests=requests)
    assert result.total("value_late_usd") == pytest.approx(101.0)
    assert result.total("quality_loss_usd") == pytest.approx(0.25 * 0.25 * 101.0)  # late ones pay a quarter


@ON_BOTH
def test_who_switches_finishes_what_it_has_with_the_model_that_it_began_with(engine: str) -> None:
    requests = RequestTable.of([0.0], [10], [151])  # until 1.52 s with the own model
    result = lived(engine, fleet(), ({}, 1), ({"variant": 1.0}, 6), requests=requests)
    assert shown(result) == [(1, 0, 0, 0)] + [(0, 0, 1, 0)] + [(0, 0, 0, 1)] * 3 + [(1, 1, 0, 0)] * 2
    assert result.log.finished_s[0] == pytest.approx(1.52)
    assert result.total("quality_loss_usd") == 0.0
    assert result.outcomes["switches"][:, 0].tolist() == [0, 0, 1, 0, 0, 0, 0]


@ON_BOTH
def test_who_changes_its_mind_before_it_has_drained_takes_requests_at_once(engine: str) -> None:
    requests = RequestTable.of([0.0], [10], [251])
    result = lived(engine, fleet(), ({}, 1), ({"variant": 1.0}, 1), ({}, 2), requests=requests)
    assert shown(result) == [(1, 0, 0, 0), (0, 0, 1, 0), (1, 0, 0, 0), (1, 0, 0, 0)]
    assert result.total("switches") == 0


@ON_BOTH
def test_who_switches_back_loads_its_own_model_anew(engine: str) -> None:
    result = lived(engine, fleet(), ({"variant": 1.0}, 1), ({}, 5))
    assert shown(result) == [(0, 0, 0, 1)] * 5 + [(1, 0, 0, 0)]
    assert result.total("switches") == 2


@ON_BOTH
def test_the_first_replicas_of_a_pool_switch(engine: str) -> None:
    requests = RequestTable.of([6.0, 6.0], [10, 10], [21, 21])  # one for each replica
    result = lived(engine, fleet(replicas=2), ({"variant": 0.5}, 8), requests=requests)
    assert shown(result)[-1] == (2, 1, 0, 0)
    assert sorted(zip(result.log.replica.tolist(), result.log.finished_s.round(9).tolist(), strict=True)) == [
        (0, 6.11),
        (1, 6.22),
    ]


@ON_BOTH
def test_who_sleeps_wakes_with_the_model_that_is_asked_for_then(engine: str) -> None:
    result = lived(engine, fleet(), ({"awake": 0.0}, 2), ({"variant": 1.0}, 5))
    assert shown(result) == [(0, 0, 0, 0)] * 2 + [(0, 0, 0, 1)] * 3 + [(1, 1, 0, 0)] * 2
    assert result.total("switches") == 0


@ON_BOTH
def test_who_stands_by_prepares_anew(engine: str) -> None:
    arrays = fleet({"resume_s": 1.0}, standby=0, resume_s=1.0)
    resting = {"awake": 0.0, "standby": 1.0}
    result = lived(engine, arrays, (resting, 2), ({**resting, "variant": 1.0}, 4), ({"variant": 1.0}, 2))
    preparing = result.views["preparing_replicas"][1:, 0].astype(int).tolist()
    assert preparing == [0, 0, 1, 1, 1, 0, 0, 0]
    assert shown(result)[-2:] == [(0, 0, 0, 1), (1, 1, 0, 0)]


@ON_BOTH
def test_a_server_that_still_boots_loads_the_other_model_when_it_has(engine: str) -> None:
    arrays = fleet(wake_s=6.0)  # boots for 2 s, and loads for 4 s
    result = lived(engine, arrays, ({"awake": 0.0}, 1), ({}, 1), ({"variant": 1.0}, 6))
    assert shown(result) == [(0, 0, 0, 0)] + [(0, 0, 0, 1)] * 5 + [(1, 1, 0, 0)] * 2


@ON_BOTH
def test_what_the_other_model_has_cached_is_of_no_use(engine: str) -> None:
    requests = RequestTable.of(
        [0.0, 6.0],
        [64, 128],
        [16, 16],
        conversation_id=np.zeros(2, np.int32),
        reusable_tokens=np.array([0, 80], np.int32),
    )
    arrays = fleet(prefix_block_tokens=16)
    kept = lived(engine, arrays, ({}, 8), requests=requests)
    switched = lived(engine, arrays, ({}, 1), ({"variant": 1.0}, 7), requests=requests)
    assert kept.total("prefix_hit_tokens") == 80
    assert switched.total("prefix_hit_tokens") == 0
    assert switched.total("completed_in_slo") == 2


@ON_BOTH
def test_kv_cache_is_the_share_of_what_the_loaded_model_has(engine: str) -> None:
    requests = RequestTable.of([0.0, 5.9], [100, 100], [10, 50])
    result = lived(engine, fleet({"kv_tokens": 1500}, kv_tokens=1000), ({"variant": 1.0}, 7), requests=requests)
    assert result.views["kv_reserved_fraction"][6, 0] == pytest.approx(150 / 1500)


@ON_BOTH
def test_a_pool_without_a_variant_does_not_mind(engine: str) -> None:
    arrays = one_pool(horizon_ticks=3)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.empty()), [asked(arrays, variant=1.0)] * 3)
    assert result.views["awake_replicas"][:, 0].tolist() == [1.0] * 4


def with_variant(**changes: object) -> Scenario:
    variant = {"model": "llama-3.1-8b", "quality": 0.8}
    return load_scenario("tiny", {"pools.lab-70b.variant": variant, **changes})


def test_a_scenario_says_what_variants_are_like() -> None:
    scenario = with_variant()
    arrays, pool = FleetArrays.from_scenario(scenario), scenario.pools["lab-70b"].switched
    assert arrays.variant.tolist() == [-1, 0]
    assert arrays.variants.quality.tolist() == [0.8]
    assert arrays.variants.kv_tokens.tolist() == [pool.kv_capacity_tokens]
    assert (pool.model, pool.tensor_parallel) == ("llama-3.1-8b", 4)
    assert arrays.variants.token_s[0, 0] < arrays.token_s[1, 0]
    assert arrays.variants.load_s[0] == pool.model_spec.wake_s < arrays.load_s[1]
    assert arrays.switched.token_s[0].tolist() == arrays.token_s[0].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pools.lab-70b.variant.model": "llama-3.1-70b"},
            r"lab-70b\.variant\.model: 'llama-3\.1-70b' is what the pool",
        ),
        ({"pools.lab-70b.variant.model": "llama"}, r"lab-70b\.variant: model: .*did you mean"),
        ({"pools.lab-70b.variant.model": "llama-3.1-405b"}, r"lab-70b\.variant: tensor_parallel: "),
        ({"pools.lab-70b.variant.quality": 1.5}, r"lab-70b\.variant\.quality: .*less than or equal to 1"),
        (
            {"pools.lab-70b.prefix_cache": True, "pools.lab-70b.migrate_prefixes": True},
            r"lab-70b\.variant: pools\.lab-70b\.migrate_prefixes would fetch",
        ),
        (
            {"pools.lab-70b.kv_policy": "grow", "pools.lab-70b.hand_off_to": "lab-8b"},
            r"lab-70b\.variant: a pool that prefills",
        ),
    ],
)
def test_a_variant_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        with_variant(**changes)
