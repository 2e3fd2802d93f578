"""What a program hands to an environment by mistake, answered in the terms of what it was handed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError

from tokenfleet.envs import FleetEnv, FleetVectorEnv, SpecError

SIZE = FleetEnv("tiny").action_space.shape[0]  # type: ignore[index]

ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "split": ({"split": ["test"]}, r"^split: unknown split \['test'\]"),
    "overrides": ({"overrides": "horizon_ticks=3"}, r"^overrides: must be a mapping of dotted keys to values"),
    "a key of overrides": ({"overrides": {3: 4}}, r"^overrides: must be a mapping .* \(got the key 3\)"),
    "reward_weights": ({"reward_weights": [1.0]}, r"^reward_weights: must be a mapping of terms to numbers"),
    "search_paths": ({"search_paths": "mine"}, r"^catalog\.search_paths: must be a list of folders \(got 'mine'\)"),
    "scenario": ({"scenario": 3}, r"^scenario: must be a name, a path or a mapping"),
    "a part": ({"reward": 3}, r"^reward=builtins:int: must be a part, or a class that takes the scenario \(got 3\)"),
    "render_mode": ({"render_mode": ["ansi"]}, r"^render_mode: unknown mode \['ansi'\]"),
}


@pytest.mark.parametrize("kind", [FleetEnv, FleetVectorEnv])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_wrong_argument_is_named(kind: type[FleetEnv], name: str) -> None:
    arguments, message = ARGUMENTS[name]
    with pytest.raises(SpecError, match=message):
        kind(**{"scenario": "tiny", **arguments})


@pytest.mark.parametrize("mode", [["SAME_STEP"], None, 3])
def test_a_wrong_autoreset_mode_is_named(mode: Any) -> None:
    with pytest.raises(SpecError, match=r"^autoreset_mode: unknown mode"):
        FleetVectorEnv("tiny", 2, autoreset_mode=mode)


OPTIONS: dict[str, tuple[Any, str]] = {
    "a split alone": ("test", r"^options: must be a dict such as \{'split': 'test'\} \(got 'test'\); did you mean"),
    "a number": (3, r"^options: must be a dict such as \{'split': 'test'\} \(got 3\)$"),
    "a list": (["split"], r"^options: must be a dict such as"),
    "a wrong split": ({"split": "tset"}, r"^options\.split: unknown split 'tset'; did you mean 'test'\?"),
    "a list of splits": ({"split": ["test"]}, r"^options\.split: unknown split \['test'\]"),
}


@pytest.mark.parametrize("kind", [FleetEnv, FleetVectorEnv])
@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options_of_a_reset_are_named(kind: type[FleetEnv], name: str) -> None:
    options, message = OPTIONS[name]
    with pytest.raises(SpecError, match=message):
        kind("tiny").reset(options=options)


def test_the_options_of_many_are_not_offered_to_one() -> None:
    with pytest.raises(SpecError, match=r"^options\.reset_mask: unknown option \(choose from split\)$"):
        FleetEnv("tiny").reset(options={"reset_mask": np.array([True])})


@pytest.mark.parametrize("kind", [FleetEnv, FleetVectorEnv])
@pytest.mark.parametrize("seed", ["seven", 1.5, -1, True])
def test_a_wrong_seed_is_named(kind: type[FleetEnv], seed: Any) -> None:
    with pytest.raises(SpecError, match=r"^seed: must be a whole number"):
        kind("tiny").reset(seed=seed)


ACTIONS: dict[str, tuple[Any, str]] = {
    "a batch": (np.zeros((1, SIZE)), rf"^action must be numbers of shape \[{SIZE}\] \(got shape \[1, {SIZE}\]\)$"),
    "one number": (0.5, rf"^action must be numbers of shape \[{SIZE}\] \(got shape \[\]\)$"),
    "nothing": (None, rf"^action must be numbers of shape \[{SIZE}\] \(got None\)$"),
    "words": ("full speed", rf"^action must be numbers of shape \[{SIZE}\] \(got 'full speed'\)$"),
    "not numbers": (np.where(np.arange(SIZE) == 2, np.nan, 0.0), r"^action holds NaN in entries \[2\]$"),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_wrong_action_of_one_environment_is_told_with_the_shape_of_one(name: str) -> None:
    action, message = ACTIONS[name]
    env = FleetEnv("tiny")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


@pytest.mark.parametrize("actions", [None, "full speed", 0.5, [[None]]])
def test_wrong_actions_of_several_environments_are_told_with_the_shape_of_all(actions: Any) -> None:
    envs = FleetVectorEnv("tiny", 2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"^actions(: must be as many as fleets, 2| must be an array of numbers)"):
        envs.step(actions)


USES: dict[str, Callable[[Any], Any]] = {
    "step": lambda env: env.step(np.zeros(env.action_space.shape, np.float32)),
    "reset": lambda env: env.reset(seed=0),
    "render": lambda env: env.render(),
}


@pytest.mark.parametrize("kind", [FleetEnv, FleetVectorEnv])
@pytest.mark.parametrize("use", USES)
def test_a_closed_environment_says_so(kind: type[FleetEnv], use: str) -> None:
    env = kind("tiny", render_mode="ansi")
    env.reset(seed=0)
    env.close()
    env.close()  # twice is once
    with pytest.raises(ClosedEnvironmentError, match="the environment is closed; make a new one"):
        USES[use](env)


def test_a_closed_environment_that_gymnasium_made_says_so() -> None:
    env = gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario="tiny")
    env.reset(seed=0)
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        env.reset()


def test_a_step_before_the_first_reset_of_one_environment_speaks_of_one() -> None:
    with pytest.raises(RuntimeError, match=r"^reset the environment before the first step$"):
        FleetEnv("tiny").step(np.zeros(SIZE))
