"""An environment, wrapper or algorithm of the user's own that fails: its part, the user's line, exit status 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.command_line import QUICK, Run, check_refusal, tree

PARTS = '''\
import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from stable_baselines3 import PPO


class Sound(gymnasium.Env):
    """Five steps of nothing."""
    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 0.0, self.steps % 5 == 0, False, {}


class Sized(Sound):
    def __init__(self, size, *, depth=1): self.size = self.argument(size)
    def argument(self, size): return size + "an argument"


class Unstartable(Sound):
    def reset(self, *, seed=None, options=None): return self.first_state, {}


class Fragile(Sound):
    def step(self, action): return [][self.steps], *super().step(action)[1:]


class Thin(gymnasium.Wrapper):
    def step(self, action): raise RuntimeError("torn")


class Thick(VectorWrapper):
    def step(self, actions): return self.env.step(actions)[7]


class Unwearable(VectorWrapper):
    def __init__(self, env): super().__init__(env); env.metadata["no such key"]


class Dull(PPO):
    def train(self): raise ArithmeticError("nothing to learn")


class Unmade(PPO):
    def __init__(self, policy, env, **more): super().__init__(policy, env, **more); 1 / 0


gymnasium.register("mine/Fragile-v0", Fragile)
'''


def line_of(text: str) -> int:
    return PARTS[: PARTS.index(text)].count("\n") + 1


def failure(part: str, text: str, what: str) -> str:
    return rf"^{part}: my_parts\.py:{line_of(text)}: {what}; mend that line$"


ENVIRONMENTS = {
    "env.id=my_parts:Unstartable": failure("env.id=my_parts:Unstartable", "self.first_state", "AttributeError: .*"),
    "env.id=my_parts:Fragile": failure("env.id=my_parts:Fragile", "[][self", "IndexError: list index out of range"),
    "env.id=my_parts:mine/Fragile-v0": failure("env.id=my_parts:mine/Fragile-v0", "[][self", "IndexError: .*"),
    "env.id=my_parts:Sized env.kwargs.size=3": failure("env.id=my_parts:Sized", 'size + "', "TypeError: .*"),
    "env.id=my_parts:Sized": r"^env\.kwargs\.size: missing; this key is required$",
    "env.id=my_parts:Sized env.kwargs.size=3 env.kwargs.dept=2": r"^env\.kwargs\.dept: unknown key; did you mean 'd",
    "env.id=my_parts:mine/Fragile-v0 env.kwargs.size=3": r"^env\.kwargs\.size: unknown key$",
    "env.id=my_parts:Sound env.wrappers=my_parts:Thin": failure(
        r"env\.wrappers\[0\]=my_parts:Thin", '"torn"', "RuntimeError: torn"
    ),
    "env.id=my_parts:Sound env.wrappers=my_parts:Thick": failure(
        r"env\.wrappers\[0\]=my_parts:Thick", "(actions)[7]", "IndexError: .*"
    ),
    "scenario=tiny env.wrappers=my_parts:Thick": failure(
        r"env\.wrappers\[0\]=my_parts:Thick", "(actions)[7]", "IndexError: .*"
    ),
    "env.id=my_parts:Sound env.wrappers=my_parts:Unwearable": failure(
        r"env\.wrappers\[0\]=my_parts:Unwearable", '"no such key"', "KeyError: no such key"
    ),
}


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)


@pytest.mark.parametrize("script", [f"train {QUICK}", "evaluate policies=random episodes=2 figures=false"])
@pytest.mark.parametrize("typed", ENVIRONMENTS)
def test_an_environment_that_fails_is_named_with_its_line(script: str, typed: str, run: Run, tmp_path: Path) -> None:
    check_refusal(run(f"{script} {typed} hydra.run.dir=run"), [ENVIRONMENTS[typed]])
    assert [name for name in tree(tmp_path) if name.startswith("run")] == []


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [("Dull", '"nothing to', "ArithmeticError: nothing to learn"), ("Unmade", "1 / 0", "ZeroDivisionError: .*")],
)
def test_an_algorithm_that_fails_is_named_with_its_line(name: str, text: str, what: str, run: Run) -> None:
    kwargs = "algo.kwargs.n_steps=32 algo.kwargs.batch_size=32 total_timesteps=64 n_envs=2"
    typed = f"train scenario=tiny algo=my_parts:{name} {kwargs} validation.every=null tracking=none"
    check_refusal(run(typed), [failure(f"algo.model=my_parts:{name}", text, what)])


def test_an_argument_that_a_registered_environment_takes_is_passed_on(run: Run) -> None:
    typed = "env.id=CartPole-v1 env.kwargs.sutton_barto_reward=true env.kwargs.max_episode_steps=3"
    assert run(f"evaluate {typed} policies=random episodes=2 figures=false").code == 0
