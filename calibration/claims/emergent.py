"""Published facts that nobody put in: they must come out of the engine.

Each fact is a function that returns what it found as text, and whether it is as published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from calibration.claims.experiments import (
    A100_70B,
    H100_70B,
    chat_of,
    energy_per_token,
    row_of,
    served,
    slo_attainment,
    spread,
    swarm,
)

CLOCKS = tuple(round(0.4 + 0.05 * step, 2) for step in range(13))


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
    spreads = {name: spread(served(chat_of(stream, pools)).tpot_s) for name, pools in runs.items()}
    name = "Prefill on other replicas keeps the time per output token steady"
    published = (
        "prefill interferes with decoding in one batch (DistServe, arXiv:2401.09670; Splitwise, arXiv:2311.18677)"
    )
    found = f"p99 of TPOT over its median: {spreads['mixed']:.2f} mixed, {spreads['apart']:.2f} apart"
    return Fact(name, published, found, spreads["apart"] < 1.0 + 0.5 * (spreads["mixed"] - 1.0))


FACTS: tuple[Callable[[], Fact], ...] = (
    u_shaped_energy,
    decode_saves_with_slower_clocks,
    oversubscription,
    routing_of_agents,
    routing_of_chat,
    decoding_apart,
)
