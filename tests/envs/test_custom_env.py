"""The example of a user's own environment is a good one."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

ENV_ID = "examples.custom_env.battery:battery/Battery-v0"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> gymnasium.Env:
    monkeypatch.syspath_prepend(request.config.rootpath)
    return gymnasium.make(ENV_ID).unwrapped


def test_both_checkers_have_nothing_to_say(env: gymnasium.Env) -> None:
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
        sb3_check_env(env, warn=True)


def earned_usd(env: gymnasium.Env, power: float) -> float:
    """What a day and a half of steady `power`, then its opposite, earns."""
    env.reset(seed=0)
    env.price[:] = 60.0
    total = 0.0
    for tick in range(192):
        action = np.array([power if tick < 96 else -power], np.float32)
        *_, truncated, info = env.step(action)
        total += info["earned_usd"]
        assert truncated == (tick == 191)
    return total


def test_a_round_trip_at_a_flat_price_loses_what_the_battery_loses(env: gymnasium.Env) -> None:
    # Half full at first: buys 2 / 0.9 MWh to fill up, then sells all 4.
    assert earned_usd(env, 1.0) == pytest.approx(60 * (4 - 2 / 0.9), rel=1e-6)
    # Sells 2 MWh, then buys 4 / 0.9 to fill up.
    assert earned_usd(env, -1.0) == pytest.approx(60 * (2 - 4 / 0.9), rel=1e-6)
