"""An algorithm, policy or features extractor of the user's own is trained, kept, resumed and loaded as shipped ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from tests.policies.interruptions import assert_same_run, train, train_with_power_cuts
from tests.policies.toys import Target, job_on, same_step, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.custom_spec import CustomSpec
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.sb3 import check_spaces
from tokenfleet.policies.learned.training import TrainingJob, make_model, train_policy
from tokenfleet.policies.learned.trust import refuse_untrusted

EXAMPLE = "examples.custom_algorithm.settling_ppo"
SETTLING = {
    "model": f"{EXAMPLE}:SettlingPPO",
    "kwargs": {"n_steps": 32, "batch_size": 32, "ent_coef": 0.1, "enough_kl": 0.0, "fall": 0.5},
    "policy_kwargs": {
        "features_extractor_class": f"{EXAMPLE}:ResidualExtractor",
        "features_extractor_kwargs": {"features_dim": 8},
        "activation_fn": "elu",
        "net_arch": [8],
    },
}
TRPO = {"model": "sb3_contrib:TRPO", "kwargs": {"n_steps": 32, "batch_size": 32}, "policy_kwargs": {"net_arch": [8]}}
SAC = {
    "model": "stable_baselines3:SAC",
    "policy": "stable_baselines3.sac:MlpPolicy",
    "kwargs": {"learning_starts": 20, "buffer_size": 200, "batch_size": 16, "train_freq": [2, "step"]},
    "policy_kwargs": {"net_arch": [8]},
}
DQN = {
    "model": "stable_baselines3:DQN",
    "kwargs": {"learning_starts": 20, "buffer_size": 200, "batch_size": 16, "target_update_interval": 70},
    "policy_kwargs": {"net_arch": [8]},
}
CASES = {"a user's own": SETTLING, "TRPO": TRPO, "SAC": SAC}


def custom(**description: Any) -> CustomSpec:
    spec = parse_algorithm({"name": "custom", **description})
    assert isinstance(spec, CustomSpec)
    return spec


def model_of(make: Callable[[], Any] = Target, **description: Any) -> Any:
    return make_model(job_on(same_step(make, 2), custom(**description)))


@pytest.mark.parametrize("case", CASES)
def test_a_run_with_it_goes_on_to_the_bit(case: str, tmp_path: Path) -> None:
    spec = custom(**CASES[case], normalize={"norm_obs": True, "norm_reward": True})

    def job(validate: Any) -> TrainingJob:
        return job_on(same_step(Target, 2), spec, total=256, every=64, validate=validate)

    train(job(target_score), tmp_path / "whole")
    train_with_power_cuts(job, target_score, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_counters_that_only_one_algorithm_has_are_resumed(tmp_path: Path) -> None:
    """DQN counts its calls to know when the target network moves, and lets its exploration fall."""
    spec = custom(**DQN)

    def validate(policy: Any) -> dict[str, float]:
        return {
            "return": float(
                policy.predict(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), deterministic=True)[0].sum()
            )
        }

    def job(validate: Any) -> TrainingJob:
        envs = same_step(lambda: gymnasium.make("CartPole-v1"), 2)
        return job_on(envs, spec, total=256, every=64, validate=validate)

    train(job(validate), tmp_path / "whole")
    train_with_power_cuts(job, validate, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("case", CASES)
def test_the_loaded_policy_acts_as_the_one_that_was_saved(case: str, tmp_path: Path) -> None:
    job = job_on(same_step(Target, 2), custom(**CASES[case]), total=128)
    model = make_model(job)
    train_policy(job, model, tmp_path)
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    loaded = load_policy(tmp_path, trust=["examples", "sb3_contrib", "stable_baselines3"])
    expected, _ = NetworkPolicy.of_model(model).predict(seen, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(seen, deterministic=True)[0], expected)


def test_what_a_checkpoint_names_is_not_imported_before_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from pathlib import Path\nPath(__file__).with_name('canary').touch()\n"
    source += "from stable_baselines3 import PPO\nclass Mine(PPO):\n    pass\n"
    (tmp_path / "strange_code.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    spec = {"model": "strange_code:Mine", "kwargs": {"n_steps": 32, "batch_size": 32}}
    job = job_on(same_step(Target, 2), custom(**spec), total=64)
    train_policy(job, make_model(job), tmp_path / "run")
    (tmp_path / "canary").unlink()
    sys.modules.pop("strange_code")
    for trust in ((), "strange", ["sb3_contrib"]):
        with pytest.raises(
            SpecError, match=r"names code that would run \(strange_code:Mine\).* say trust=\[.*strange_code\]"
        ):
            load_policy(tmp_path / "run", trust=trust)
        assert not (tmp_path / "canary").exists()
    load_policy(tmp_path / "run", trust="strange_code")
    assert (tmp_path / "canary").exists()


def test_trust_in_a_package_is_trust_in_what_is_in_it() -> None:
    tree = {"a": ["my_package.part:Thing", "plain text: more"], "b": {"device": "cuda:1"}}
    refuse_untrusted(tree, ["my_package"], "x")
    with pytest.raises(SpecError, match=r"say trust=\[my_pack,my_package\.part\]"):
        refuse_untrusted(tree, ["my_pack"], "x")


class FixedPolicy(PPO):
    """Its constructor decides the network."""

    def __init__(self, *arguments: Any, **kwargs: Any) -> None:
        kwargs["policy_kwargs"] = {"net_arch": [3]}
        super().__init__(*arguments, **kwargs)


class Unfit(torch.nn.Module):
    """No features extractor."""


HERE = __name__
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no class path": ({"model": "PPO"}, r"^algo\.model: must be module:Class"),
    "no such module": ({"model": "nowhere:PPO"}, r"^algo\.model: cannot import 'nowhere:PPO'.*PYTHONPATH"),
    "no algorithm": ({"model": f"{HERE}:Unfit"}, r"^algo\.model: .* must be a subclass of .* BaseAlgorithm"),
    "a misspelt argument": (
        {"model": f"{EXAMPLE}:SettlingPPO", "kwargs": {"enough_lk": 1.0, "gama": 1.0}},
        r"^algo\.kwargs\.enough_lk: unknown key; did you mean 'enough_kl'.*\nalgo\.kwargs\.gama: .*'gamma'",
    ),
    "an argument of the wrong type": (
        {"model": "stable_baselines3:PPO", "kwargs": {"n_steps": "many", "learning_rate": "high"}},
        r"^algo\.kwargs\.learning_rate: must be float .*\(got 'high'\)\nalgo\.kwargs\.n_steps: .*\(got 'many'\)$",
    ),
    "an argument with a key of its own": (
        {"model": "stable_baselines3:PPO", "kwargs": {"seed": 1, "policy_kwargs": {}, "tensorboard_log": "logs"}},
        r"^algo\.kwargs\.seed: say seed= instead\nalgo\.kwargs\.policy_kwargs: say algo\.policy_kwargs= instead\n"
        r"algo\.kwargs\.tensorboard_log: say tracking= instead$",
    ),
    "exploration that cannot be resumed": (
        {"model": "stable_baselines3:PPO", "kwargs": {"use_sde": True}},
        r"^algo\.kwargs\.use_sde: ",
    ),
    "an unknown policy": (
        {"model": "stable_baselines3:PPO", "policy": "MplPolicy"},
        r"^algo\.policy: .*'MplPolicy'; did you mean 'MlpPolicy'",
    ),
    "a policy that is none": (
        {"model": "stable_baselines3:PPO", "policy": f"{HERE}:Unfit"},
        r"^algo\.policy: .*BasePolicy",
    ),
    "a misspelt argument of the policy": (
        {"model": "stable_baselines3:PPO", "policy_kwargs": {"net_arc": [8]}},
        r"^algo\.policy_kwargs\.net_arc: unknown key; did you mean 'net_arch'",
    ),
    "an extractor that is none": (
        {"model": "stable_baselines3:PPO", "policy_kwargs": {"features_extractor_class": f"{HERE}:Unfit"}},
        r"^algo\.policy_kwargs\.features_extractor_class: .*BaseFeaturesExtractor",
    ),
    "a misspelt argument of the extractor": (
        {
            "model": "stable_baselines3:PPO",
            "policy_kwargs": {
                "features_extractor_class": f"{EXAMPLE}:ResidualExtractor",
                "features_extractor_kwargs": {"block": 1},
            },
        },
        r"^algo\.policy_kwargs\.features_extractor_kwargs\.block: unknown key; did you mean 'blocks'",
    ),
    "actions that it cannot choose": ({"model": "stable_baselines3:DQN"}, r"^algo: DQN cannot be made .*Box"),
    "a network that cannot be rebuilt": (
        {"model": f"{HERE}:FixedPolicy"},
        r"^algo\.policy_kwargs: FixedPolicy builds another policy .*'net_arch': \[3\]",
    ),
    "a network too large to keep": (
        {"model": "stable_baselines3:PPO", "policy_kwargs": {"net_arch": [7_500, 7_500], "ortho_init": False}},
        r"^algo: the policy has \d+ MiB of weights, with what wrappers have learnt; a checkpoint may have 176$",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_refused_before_training(case: str) -> None:
    description, words = WRONG[case]
    with pytest.raises(SpecError, match=words):
        model_of(**description)


def test_rewards_are_discounted_as_the_algorithm_does() -> None:
    given = model_of(**{**TRPO, "kwargs": {**TRPO["kwargs"], "gamma": 0.5}}, normalize={"norm_reward": True})
    default = model_of(**TRPO, normalize={"norm_reward": True})
    assert (given.get_vec_normalize_env().gamma, default.get_vec_normalize_env().gamma) == (0.5, default.gamma)


def test_a_schedule_may_stand_for_any_rate() -> None:
    kwargs = {"learning_rate": {"initial": 1.0, "final": 0.0}, "clip_range": {"initial": 0.2}}
    model = model_of(model="stable_baselines3:PPO", kwargs={**TRPO["kwargs"], **kwargs})
    assert (model.lr_schedule(0.5), model.clip_range(0.1)) == (0.5, 0.2)


def test_a_custom_algorithm_is_refused_spaces_as_any_other() -> None:
    with pytest.raises(SpecError, match="must be bounded"):
        check_spaces(custom(**TRPO), Target.observation_space, spaces.Box(-np.inf, np.inf, (1,)))
