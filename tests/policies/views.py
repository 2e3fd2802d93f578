"""Hand-made views and small scenarios for policy tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenfleet.envs import FleetAction, FleetObservation, FleetVectorEnv, Record, Scenario, load_scenario
from tokenfleet.policies import PolicyContext
from tokenfleet.policies.heuristics.parts import Float64Array, Routing

EAST, WEST = 0, 1
"""The pools of `two_sites`: 2 and 4 replicas of the same kind."""


def context_of(scenario: Scenario, **changes: Any) -> PolicyContext:
    """A context without an environment."""
    observation, action = FleetObservation(scenario), FleetAction(scenario)
    parts = {"observation_space": observation.space, "action_space": action.space}
    return PolicyContext(**{**parts, "scenario": scenario, "observation": observation, "action": action, **changes})


def view_of(scenario: Scenario, num_envs: int = 1, **values: Any) -> Record:
    """A calm fleet: everything awake and idle at full clock under its contract, but for `values` (broadcast)."""
    layout = FleetObservation(scenario).layout
    view = Record(layout, np.zeros((num_envs, layout.width)))
    contract_w = np.array([scenario.contract_w(site) for site in scenario.sites])
    calm = {
        "awake_replicas": [pool.replicas for pool in scenario.pools.values()],
        "clock_fraction": 1.0,
        "cap_w": contract_w,
        "announced_cap_w": contract_w[:, None],
    }
    for name, value in {**calm, **values}.items():
        view[name][:] = value
    return view


def shares(rule: Routing, view: Record) -> Float64Array:
    """A rule's shares of the first class over the pools, summing to 1, `[P]`."""
    share = rule.shares(view)[0, 0]
    return np.asarray(share / share.sum())


def two_sites(**site_changes: Any) -> Scenario:
    """Two sites; one 8B pool of 2 H100 in the east and one of 4 in the west; one interactive class."""
    site = {"grid": {"cap_fraction": 0.8, **site_changes}}
    pool = {"gpu": "h100-sxm", "model": "llama-3.1-8b"}
    return load_scenario(
        {
            "name": "two-sites",
            "horizon_ticks": 40,
            "announced_lead_s": [5.0],
            "sites": {"east": site, "west": site},
            "pools": {"east": {**pool, "site": "east", "replicas": 2}, "west": {**pool, "site": "west", "replicas": 4}},
            "classes": {
                "chat": {
                    "model": "llama-3.1-8b",
                    "ttft_s": 0.5,
                    "tpot_s": 0.03,
                    "usd_per_million_input_tokens": 1.0,
                    "usd_per_million_output_tokens": 1.0,
                }
            },
            "workload": {
                "chat": {
                    "kind": "poisson",
                    "request_class": "chat",
                    "rate_rps": 20.0,
                    "prompt": {"median_tokens": 500, "sigma": 0.5},
                    "output": {"median_tokens": 100, "sigma": 0.5},
                }
            },
        }
    )


def episode(env: FleetVectorEnv, policy: Any, seed: int) -> dict[str, np.ndarray]:
    """One episode of every fleet: `[T, N, ...]` of actions, rewards and the outcome's fields that tests look at."""
    observation, _ = env.reset(seed=seed)
    state, start = None, np.ones(env.num_envs, bool)
    names = ("above_cap_s", "power_w", "brakes", "handed_off_tokens", "taken_over_tokens", "refused")
    names = (*names, "row_above_cap_s", "row_brakes")
    history: dict[str, list[np.ndarray]] = {
        name: [] for name in (*names, "action", "reward", "awake_replicas", "cap_w")
    }
    for _ in range(env.scenario.horizon_ticks):
        history["cap_w"].append(env.engine.view["cap_w"].copy())
        action, state = policy.predict(observation, state, start)
        observation, reward, terminated, truncated, _ = env.step(action)
        start = terminated | truncated
        for name in names:
            history[name].append(env.engine.outcome[name].copy())
        history["awake_replicas"].append(env.engine.view["awake_replicas"].copy())
        history["action"].append(action)
        history["reward"].append(reward)
    return {name: np.stack(values) for name, values in history.items()}
