"""Scenarios: what is shipped is valid, and every mistake is named."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.layers.agents import MmppStream, TraceStream
from tokenfleet.envs.layers.llm import kv_capacity_tokens
from tokenfleet.envs.scenario import MAX_HORIZON_S, Scenario, load_scenario
from tokenfleet.envs.scenario.network import kv_token_s
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv


@pytest.fixture(params=catalog_names("scenario"))
def shipped(request) -> Scenario:
    return load_scenario(request.param)


def test_demand_arrives_at_the_stated_rate(shipped):
    counts = [len(sample_episode(shipped, seed).requests) for seed in range(40)]
    expected = sum(shipped.mean_rate_rps(name) for name in shipped.classes) * shipped.horizon_s  # through all regimes
    half_width = 4.0 * np.std(counts, ddof=1) / np.sqrt(len(counts))
    recorded_drift = 0.08 * expected  # a block of a real trace is not exactly as busy as the whole
    assert abs(np.mean(counts) - expected) < half_width + recorded_drift


def test_the_large_scenarios_are_as_large_as_they_say():
    campus, grid = load_scenario("campus"), load_scenario("grid-scale")
    assert sum(pool.replicas for pool in campus.pools.values()) == 216
    assert sum(pool.gpus for pool in campus.pools.values()) == 552
    assert (sum(pool.gpus for pool in grid.pools.values()), len(grid.sites)) == (10_000, 3)
    assert sum(map(grid.contract_w, grid.sites)) == pytest.approx(8.25e6, rel=0.01)


def test_the_default_caps_stand_near_seventy_percent_and_fall_by_a_quarter():
    scenario = load_scenario("default")
    for site in scenario.sites:
        assert 0.65 <= scenario.contract_w(site) / scenario.nameplate_w(site) <= 0.75
    cap_w = sample_episode(scenario, 0).cap_w
    depth = cap_w.min(axis=0) / cap_w.max(axis=0)
    assert sorted(depth.round(2).tolist()) == [0.75, 1.0]


def test_an_event_is_announced_at_its_notice_and_not_before():
    scenario = load_scenario("default")
    episode = sample_episode(scenario, 3)
    contract_w = np.float32(scenario.contract_w("east"))
    announced_w = episode.exogenous[:, 2:8].reshape(-1, 2, 3)[:, 0]  # after the caps of two sites: east's three leads
    event_begins = int(np.argmax(episode.cap_w[:, 0] < contract_w - 1))
    first_seen = int(np.argmax((announced_w < contract_w - 1).any(axis=1)))
    assert event_begins - first_seen == scenario.sites["east"].grid.demand_response[0].notice_s / scenario.tick_s


def test_traces_of_different_splits_never_share_a_request():
    stream = TraceStream(request_class="chat", trace="azure-chat-2023")
    drawn = {split: set() for split in ("train", "validation", "test")}
    for split, seen in drawn.items():
        for seed in range(5):
            sample = stream.sample(np.random.default_rng(seed), 600.0, split)
            seen |= set(zip(sample.prompt_tokens.tolist(), sample.output_tokens.tolist(), strict=True))
    record = stream._record
    pairs = list(zip(record.prompt_tokens.tolist(), record.output_tokens.tolist(), strict=True))
    unique = {pair for pair, count in Counter(pairs).items() if count == 1}
    for first, second in combinations(drawn, 2):
        assert not (drawn[first] & drawn[second] & unique)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rate=st.floats(0.5, 30.0))
def test_a_rescaled_trace_lies_inside_the_episode(seed, rate):
    stream = TraceStream(request_class="chat", trace="azure-chat-2023", rate_rps=rate)
    arrival_s = stream.sample(np.random.default_rng(seed), 600.0, "train").arrival_s
    assert arrival_s.min() >= 0
    assert arrival_s.max() < 600.0


def test_bursts_are_burstier_than_poisson():
    """Fano factor of counts in 10 s windows: 1 for Poisson, far above for the burst scenario's agents."""
    stream = load_scenario("burst").workload["agents-70b"]
    assert isinstance(stream, MmppStream)
    arrival_s = stream.sample(np.random.default_rng(0), 36_000.0, "train").arrival_s
    counts = np.histogram(arrival_s, bins=np.arange(0, 36_001, 10))[0]
    assert counts.var() / counts.mean() > 20
    assert counts.mean() / 10 == pytest.approx(stream.mean_rate_rps, rel=0.15)


MISTAKES = {
    "sites.lab.grid.cap_fraction": (0, "scenario.sites.lab.grid.cap_fraction: .*greater than 0"),
    "sites.lab.grid.cap_w": (1000.0, "give exactly one of cap_fraction"),
    "sites.lab.facility": ({"pue": 0.9}, "scenario.sites.lab.facility.pue: .*greater than or equal to 1"),
    "sites.lab.facility.rows": ({"a": {"cap_w": 9e3}}, "sites.lab.facility.rows.a: no pool stands in this row"),
    "sites.lab.facility.room": ({"limit_c": 20.0}, r"sites.lab.facility.room: limit_c \(20.0\) less hysteresis_k"),
    "uncertainty.pue_factor": ([1.2, 0.8], "uncertainty: pue_factor: the lower bound 1.2 is above the upper 0.8"),
    "sites.lab.battery": (
        {"power_w": 1e3, "energy_j": 1e6, "initial_charge_fraction": 0.95},
        r"sites.lab.battery: initial_charge_fraction \(0.95\) must lie between min_charge_fraction",
    ),
    "pools.lab-8b.row": ("a", "pools.lab-8b.row: site 'lab' has no row 'a'"),
    "pools.lab-8b.gpu": ("h100-smx", "scenario.*pools.lab-8b.gpu: .*did you mean 'h100-sxm'"),
    "pools.lab-8b.model": ("llama-3.1-9b", "pools.lab-8b.model: .*did you mean 'llama-3.1-8b'"),
    "pools.lab-8b.site": ("lob", "pools.lab-8b.site: unknown site 'lob'; did you mean 'lab'"),
    "pools.lab-8b.replicas": (-2, "scenario.pools.lab-8b.replicas: .*greater than 0 .got -2"),
    "pools.lab-8b.replica": (2, "pools.lab-8b.replica: unknown key; did you mean 'replicas'"),
    "pools.lab-8b.max_batch": (4096, r"max_batch \(4096\) must not exceed token_budget"),
    "pools.lab-8b.kv_tokens": (10**9, "pools.lab-8b.kv_tokens: .*do not fit"),
    "pools.lab-8b.kv_policy": ("growth", "scenario.pools.lab-8b.kv_policy: .*'reserve' or 'grow'"),
    "pools.lab-8b.migrate_prefixes": (True, "scenario.pools.lab-8b: migrate_prefixes needs prefix_cache: true"),
    "pools.lab-8b.decode_only": (True, "pools.lab-8b.decode_only: no pool names 'lab-8b' as its hand_off_to"),
    "pools.lab-8b.hand_off_to": ("lab-70b", r"hand_off_to \('lab-70b'\) needs kv_policy: grow"),
    "pools.lab-8b.host_cache_bytes": (1e9, r"host_cache_bytes \(1e\+09\) needs prefix_cache: true"),
    "pools.lab-70b.tensor_parallel": (1, "pools.lab-70b.tensor_parallel: "),
    "classes.chat-8b.model": ("llama-3.1-405b", "classes.chat-8b.model: no pool serves"),
    "classes.chat-8b.ttft_s": (-1, "scenario.classes.chat-8b.ttft_s: .*greater than 0"),
    "workload.chat-8b.kind": ("poison", "workload.chat-8b.kind: unknown stream kind 'poison'; did you mean 'poisson'"),
    "workload.chat-8b.rate": (1.0, "workload.chat-8b.*rate: unknown key; did you mean 'rate_rps'"),
    "workload.chat-8b.request_class": (
        "chat-9b",
        "workload.chat-8b.request_class: unknown class 'chat-9b'; did you mean",
    ),
    "forecast.events": ({}, r"forecast.events: events are .* leads of forecast_lead_s, which is empty; give it leads"),
    "horizon_ticks": (0, "scenario.horizon_ticks: .*greater than 0"),
    "tick_s": ("fast", "scenario.tick_s: .*got 'fast'"),
}


@pytest.mark.parametrize("key", MISTAKES)
def test_a_mistake_is_named_by_key_value_and_fix(key):
    value, message = MISTAKES[key]
    with pytest.raises(SpecError, match=message):
        load_scenario("tiny", {key: value})


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(SpecError) as caught:
        load_scenario("tiny", {"tick_s": -1, "horizon_ticks": "many"})
    assert len(caught.value.problems) == 2


def test_a_trace_too_short_for_the_episode_is_refused():
    with pytest.raises(SpecError, match=r"too short.*lower horizon_ticks"):
        load_scenario("default", {"horizon_ticks": 3600})


def test_an_unknown_scenario_is_told_the_name_that_is_nearest():
    with pytest.raises(SpecError, match="did you mean 'default'"):
        load_scenario("defualt")


def test_an_override_reaches_sections_that_the_file_leaves_out():
    scenario = load_scenario("tiny", {"uncertainty.decode_memory_fraction": [0.7, 0.99]})
    drawn = {sample_episode(scenario, seed).decode_memory_fraction[0] for seed in range(5)}
    assert len(drawn) == 5
    assert all(0.7 <= value <= 0.99 for value in drawn)


def test_an_override_into_nothing_is_refused():
    with pytest.raises(SpecError, match=r"scenario.site: unknown key; did you mean 'sites'"):
        load_scenario("tiny", {"site.lab.grid": 1})
    with pytest.raises(SpecError, match=r"'tick_s' holds a value, not keys"):
        load_scenario("tiny", {"tick_s.lab": 1})


def test_the_cap_of_a_row_is_a_share_of_the_it_nameplate_in_it():
    rows = {"a": {"cap_fraction": 0.5}, "b": {"cap_w": 1234.0}}
    overrides = {"sites.lab.facility.rows": rows, "pools.lab-8b.row": "a", "pools.lab-70b.row": "b"}
    scenario = load_scenario("tiny", overrides)
    assert scenario.row_cap_w("lab", "a") == pytest.approx(0.5 * 2 * (700.0 + 250.0))
    assert scenario.row_cap_w("lab", "b") == 1234.0


def test_a_replicas_memories_are_counted_in_tokens():
    """An 8B model keeps 131072 bytes of keys and values for a token."""
    memories = {"kv_tokens": 10_000, "kv_policy": "grow", "prefix_cache": True, "host_cache_bytes": 131072 * 5000.5}
    pool = load_scenario("tiny", {f"pools.lab-8b.{key}": value for key, value in memories.items()}).pools["lab-8b"]
    assert (pool.kv_capacity_tokens, pool.watermark_tokens, pool.host_cache_tokens) == (10_000, 100, 5000)
    assert pool.host_load_s == pytest.approx(131072 / 50e9)


def test_a_scenario_survives_its_own_dump():
    scenario = load_scenario("default")
    assert load_scenario(scenario.model_dump(mode="json")) == scenario


def handing_off(**pools: dict[str, object]) -> dict[str, object]:
    """Changes to `tiny` by which its 8B pool prefills for another."""
    receiver = {"site": "lab", "gpu": "h100-sxm", "model": "llama-3.1-8b", "decode_only": True}
    changes: dict[str, object] = {"pools.lab-8b.kv_policy": "grow", "pools.lab-8b.hand_off_to": "far"}
    return {**changes, "pools.far": receiver, **pools}


def test_a_pool_that_only_decodes_takes_no_requests():
    scenario = load_scenario("tiny", handing_off())
    assert scenario.route_mask.any(axis=0).tolist() == [True, True, False]


def test_kv_cache_travels_at_the_slower_of_both_ends():
    slow = handing_off()
    slow["pools.far.kv_bandwidth_bytes_per_s"] = 1e9
    scenario = load_scenario("tiny", slow)
    assert kv_token_s(scenario)[0, 2] == scenario.pools["lab-8b"].model_spec.kv_bytes_per_token / 1e9


def test_kv_cache_within_a_server_travels_over_the_lines_of_its_boards():
    within = handing_off()
    within |= {f"pools.{name}.kv_path": "interconnect" for name in ("lab-8b", "far")}
    scenario = load_scenario("tiny", within)
    pool = scenario.pools["far"]
    expected_s = pool.model_spec.kv_bytes_per_token / (pool.tensor_parallel * pool.interconnect_spec.send_bytes_per_s)
    assert kv_token_s(scenario)[0, 2] == pytest.approx(expected_s)
    assert kv_token_s(scenario)[0, 2] < kv_token_s(load_scenario("tiny", handing_off()))[0, 2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pools.lab-8b.hand_off_to", "fa", "pools.lab-8b.hand_off_to: unknown pool 'fa'; did you mean 'far'"),
        ("pools.lab-8b.hand_off_to", "lab-8b", "pools.lab-8b.hand_off_to: a pool cannot hand over to itself"),
        ("pools.lab-8b.hand_off_to", "lab-70b", "'lab-70b' serves 'llama-3.1-70b', not 'llama-3.1-8b'"),
        ("pools.lab-8b.decode_only", True, "decode_only: a pool that hands off .to 'far'. must take requests"),
        (
            "pools.far",
            {"site": "lab", "gpu": "h100-sxm", "model": "llama-3.1-8b", "kv_policy": "grow", "hand_off_to": "lab-8b"},
            "pools.lab-8b.hand_off_to: 'far' hands over itself",
        ),
    ],
)
def test_who_hands_over_to_whom_is_checked(key, value, message):
    with pytest.raises(SpecError, match=message):
        load_scenario("tiny", {**handing_off(), key: value})


def test_a_row_that_feeds_the_whole_site_has_every_pool_behind_it():
    scenario = load_scenario("tiny", {"sites.lab.facility.rows": {"ups": {"cap_fraction": 0.9, "whole_site": True}}})
    assert scenario.row_cap_w("lab", "ups") == pytest.approx(0.9 * scenario.it_nameplate_w("lab"))


def test_a_row_has_events_of_its_own():
    event = {"depth_fraction": 0.5, "notice_s": 5.0, "earliest_start_s": 10.0, "latest_start_s": 10.0, "hold_s": 20.0}
    ups = {"cap_w": 8000.0, "whole_site": True, "demand_response": [{**event, "ramp_s": 0.0, "recovery_s": 0.0}]}
    scenario = load_scenario("tiny", {"sites.lab.facility.rows": {"ups": ups}})
    episode = sample_episode(scenario, 0)
    np.testing.assert_allclose(episode.row_cap_w[:, 0], [8000.0] * 10 + [4000.0] * 20 + [8000.0] * 30)
    np.testing.assert_allclose(episode.row_rating_w, 8000.0)  # a promise to draw less takes nothing from a breaker


def test_two_rows_cannot_both_feed_the_whole_site():
    rows = {name: {"cap_w": 9e3, "whole_site": True} for name in "ab"}
    with pytest.raises(SpecError, match=r"sites.lab.facility: rows: only one may be whole_site \(got a, b\)"):
        load_scenario("tiny", {"sites.lab.facility.rows": rows})


def test_an_episode_lasts_no_longer_than_engines_agree():
    poisson = {"kind": "poisson", "request_class": "chat-8b", "rate_rps": 1e-5}
    lengths = {"prompt": {"median_tokens": 10, "sigma": 0}, "output": {"median_tokens": 10, "sigma": 0}}
    longest = {"workload": {"rare": {**poisson, **lengths}}, "tick_s": MAX_HORIZON_S / 100, "horizon_ticks": 100}
    assert load_scenario("tiny", longest).horizon_s == MAX_HORIZON_S
    with pytest.raises(
        SpecError, match=r"horizon_ticks: an episode may last 1e\+07 s, 101 ticks of 100000 s are 1\.01e\+07 s"
    ):
        load_scenario("tiny", {**longest, "horizon_ticks": 101})


def test_a_scenario_is_flattened_once_for_all_who_ask() -> None:
    scenario = load_scenario("tiny")
    env, power = FleetVectorEnv(scenario), PowerModel(scenario)
    assert env.engine.arrays is power.arrays is FleetArrays.from_scenario(scenario)
    other = load_scenario("tiny")
    assert FleetArrays.from_scenario(other) is not power.arrays
    assert scenario == other


def test_boards_that_share_out_experts_are_counted_and_hold_more_cache():
    eight = {"gpu": "h200-sxm", "model": "deepseek-v3", "tensor_parallel": 1, "data_parallel": 8, "expert_parallel": 8}
    changes = {f"pools.lab-70b.{key}": value for key, value in {**eight, "replicas": 1}.items()}
    pool = load_scenario("tiny", {**changes, "classes.chat-70b.model": "deepseek-v3"}).pools["lab-70b"]
    sliced = pool.model_copy(update={"tensor_parallel": 8, "data_parallel": 1, "expert_parallel": 1})
    assert pool.gpus == sliced.gpus == 8
    assert pool.profile.name == "deepseek-v3_h200-sxm_tp1_dp8_ep8"
    held = [kv_capacity_tokens(pool.gpu_spec, pool.model_spec, way.parallelism) for way in (pool, sliced)]
    assert held[0] > 4 * held[1]
