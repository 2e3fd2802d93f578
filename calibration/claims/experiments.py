"""Experiments on the engine that the facts in `claims.emergent` are read from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.replay import per_gap_s
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

A100_70B = {"gpu": "a100-sxm-80gb", "model": "llama-3.1-70b", "tensor_parallel": 4}
H100_70B = {"gpu": "h100-sxm", "model": "llama-3.1-70b", "tensor_parallel": 4}
PRICES = {"usd_per_million_input_tokens": 0.4, "usd_per_million_output_tokens": 0.4}


def energy_per_token(pool: dict[str, Any], clock: float, prompt: int = 1000, output: int = 200) -> tuple[float, float]:
    """Board energy [J] per generated token, and tokens per second, with 48 closed loops that never rest."""
    scenario = _one_pool(pool)
    arrays = FleetArrays.from_scenario(scenario)
    engine = make_engine("native", arrays, 1)
    engine.reset(0, replace(sample_episode(scenario, 0), requests=_loops(48, 200, prompt, output)))
    one = np.ones((1, 1))
    controls = Controls(np.ones((1, 1, 1)), clock * one, one, np.inf * one)
    tokens = joules = 0.0
    for tick in range(scenario.horizon_ticks):
        engine.step(controls)
        if tick >= scenario.horizon_ticks // 6:
            tokens += float(engine.outcome["generated_tokens"].sum())
            joules += float(engine.outcome["it_energy_j"].sum() - arrays.host_w[0] * scenario.tick_s)
    return joules / tokens, tokens / (scenario.horizon_s * 5 / 6)


def _one_pool(pool: dict[str, Any]) -> Scenario:
    lengths = {"median_tokens": 100, "sigma": 0.0}
    model = pool["model"]
    return load_scenario(
        {
            "name": "one-pool",
            "tick_s": 10.0,
            "horizon_ticks": 60,
            "sites": {"site": {"grid": {"cap_fraction": 10.0}}},
            "pools": {"pool": {"site": "site", **pool}},
            "classes": {"class": {"model": model, "patience_s": 1e9, **PRICES}},
            "workload": {
                "stream": {
                    "kind": "poisson",
                    "request_class": "class",
                    "rate_rps": 1.0,
                    "prompt": lengths,
                    "output": lengths,
                }
            },
        }
    )


def _loops(loops: int, calls: int, prompt: int, output: int) -> RequestTable:
    """Calls that follow each other without a pause in each of `loops` closed loops."""
    rows = loops * calls
    follows = np.arange(rows) >= loops
    edges = np.stack([np.arange(rows - loops), np.arange(loops, rows)], axis=1)
    start_s = np.where(follows, np.inf, 0.0)
    return RequestTable.of(start_s, [prompt] * rows, [output] * rows, predecessors=follows, edges=edges)


def row_of(replicas: int, cap_w: float) -> Scenario:
    """A site of A100 replicas of a 70B model with 1.5 real chat requests per second each."""
    slo = {"slo": "llama2-70b", **PRICES}
    stream = {"kind": "trace", "request_class": "chat", "trace": "azure-chat-2023", "rate_rps": 1.5 * replicas}
    return load_scenario(
        {
            "name": "row",
            "horizon_ticks": 600,
            "sites": {"site": {"grid": {"cap_w": cap_w}}},
            "pools": {"pool": {"site": "site", **A100_70B, "replicas": replicas}},
            "classes": {"chat": {"model": A100_70B["model"], **slo}},
            "workload": {"chat": stream},
        }
    )


def slo_attainment(scenario: Scenario, policy: str) -> float:
    """Share of requests within their SLO, two validation episodes."""
    return _episodes(scenario, policy)["slo_attainment"]


class Served(NamedTuple):
    """Times of the requests of some episodes that got a first token, `[R]`."""

    ttft_s: Array
    tpot_s: Array  # nan for an answer of one token or one that is not complete


def chat_of(stream: dict[str, Any], pools: dict[str, dict[str, Any]]) -> Scenario:
    """A site whose cap never binds, with one class of requests."""
    model = H100_70B["model"]
    return load_scenario(
        {
            "name": "chat",
            "horizon_ticks": 400,
            "sites": {"site": {"grid": {"cap_fraction": 10.0}}},
            "pools": {name: {"site": "site", **pool} for name, pool in pools.items()},
            "classes": {"chat": {"model": model, "patience_s": 1e9, **PRICES}},
            "workload": {"chat": {**stream, "request_class": "chat"}},
        }
    )


def served(scenario: Scenario, episodes: int = 2, prefix_affinity: float = 1.0) -> Served:
    """What requests get in validation episodes at full clocks with everything awake."""
    arrays = FleetArrays.from_scenario(scenario)
    engine = make_engine("native", arrays, 1)
    neutral = Controls.neutral(1, arrays.route_mask.astype(float))
    controls = replace(neutral, prefix_affinity=np.full((1, arrays.num_classes), prefix_affinity))
    ttft_s, tpot_s = [], []
    for seed in range(episodes):
        episode = sample_episode(scenario, seed, "validation")
        engine.reset(0, episode)
        for _ in range(scenario.horizon_ticks):
            engine.step(controls)
        log, output_tokens = engine.request_log(0), episode.requests.output_tokens
        answered = np.isfinite(log.first_token_s)
        ttft_s.append((log.first_token_s - log.asked_s)[answered])
        tpot_s.append(per_gap_s(log.finished_s - log.first_token_s, output_tokens)[answered])
    return Served(np.concatenate(ttft_s), np.concatenate(tpot_s))


def spread(values: Array) -> float:
    """The 99th percentile over the median, without nan."""
    median, tail = np.nanquantile(values, [0.5, 0.99])
    return float(tail / median)


def swarm(affinity: float) -> tuple[float, float]:
    """Prompt tokens computed for each call of `agent-swarm`, and mean time to first token [s], with clocks at 0.8."""
    scenario = load_scenario("agent-swarm")
    arrays = FleetArrays.from_scenario(scenario)
    engine = make_engine("native", arrays, 1)
    computed = calls = first_tokens = waited_s = 0.0
    for seed in range(4):
        engine.reset(0, sample_episode(scenario, seed, "validation"))
        share = arrays.route_mask.astype(float)
        controls = replace(Controls.neutral(1, share), prefix_affinity=np.full((1, arrays.num_classes), affinity))
        controls = replace(controls, clock_fraction=np.full_like(controls.clock_fraction, 0.8))
        for _ in range(scenario.horizon_ticks):
            engine.step(controls)
            computed += float(engine.outcome["prefilled_tokens"].sum())
            calls += float(engine.outcome["arrived"].sum())
            first_tokens += float(engine.outcome["first_tokens"].sum())
            waited_s += float(engine.outcome["ttft_sum_s"].sum())
    return computed / calls, waited_s / first_tokens


def _episodes(scenario: Scenario, name: str) -> dict[str, float]:
    env = FleetVectorEnv(scenario, 2, split="validation")
    policy: Any = make_policy(name, PolicyContext.from_env(env))
    observation, info = env.reset(seed=0)
    state, starts = None, np.ones(2, np.bool_)
    for _ in range(scenario.horizon_ticks):
        action, state = policy.predict(observation, state, starts, True)
        observation, _, _, _, info = env.step(action)
        starts = np.zeros(2, np.bool_)
    return {key: float(np.mean(values)) for key, values in info["episode_metrics"].items() if not key.startswith("_")}
