"""A policy decides something that a fleet can do, whatever numbers within their bounds a tuner gives it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.registry import POLICIES
from tokenfleet.policies.shipped import LOADED
from tokenfleet.policies.tunable import tunable

TUNABLE = [name for name, preset in POLICIES.items() if name != "random" and preset.group not in ("planner", LOADED)]
DRAWS, TICKS = 3, 25


@pytest.fixture(scope="module")
def env() -> Iterator[FleetVectorEnv]:
    env = FleetVectorEnv("default", 4, split="train")
    yield env
    env.close()


@pytest.mark.parametrize("name", TUNABLE)
def test_any_numbers_give_controls_that_a_fleet_accepts(name: str, env: FleetVectorEnv) -> None:
    context = PolicyContext.from_env(env)
    subject = tunable(name, context)
    for draw in range(DRAWS):
        steps = np.random.default_rng(draw).normal(size=len(subject.start))
        policy = make_policy(subject.choice(subject.start + steps), context)
        observations, _ = env.reset(seed=draw)
        state, starts = None, np.ones(env.num_envs, np.bool_)
        for _ in range(TICKS):
            controls, state = policy.decide(observations, state, starts)
            observations, *_ = env.step(controls)  # raises where a control is out of its bounds
            starts = np.zeros(env.num_envs, np.bool_)
