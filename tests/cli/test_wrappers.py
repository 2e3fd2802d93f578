"""`env.wrappers`: Gymnasium's wrappers and the user's own, in training, validation, evaluation and resumed runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.command_line import QUICK, Run
from tokenfleet.cli.environments import make_vector_env
from tokenfleet.configs.parsing import parse_config
from tokenfleet.configs.schema import EvaluateConfig
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.identity import EnvironmentIdentity
from tokenfleet.evaluation.results import read_rows
from tokenfleet.policies.learned.checkpoint import load_policy

TINY = "scenario=tiny scenario.horizon_ticks=20"
NORMALISED = "'env.wrappers=[NormalizeObservation,{name: NormalizeReward, gamma: 0.9}]'"
OWN = '''
import gymnasium
import numpy as np
from gymnasium.vector import VectorWrapper


class Scaled(gymnasium.RewardWrapper):
    """A single environment's reward, scaled."""

    def __init__(self, env, scale):
        super().__init__(env)
        self.scale = scale

    def reward(self, reward):
        return self.scale * reward


class Tired(VectorWrapper):
    """Pays less and less, and does not say how much."""

    paid = 1.0

    def step(self, actions):
        observations, rewards, *rest = self.env.step(actions)
        self.paid *= 0.999
        return observations, self.paid * rewards, *rest


class Candid(Tired):
    """Pays less and less, and says how much."""

    def get_state(self):
        return {"paid": self.paid}

    def set_state(self, state):
        self.paid = state["paid"]
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own wrappers."""
    (tmp_path / "own_wrappers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_wrappers", raising=False)
    return "own_wrappers"


def make(wrappers: Any, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **env: Any) -> gymnasium.vector.VectorEnv:
    data = {"scenario": "tiny" if not env else None, "env": {"wrappers": wrappers, **env}}
    return make_vector_env(parse_config(EvaluateConfig, data), 2, "test", mode)


def refusal(wrappers: Any, **env: Any) -> str:
    with pytest.raises(SpecError) as refused:
        make(wrappers, **env)
    return "\n".join(refused.value.problems)


def test_a_name_means_the_vector_wrapper_and_a_fleet_stays_a_fleet_inside() -> None:
    env = make(["RecordEpisodeStatistics", {"name": "RescaleAction", "min_action": 0.0, "max_action": 1.0}])
    assert isinstance(env, gymnasium.wrappers.vector.RescaleAction)
    assert isinstance(env.unwrapped, FleetVectorEnv)
    assert env.single_action_space.low.min() == 0.0


def test_single_wrappers_wrap_each_environment_and_vector_wrappers_the_batch(own: str) -> None:
    wrappers = [{"name": f"{own}:Scaled", "scale": 3.0}, {"name": "ClipReward", "max_reward": 2.0}]
    env = make(wrappers, id="CartPole-v1")
    env.reset(seed=0)
    assert env.step(np.zeros(2, int))[1].tolist() == [2.0, 2.0]
    assert make(wrappers[:1], id="gymnasium.envs.classic_control:CartPoleEnv").reset(seed=0)[0].shape == (2, 4)


@pytest.mark.parametrize(
    ("wrappers", "env", "message"),
    [
        (
            ["FrameStackObservation"],
            {},
            "env.wrappers[0].stack_size: missing; this key is required",
        ),
        (
            [{"name": "FrameStackObservation", "stack_size": 3}],
            {},
            "env.wrappers[0]: FrameStackObservation wraps a single environment, and tokenfleet/Fleet-v0 is a batch "
            "from the start, which takes wrappers of gymnasium.wrappers.vector only; "
            "write it as a gymnasium.vector.VectorWrapper",
        ),
        (
            ["gymnasium.wrappers:NormalizeReward"],
            {},
            "env.wrappers[0]: NormalizeReward wraps a single environment, and tokenfleet/Fleet-v0 is a batch from the "
            "start, which takes wrappers of gymnasium.wrappers.vector only; "
            "use gymnasium.wrappers.vector:NormalizeReward",
        ),
        (
            ["gymnasium.wrappers:NormalizeReward"],
            {"id": "CartPole-v1"},
            "env.wrappers[0]: NormalizeReward of gymnasium.wrappers keeps running statistics of each environment "
            "apart, which no checkpoint can carry; use gymnasium.wrappers.vector:NormalizeReward",
        ),
        (
            ["NormalizeReward", {"name": "TimeLimit", "max_episode_steps": 9}],
            {"id": "CartPole-v1"},
            "env.wrappers[1]: TimeLimit wraps single environments and must stand before env.wrappers[0], "
            "NormalizeReward, which wraps the batch",
        ),
        (
            [{"name": "NormalizeReward", "gama": 0.9}],
            {},
            "env.wrappers[0].gama: unknown key; did you mean 'gamma'?",
        ),
        (
            [{"name": "NormalizeReward", "gamma": 7}],
            {},
            "env.wrappers[0]: NormalizeReward cannot wrap this environment "
            "(`gamma` should be in the interval [0, 1]. Received 7)",
        ),
        (
            ["NormaliseReward"],
            {},
            "env.wrappers[0]: no wrapper 'NormaliseReward' in gymnasium.wrappers.vector or gymnasium.wrappers; "
            "did you mean 'NormalizeReward'?",
        ),
        (
            ["json:loads"],
            {},
            "env.wrappers[0]: 'json:loads' is neither a gymnasium.vector.VectorWrapper nor a gymnasium.Wrapper",
        ),
    ],
)
def test_a_wrapper_that_does_not_work_here_is_refused(wrappers: Any, env: dict[str, Any], message: str) -> None:
    assert refusal(wrappers, **env).startswith(message)


def test_a_wrapper_without_a_name_is_refused(run: Run) -> None:
    outcome = run("train 'env.wrappers=[{scale: 2}]'")
    assert outcome.code == 2
    assert outcome.errors.startswith("env.wrappers[0]: must be a name, 'module:Class', or a mapping with name and arg")


def test_in_same_step_mode_the_last_observation_is_wrapped_and_not_learnt_from() -> None:
    bare = make([], AutoresetMode.SAME_STEP, id="CartPole-v1")
    env = make(["NormalizeObservation"], AutoresetMode.SAME_STEP, id="CartPole-v1")
    bare.reset(seed=0)
    env.reset(seed=0)
    told = False
    seen = 2
    while not told:
        seen += 2
        *_, raw = bare.step(np.ones(2, int))
        *_, info = env.step(np.ones(2, int))
        told = "final_obs" in info
    statistics = env.env.obs_rms  # type: ignore[attr-defined]
    (index,) = np.flatnonzero(info["_final_obs"])
    scale = np.sqrt(statistics.var + 1e-8)
    np.testing.assert_allclose(info["final_obs"][index], (raw["final_obs"][index] - statistics.mean) / scale, rtol=1e-4)
    assert info["final_obs"][1 - index] is None
    assert statistics.count == pytest.approx(seen, abs=1e-3)


def test_what_wrappers_have_learnt_is_validated_and_evaluated_with(run: Run) -> None:
    trained = run(f"train {QUICK} {TINY} {NORMALISED} validation.every=64 validation.episodes=2 hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    meta = json.loads(Path("run/checkpoints/last/meta.json").read_text())
    assert meta["origin"]["environment_wrappers"] == ["NormalizeObservation", {"name": "NormalizeReward", "gamma": 0.9}]
    outcome = run(
        f"evaluate {TINY} {NORMALISED} policies=[] checkpoint=run episodes=5 formats=csv hydra.run.dir=results"
    )
    assert outcome.code == 0, outcome.errors
    assert "env.wrappers" not in outcome.out + outcome.errors
    rows = read_rows(Path("results/episodes.csv"))
    assert [row.metrics["length_steps"] for row in rows] == [20.0] * 5
    assert all(row.metrics["completed"] > 0 for row in rows)
    one_by_one = run(
        f"evaluate {TINY} {NORMALISED} policies=[] checkpoint=run episodes=5 n_envs=1 formats=csv hydra.run.dir=single"
    )
    assert one_by_one.code == 0
    returns = [
        [row.metrics["return"] for row in read_rows(Path(f"{name}/episodes.csv"))] for name in ("results", "single")
    ]
    assert returns[0] == returns[1]  # nothing is learnt while evaluating


def test_other_wrappers_than_in_training_are_noticed(run: Run) -> None:
    assert run(f"train {QUICK} {TINY} env.wrappers=RecordEpisodeStatistics hydra.run.dir=plain").code == 0
    told = run(f"evaluate {TINY} policies=[] checkpoint=plain episodes=2 figures=false hydra.run.dir=one")
    assert told.code == 0
    assert 'trained under env.wrappers=["RecordEpisodeStatistics"], and is evaluated under []' in told.out + told.errors
    refused = run(
        f"evaluate {TINY} env.wrappers=NormalizeReward policies=[] checkpoint=plain episodes=2 hydra.run.dir=two"
    )
    assert refused.code == 2
    assert refused.errors.startswith("checkpoint: holds no statistics for the wrapper NormalizeReward (env.wrappers);")


def test_wrappers_are_part_of_what_a_row_is_about_where_returns_are_all_that_is_measured() -> None:
    def hash_of(env_id: str, *wrappers: Any) -> str:
        config = parse_config(EvaluateConfig, {"env": {"id": env_id, "wrappers": list(wrappers)}})
        return EnvironmentIdentity.of(make_vector_env(config, 1, "test", AutoresetMode.NEXT_STEP)).config_hash

    limits = [[{"name": "TimeLimit", "max_episode_steps": steps}] for steps in (10, 20)]
    batch = [{"name": "NormalizeReward", "gamma": 0.5}]
    assert len({hash_of("CartPole-v1", *wrappers) for wrappers in ([], *limits, batch)}) == 4
    assert hash_of("CartPole-v1", *limits[0]) == hash_of("CartPole-v1", *limits[0])
    assert hash_of("tokenfleet/Fleet-v0") == hash_of("tokenfleet/Fleet-v0", *batch)


def interrupted(run: Run, monkeypatch: pytest.MonkeyPatch, typed: str, folder: str) -> None:
    """A training run that dies after its first snapshot."""
    from tokenfleet.policies.learned import callbacks

    save = callbacks.RunKeeper._save

    def save_and_die(keeper: Any, steps: int) -> None:
        save(keeper, steps)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunKeeper, "_save", save_and_die)
        assert run(f"{typed} hydra.run.dir={folder}").code == 130


@pytest.mark.parametrize(
    ("env", "wrappers"),
    [
        (TINY, NORMALISED),
        (TINY, "env.wrappers=[RecordEpisodeStatistics,own_wrappers:Candid]"),
        ("env.id=CartPole-v1", NORMALISED),
    ],
)
def test_a_wrapped_run_goes_on_to_the_bit(
    env: str, wrappers: str, run: Run, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = f"train {QUICK} total_timesteps=384 snapshot_every=128 {env} {wrappers}"
    assert run(f"{typed} hydra.run.dir=whole").code == 0
    interrupted(run, monkeypatch, typed, "halves")
    resumed = run("train resume=halves trust=own_wrappers")
    assert resumed.code == 0, resumed.errors
    weights = [Path(name, "checkpoints/last/policy.safetensors").read_bytes() for name in ("whole", "halves")]
    assert weights[0] == weights[1]


def test_a_wrapper_that_does_not_tell_its_state_is_trained_with_but_not_resumed(
    run: Run, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = f"train {QUICK} total_timesteps=384 snapshot_every=128 {TINY} env.wrappers={own}:Tired"
    interrupted(run, monkeypatch, typed, "run")
    assert load_policy(Path("run")).meta.origin.environment_wrappers == (f"{own}:Tired",)
    refused = run("train resume=run trust=own_wrappers")
    assert refused.code == 2
    assert refused.errors == (
        "resume: env.wrappers[0], Tired, does not tell its state; write its get_state and set_state, "
        "or start a new run\n"
    )
