"""Code of the user's own that fails: the part, the user's line and the way out, on the command line and in Python."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import QUICK, Run, check_refusal
from tokenfleet.envs import FleetEnv, FleetVectorEnv, SpecError
from tokenfleet.envs.user_code import UserCodeError

PARTS = '''\
from typing import ClassVar
import numpy as np
from tokenfleet.envs import FleetAction, FleetObservation
from tokenfleet.envs.layers.agents import Demand, StreamSpec
from tokenfleet.policies.base import ControlPolicy


class Misspelt:
    def __init__(self, scenario): pass
    def __call__(self, outcome, price): return {"usd": -outcome["energi_j"].sum(axis=1)}


class Unbuildable:
    def __init__(self, scenario): self.limit = scenario.sites["nowhere"]
    def __call__(self, outcome, price): return {"usd": np.zeros(len(outcome.rows))}


class Late:
    """Works for 15 ticks."""
    def __init__(self, scenario): self.calls = 0
    def __call__(self, outcome, price):
        self.calls += 1
        assert self.calls < 15, "out of luck"
        return {"usd": np.ones(len(outcome.rows))}


class Luckless:
    def __init__(self, scenario): self.draw = np.random.default_rng(0).integers(0)
    def __call__(self, outcome, price): return {"usd": np.zeros(len(outcome.rows))}


class Mute:
    def __init__(self, scenario): pass


def whole(outcome, price): return {"usd": 3.0}
def nan(outcome, price): return {"usd": np.full(len(outcome.rows), np.nan)}
def pair(outcome, price): return {"usd": np.zeros((len(outcome.rows), 2))}
def nothing(outcome, price): return None


class Wide(FleetObservation):
    def observe(self, view): return super().observe(view).astype(np.float64)


class Narrow(FleetObservation):
    def observe(self, view): return super().observe(view)[:, :3]


class Blind(FleetObservation):
    def observe(self, view): return self.eyes


class Shapeless:
    space = (3,)
    def __init__(self, scenario): pass
    def observe(self, view): return view.rows


class Idle(FleetAction):
    def decode(self, action): return None


class Steady(StreamSpec):
    interval_s: float
    mean_rate_rps: ClassVar = 1.0
    mean_prompt_tokens: ClassVar = 100.0
    mean_output_tokens: ClassVar = 50.0
    def sample(self, rng, horizon_s, split):
        arrival_s = np.arange(0.0, horizon_s, self.interval_s)
        return Demand(arrival_s, np.full(len(arrival_s), 9, np.int32), np.full(len(arrival_s), 9, np.int32))


class Endless(Steady):
    def sample(self, rng, horizon_s, split): return super().sample(rng, 2 * horizon_s, split)


class Empty(Steady):
    def sample(self, rng, horizon_s, split): return rng.uniforms(3)


class Listed(Steady):
    def sample(self, rng, horizon_s, split): return [1.0, 2.0]


class Unsure(Steady):
    @property
    def mean_rate_rps(self): return 1 / self.rate


class Random:
    def __init__(self, context): self.shape = context.action_space.shape
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return self.act(len(observation)), None


class Flat(Random):
    def act(self, rows): return np.zeros((rows, 2))


class Nan(Random):
    def act(self, rows): return np.full((rows, *self.shape), np.nan)


class Broken(Random):
    def act(self, rows): return np.zeros(self.shap)


class Unready(Random):
    def __init__(self, context): raise RuntimeError("weights are missing")


class Curious(ControlPolicy):
    fields = ("cap_w",)
    def controls(self, view, state): return view["price"], state
'''
TINY = "scenario=tiny scenario.horizon_ticks=20"


def line_of(text: str) -> int:
    return PARTS[: PARTS.index(text)].count("\n") + 1


def place(text: str) -> str:
    """What a message begins with where the fault is in a line of the user's."""
    return rf"my_parts\.py:{line_of(text)}: " if text else ""


def reward(name: str, what: str, text: str = "") -> tuple[str, tuple[str, ...]]:
    pattern = rf"^env\.kwargs\.reward=my_parts:{name}: {place(text)}{what}"
    return f"train {QUICK} {TINY} env.kwargs.reward=my_parts:{name} hydra.run.dir=run", (pattern,)


def observation(name: str, what: str, text: str = "") -> tuple[str, tuple[str, ...]]:
    pattern = rf"^env\.kwargs\.observation=my_parts:{name}: {place(text)}{what}"
    return f"train {QUICK} {TINY} env.kwargs.observation=my_parts:{name} hydra.run.dir=run", (pattern,)


def stream(name: str, what: str, text: str = "", interval: str = "2.0") -> tuple[str, tuple[str, ...]]:
    mine = f"{{kind: 'my_parts:{name}', request_class: chat-8b, interval_s: {interval}}}"
    pattern = rf"^scenario\.workload\.mine\.kind=my_parts:{name}: {place(text)}{what}"
    return f'evaluate {TINY} "scenario.workload.mine={mine}" policies=random hydra.run.dir=run', (pattern,)


def policy(name: str, what: str, text: str = "") -> tuple[str, tuple[str, ...]]:
    pattern = rf"^policy=my_parts:{name}: {place(text)}{what}"
    return f"evaluate {TINY} policies=my_parts:{name} episodes=5 hydra.run.dir=run", (pattern,)


CASES = dict(
    [
        reward(
            "Misspelt", r"KeyError: unknown field 'energi_j'; did you mean 'energy_j'\?.*; mend", 'outcome["energi_j"]'
        ),
        reward("Unbuildable", r"KeyError: nowhere; mend that line$", 'scenario.sites["nowhere"]'),
        reward("Late", r"AssertionError: out of luck; mend that line$", '"out of luck"'),
        reward("Luckless", r"ValueError: high <= 0; mend that line$", "integers(0)"),  # in Cython's source of numpy
        reward("Mute", r"gives Mute, which must have __call__\(outcome, price_usd_per_mwh\); see \S+NetValue$"),
        reward("whole", r"term 'usd' \[N\] must be a numpy array \(got 3\.0\); wrap it in numpy\.asarray$"),
        reward("nan", r"term 'usd' \[N\] hold NaN in entries \[\[0\]\]$"),
        reward("pair", r"term 'usd' \[N\] must have shape \[1\] \(got \[1, 2\]\)$"),
        reward("nothing", r"must give a dict of terms, one array \[N\] each \(got None\)$"),
        reward("absent", r"cannot import 'my_parts:absent' .*; write 'module:Class'$"),
        reward(
            "Mispelt", r"cannot import .* no attribute 'Mispelt'\); did you mean 'Misspelt'\? \(choose from .*Blind, "
        ),
        observation(
            "Wide", r"observations \[N, \.\.\.\] must be float32 \(got float64\); end with \.astype\(numpy\.float32\)$"
        ),
        observation("Narrow", r"observations \[N, \.\.\.\] must have shape \[2, \d+\] \(got \[2, 3\]\)$"),
        observation("Blind", r"AttributeError: 'Blind' object has no attribute 'eyes'; mend", "self.eyes"),
        observation("Shapeless", r"its space must be a gymnasium\.Space \(got \(3,\)\)$"),
        stream("Unsure", r"AttributeError: .*'rate'; mend", "1 / self.rate"),
        stream("Empty", r"AttributeError: .*'uniforms'.*; mend", "rng.uniforms"),
        stream("Endless", r"arrival_s must lie in \[0, 20\), or be inf \(got 20\)$"),
        stream("Listed", r"sample must give a Demand \(got list\)$"),
        policy("Flat", r"actions \[N, \.\.\.\] must have shape \[5, \d+\] \(got \[5, 2\]\)$"),
        policy("Nan", r"actions \[N, \.\.\.\] hold NaN in entries \[\[0, 0\], "),
        policy("Broken", r"AttributeError: .*'shap'.*; mend", "self.shap)"),
        policy("Unready", r"RuntimeError: weights are missing; mend that line$", "RuntimeError"),
        policy("Curious", r"KeyError: .*price.*; mend", 'view["price"]'),
    ]
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, each part of which fails in a way of its own."""
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    return "my_parts"


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("typed", CASES)
def test_the_command_line_names_part_line_and_fix(typed: str, run: Run) -> None:
    outcome = run(typed)
    check_refusal(
        outcome._replace(errors="\n".join(line for line in outcome.lines if "my_parts" in line)), CASES[typed]
    )


@pytest.mark.usefixtures("module")
def test_the_traceback_is_shown_to_who_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed, _ = reward("Misspelt", "")
    monkeypatch.setattr("tests.command_line.FULL_ERROR", "1")
    outcome = run(typed)
    assert outcome.code == 2
    assert "Traceback (most recent call last)" in outcome.errors
    assert 'outcome["energi_j"]' in outcome.errors


@pytest.mark.parametrize("kind", [FleetEnv, FleetVectorEnv])
def test_python_gets_an_error_with_the_original_as_its_cause(module: str, kind: Any) -> None:
    with pytest.raises(UserCodeError, match=r"^reward=my_parts:Misspelt: my_parts\.py:\d+: KeyError") as caught:
        kind("tiny", reward=f"{module}:Misspelt")
    assert isinstance(caught.value, SpecError)
    assert isinstance(caught.value.__cause__, KeyError)
    assert traceback.extract_tb(caught.value.__cause__.__traceback__)


def test_a_stream_that_fails_while_it_is_built_is_the_cause_too(module: str) -> None:
    mine = {"kind": f"{module}:Unsure", "request_class": "chat-8b", "interval_s": 1.0}
    with pytest.raises(SpecError, match=r"^scenario\.workload\.mine\.kind=my_parts:Unsure: ") as caught:
        FleetEnv("tiny", overrides={"workload.mine": mine})
    assert isinstance(caught.value.__cause__, AttributeError)


def test_a_mistake_in_the_keys_of_a_stream_of_ones_own_keeps_its_key(module: str) -> None:
    mine = {"kind": f"{module}:Steady", "request_class": "chat-8b", "intervall_s": 1.0}
    with pytest.raises(
        SpecError, match=r"scenario\.workload\.mine\.intervall_s: unknown key; did you mean 'interval_s'"
    ):
        FleetEnv("tiny", overrides={"workload.mine": mine})


def test_an_action_of_ones_own_must_give_controls(module: str) -> None:
    env = FleetEnv("tiny", action=f"{module}:Idle")
    env.reset(seed=0)
    with pytest.raises(UserCodeError, match=r"^action=my_parts:Idle: decode must give Controls \(got NoneType\)$"):
        env.step(np.zeros(env.action_space.shape, np.float32))


def test_a_class_is_called_by_its_name() -> None:
    def missing(outcome: Any, price: Any) -> dict[str, Any]:
        return {"usd": outcome["tokens"]}

    with pytest.raises(UserCodeError, match=r"^reward=.*test_user_code:.*missing: .*test_user_code\.py:\d+: KeyError"):
        FleetEnv("tiny", reward=missing)


def test_our_own_parts_are_not_held_to_be_the_users() -> None:
    env = FleetEnv("tiny")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be numbers of shape") as caught:
        env.step(np.zeros(2))
    assert not isinstance(caught.value, UserCodeError)
