"""The state of a batch is plain data from which another batch goes on exactly."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.envs.batches import SHORT, assert_same, batch, random_actions
from tests.envs.scenarios import FRAGILE


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_state_restores_exactly(mode: AutoresetMode) -> None:
    overrides = SHORT if mode is AutoresetMode.DISABLED else FRAGILE
    envs = batch(4, overrides=overrides, autoreset_mode=mode)
    envs.reset(seed=11, options={"split": "validation"})
    actions = np.abs(random_actions(envs, 60))
    played = 3 if mode is AutoresetMode.DISABLED else 17
    for action in actions[:played]:
        envs.step(action)
    state = envs.get_state()
    # An ended episode of the `played` ticks is told again at its end, sums included.
    future = [envs.step(action) for action in actions[played : played + (2 if mode is AutoresetMode.DISABLED else 30)]]
    others = batch(4, overrides=overrides, autoreset_mode=mode), copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))
    for other in others:
        other.set_state(state)
        for action, expected in zip(actions[played:], future, strict=False):
            assert_same(other.step(action), expected)


def test_a_state_is_plain_data() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    envs.step(random_actions(envs, 1)[0])
    state = envs.get_state()
    plain = json.loads(json.dumps(state, default=lambda array: array.tolist()))
    observations = envs.step(random_actions(envs, 2)[1])[0]
    envs.set_state(plain)
    assert_same(envs.step(random_actions(envs, 2)[1])[0], observations)


def test_a_state_remembers_actions_that_were_overwritten() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    buffer = np.empty(envs.action_space.shape, np.float32)
    for actions in random_actions(envs, 4):
        buffer[:] = actions
        observations, *_ = envs.step(buffer)
    assert_same(envs.set_state(envs.get_state()), observations)


def test_a_state_of_another_batch_is_refused() -> None:
    envs = batch(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="the state holds 2 fleets, the environment 3"):
        batch(3).set_state(envs.get_state())
