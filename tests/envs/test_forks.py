"""Fleets of an environment that are forked, held and brought back are the same fleets, to the bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.conftest import ENGINE
from tests.envs.batches import SHORT, assert_same, batch, random_actions
from tests.envs.scenarios import FRAGILE
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv


def begun(mode: AutoresetMode, num_envs: int = 4, **arguments: object) -> tuple[FleetVectorEnv, np.ndarray]:
    """An environment some ticks on, and the actions that follow."""
    overrides = SHORT if mode is AutoresetMode.DISABLED else FRAGILE
    envs = batch(num_envs, overrides=overrides, autoreset_mode=mode, **arguments)
    envs.reset(seed=11, options={"split": "validation"})
    actions = np.abs(random_actions(envs, 60))
    played = 3 if mode is AutoresetMode.DISABLED else 17
    for action in actions[:played]:
        envs.step(action)
    return envs, actions[played : played + (2 if mode is AutoresetMode.DISABLED else 30)]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_snapshot_brings_everything_back(mode: AutoresetMode) -> None:
    envs, actions = begun(mode)
    held = envs.snapshot()
    future = [envs.step(action) for action in actions]
    others = envs, copy.deepcopy(envs), begun(mode)[0]
    for other in others:
        for _ in range(2):
            other.restore(held)
            for action, expected in zip(actions, future, strict=True):
                assert_same(other.step(action), expected)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_fork_shares_its_source_s_life_and_episodes_to_come(mode: AutoresetMode) -> None:
    envs, actions = begun(mode)
    held = envs.snapshot()
    unforked = [envs.step(action) for action in actions]
    envs.restore(held)
    envs.fork([2, 2], [0, 3])
    for action, (observations, rewards, *_) in zip(actions, unforked, strict=True):
        shared = action[[2, 1, 2, 2]]
        mine, earned, *_ = envs.step(shared)
        assert_same(mine[[1, 2]], observations[[1, 2]])
        assert_same(earned[[1, 2]], rewards[[1, 2]])
        assert_same(mine[[0, 3]], observations[[2, 2]])
        assert_same(earned[[0, 3]], rewards[[2, 2]])


def test_stepping_a_fork_never_changes_its_source() -> None:
    envs, actions = begun(AutoresetMode.NEXT_STEP)
    twin = copy.deepcopy(envs)
    envs.fork([0], [1])
    for action in actions:
        strange = np.concatenate([action[:1], -action[1:]])
        assert_same(envs.step(strange)[0][0], twin.step(action)[0][0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_state_of_a_fork_is_that_of_its_source(mode: AutoresetMode) -> None:
    """Controls are remembered through forks and snapshots: the durable form replays them."""
    envs, actions = begun(mode)
    envs.fork([3], [0])
    envs.step(actions[0])
    envs.restore(envs.snapshot())
    observations, *_ = envs.step(actions[1])
    state = envs.get_state()
    assert_same(pickle.loads(pickle.dumps(envs)).set_state(state), observations)


def test_a_fork_has_the_picture_ledger_and_log_of_its_source() -> None:
    envs, actions = begun(AutoresetMode.NEXT_STEP, render_mode="ansi")
    envs.fork([1], [0])
    envs.step(actions[0][[1, 1, 2, 3]])
    frames = envs.render()
    assert frames is not None
    assert frames[0] == frames[1]
    assert envs.ledger(0) == envs.ledger(1)
    assert_same(vars(envs.request_log(0)), vars(envs.request_log(1)))


def test_a_single_environment_goes_back_to_a_snapshot() -> None:
    env = FleetEnv("tiny", engine=ENGINE, overrides=SHORT)
    env.action_space.seed(0)
    env.reset(seed=5)
    env.step(env.action_space.sample())
    held, action = env.snapshot(), env.action_space.sample()
    first = env.step(action)
    env.reset()
    env.restore(held)
    assert_same(env.step(action), first)


@pytest.mark.parametrize("wrong", [0, [0.5], ["0"], [None], [True], [float("nan")]])
def test_what_is_no_list_of_fleets_is_refused_and_nothing_happens(wrong: Any) -> None:
    envs, actions = begun(AutoresetMode.NEXT_STEP)
    twin, held = copy.deepcopy(envs), envs.snapshot()
    calls: dict[str, Callable[[], object]] = {
        "sources": lambda: envs.fork(wrong, [1]),
        "targets": lambda: envs.fork([1], wrong),
        "fleets": lambda: envs.restore(held, wrong),
    }
    for name, call in calls.items():
        with pytest.raises(SpecError, match=rf"^{name}: must be a list of numbers of fleets, such as \[0\] \(got "):
            call()
    with pytest.raises(SpecError, match=r"^fleets: must be a list"):
        envs.snapshot(wrong)
    for action in actions:
        assert_same(envs.step(action), twin.step(action))


def test_a_restore_that_cannot_be_leaves_every_fleet_as_it_was() -> None:
    envs, actions = begun(AutoresetMode.NEXT_STEP)
    held = envs.snapshot()
    envs.step(actions[0])
    twin = copy.deepcopy(envs)
    with pytest.raises(IndexError, match=r"^fleets: must be from 0 to 3, as there are 4 fleets \(got 9\)$"):
        envs.restore(held, [0, 1, 2, 9])
    with pytest.raises(SpecError, match=r"fleets: a fleet can become one other \(fleet 0 is named more than once\)"):
        envs.restore(held, [0, 0, 1, 2])
    with pytest.raises(SpecError, match=r"snapshot: must be what `snapshot` gave \(got None\)"):
        envs.restore(None)  # type: ignore[arg-type]
    assert_same(envs.step(actions[1]), twin.step(actions[1]))


@pytest.mark.parametrize(("sources", "targets", "argument"), [([4], [0], "sources"), ([0], [4], "targets")])
def test_a_fork_names_the_argument_that_is_no_fleet(sources: list[int], targets: list[int], argument: str) -> None:
    envs, _ = begun(AutoresetMode.NEXT_STEP)
    with pytest.raises(IndexError, match=rf"^{argument}: must be from 0 to 3, as there are 4 fleets \(got 4\)$"):
        envs.fork(sources, targets)


def test_snapshots_of_others_are_refused() -> None:
    envs, _ = begun(AutoresetMode.NEXT_STEP)
    held = envs.snapshot([0, 1])
    with pytest.raises(ValueError, match="the snapshot holds 2 fleets, for 4"):
        envs.restore(held)
    with pytest.raises(SpecError, match="snapshot: is of another fleet"):
        FleetVectorEnv("default", 2, engine=ENGINE).restore(held)
    with pytest.raises(SpecError, match="snapshot: is of another kind of action"):
        batch(4, overrides=FRAGILE, action="setpoints").restore(envs.snapshot())
    with pytest.raises(TypeError, match="a snapshot is valid in this process only; get_state gives"):
        pickle.dumps(held)
    with pytest.raises(RuntimeError, match="reset every fleet"):
        batch(2).fork([0], [1])
