"""Published facts that nobody put in: they must come out of the engine.

Each fact is a function that returns what it found as text, and whether it is as published.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

CLOCKS = tuple(round(0.4 + 0.05 * step, 2) for step in range(13))
A100_70B = {"gpu": "a100-sxm-80gb", "model": "llama-3.1-70b", "tensor_parallel": 4}
H100_70B = {"gpu": "h100-sxm", "model": "llama-3.1-70b", "tensor_parallel": 4}


class Fact(NamedTuple):
    """A published fact and what the engine says of it."""

    name: str
    published: str
    found: str
    holds: bool


def u_shaped_energy() -> Fact:
    """Energy per token of a saturated A100 replica that prefills and decodes, by clock."""
    joules = [energy_per_token(A100_70B, clock)[0] for clock in CLOCKS]
    best = int(np.argmin(joules))
    found = f"least at {CLOCKS[best]:.2f}; {joules[0] / joules[best]:.2f} times as much at {CLOCKS[0]}, "
    found += f"{joules[-1] / joules[best]:.2f} times at 1"
    name = "Energy per token against clock is U-shaped for mixed serving"
    published = "minimum near 0.71 of the top clock (VoltanaLLM, arXiv:2509.04827, A100)"
    return Fact(name, published, found, 0 < best < len(CLOCKS) - 1 and abs(CLOCKS[best] - 0.71) <= 0.1)


def decode_saves_with_slower_clocks() -> Fact:
    """Energy and speed of a replica that almost only decodes, at full clock and at 0.7."""
    full, slow = (energy_per_token(H100_70B, clock, prompt=64, output=800) for clock in (1.0, 0.7))
    saved, slower = 1.0 - slow[0] / full[0], 1.0 - slow[1] / full[1]
    name = "Locking a slower clock saves much decode energy at little speed"
    published = "up to 32 % at little loss, while power caps never bind (arXiv:2605.11999, H200)"
    return Fact(name, published, f"at 0.7: {saved:.0%} less energy a token, {slower:.0%} slower", saved > 2.0 * slower)


def oversubscription() -> Fact:
    """SLO attainment of 20 replicas, and of 26 with the same load each under the limit of 20."""
    limit_w = row_of(20, 1e9).nameplate_w("site")
    base = slo_attainment(row_of(20, limit_w), "max_clock")
    capped, blind = (slo_attainment(row_of(26, limit_w), name) for name in ("feedback_capping", "max_clock"))
    name = "Thirty per cent more servers under the same limit cost little with frequency capping"
    published = "+30 % servers at minimal loss (POLCA, arXiv:2308.12908)"
    found = f"requests within SLO: {base:.1%} before, {capped:.1%} with capping, {blind:.1%} without"
    return Fact(name, published, found, capped > base - 0.02 and blind < capped - 0.02)


def routing_of_agents() -> Fact:
    """Computed prompt tokens and time to first token of `agent-swarm` with and without regard to prefixes."""
    aware, blind = (swarm(affinity) for affinity in (1.0, 0.0))
    name = "Least-loaded routing loses to prefix-aware routing on agent sessions"
    published = "prefix- and load-scored routers (llm-d, Dynamo)"
    found = f"tokens computed for each call: {aware[0]:,.0f} with regard to prefixes, {blind[0]:,.0f} by load alone; "
    found += f"mean TTFT {aware[1]:.1f} s against {blind[1]:.1f} s"
    return Fact(name, published, found, aware[0] < blind[0] and aware[1] < blind[1])


def routing_of_chat() -> Fact:
    """Time to first token of recorded chat on 8 replicas, by load alone and always where a conversation's prefix is."""
    stream = {"kind": "conversations", "trace": "mooncake-chat", "rate_rps": 5.0}
    scenario = chat_of(stream, {"pool": {**H100_70B, "replicas": 8, "prefix_cache": True, "kv_policy": "grow"}})
    by_load, weighed, sticky = (served(scenario, prefix_affinity=affinity).ttft_s for affinity in (0.0, 1.0, np.inf))
    name = "On chat, least-loaded routing wins over always returning to the prefix"
    published = "prefixes of chat are short against its new tokens; routers score load and prefix (llm-d, Dynamo)"
    found = f"mean TTFT {by_load.mean():.2f} s by load alone, {sticky.mean():.2f} s always returning, "
    found += f"{weighed.mean():.2f} s weighing both"
    return Fact(name, published, found, by_load.mean() < sticky.mean())


def decoding_apart() -> Fact:
    """Time per output token of real chat on four replicas: each does everything, or two prefill and two decode."""
    stream = {"kind": "trace", "trace": "azure-chat-2023", "rate_rps": 12.0}
    grows = {**H100_70B, "kv_policy": "grow"}
    halves = {
        "prefill": {**grows, "replicas": 2, "token_budget": 8192, "hand_off_to": "decode"},
        "decode": {**grows, "replicas": 2, "decode_only": True},
    }
    runs = {"mixed": {"pool": {**grows, "replicas": 4}}, "apart": halves}
    spread = {name: _spread(served(chat_of(stream, pools)).tpot_s) for name, pools in runs.items()}
    name = "Prefill on other replicas keeps the time per output token steady"
    published = (
        "prefill interferes with decoding in one batch (DistServe, arXiv:2401.09670; Splitwise, arXiv:2311.18677)"
    )
    found = f"p99 of TPOT over its median: {spread['mixed']:.2f} mixed, {spread['apart']:.2f} apart"
    return Fact(name, published, found, spread["apart"] < 1.0 + 0.5 * (spread["mixed"] - 1.0))


FACTS: tuple[Callable[[], Fact], ...] = (
    u_shaped_energy,
    decode_saves_with_slower_clocks,
    oversubscription,
    routing_of_agents,
    routing_of_chat,
    decoding_apart,
)


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
            "classes": {"class": {"model": model, "patience_s": 1e9, **_PRICES}},
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


_PRICES = {"usd_per_million_input_tokens": 0.4, "usd_per_million_output_tokens": 0.4}


def _loops(loops: int, calls: int, prompt: int, output: int) -> RequestTable:
    """Calls that follow each other without a pause in each of `loops` closed loops."""
    rows = loops * calls
    follows = np.arange(rows) >= loops
    edges = np.stack([np.arange(rows - loops), np.arange(loops, rows)], axis=1)
    start_s = np.where(follows, np.inf, 0.0)
    return RequestTable.of(start_s, [prompt] * rows, [output] * rows, predecessors=follows, edges=edges)


def row_of(replicas: int, cap_w: float) -> Scenario:
    """A site of A100 replicas of a 70B model with 1.5 real chat requests per second each."""
    slo = {"slo": "llama2-70b", **_PRICES}
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
    """What the requests of some episodes got, of those that were served."""

    ttft_s: NDArray[np.float64]
    tpot_s: NDArray[np.float64]  # nan for an answer of one token or one that is not complete


def chat_of(stream: dict[str, Any], pools: dict[str, dict[str, Any]]) -> Scenario:
    """A site whose cap never binds, with one class of requests."""
    model = H100_70B["model"]
    return load_scenario(
        {
            "name": "chat",
            "horizon_ticks": 400,
            "sites": {"site": {"grid": {"cap_fraction": 10.0}}},
            "pools": {name: {"site": "site", **pool} for name, pool in pools.items()},
            "classes": {"chat": {"model": model, "patience_s": 1e9, **_PRICES}},
            "workload": {"chat": {**stream, "request_class": "chat"}},
        }
    )


def served(scenario: Scenario, episodes: int = 2, prefix_affinity: float = 1.0) -> Served:
    """Validation episodes at full clocks with everything awake."""
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
        gaps = np.where(output_tokens > 1, output_tokens - 1.0, np.nan)
        ttft_s.append((log.first_token_s - log.asked_s)[answered])
        tpot_s.append(((log.finished_s - log.first_token_s) / gaps)[answered])
    return Served(np.concatenate(ttft_s), np.concatenate(tpot_s))


def _spread(values: NDArray[np.float64]) -> float:
    """The 99th percentile over the median, without nan."""
    median, tail = np.nanquantile(values, [0.5, 0.99])
    return float(tail / median)


def swarm(affinity: float) -> tuple[float, float]:
    """Prompt tokens computed for each call, and mean time to first token [s], of `agent-swarm` by prefix affinity."""
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
