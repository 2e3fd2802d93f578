"""A checkpoint gives back the policy that was saved; what is no checkpoint, or has other spaces, is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.policies.toys import SMALL, Scripted, Target, job_on, same_step, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint import load_policy, save_checkpoint
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.training import make_model

ORIGIN = TrainingOrigin(environment="toy", training_seed=3, timesteps=100, scenario={"name": "tiny"})
NORMALIZE = {"norm_obs": True, "norm_reward": True}


def trained(name: str, make: Callable[[], Any] = Target, **changes: Any) -> tuple[Any, Any]:
    """A model after some updates, and its hyper-parameters."""
    algorithm = small_algorithm(name, **changes)
    model = make_model(job_on(same_step(make, 2), algorithm))
    return model.learn(200), algorithm


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to be tampered with."""
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    model, algorithm = trained("ppo", normalize=NORMALIZE)
    save_checkpoint(folder, model, algorithm, ORIGIN)
    return folder


@pytest.mark.parametrize("name", SMALL)
def test_the_loaded_policy_acts_as_the_one_that_was_saved(name: str, tmp_path: Path) -> None:
    model, algorithm = trained(name, normalize=NORMALIZE)
    save_checkpoint(tmp_path / "checkpoint", model, algorithm, ORIGIN)
    loaded, live = load_policy(tmp_path / "checkpoint"), NetworkPolicy.of_model(model)
    rng = np.random.default_rng(0)
    state = expected_state = None
    for step in range(4):
        seen = rng.uniform(-1, 1, (5, 2)).astype(np.float32)
        starts = np.full(5, step == 0)
        actions, state = loaded.predict(seen, state, starts, deterministic=True)
        expected, expected_state = live.predict(seen, expected_state, starts, deterministic=True)
        np.testing.assert_array_equal(actions, expected)
    assert loaded.meta.origin == ORIGIN
    assert loaded.meta.algorithm == algorithm


def test_the_live_policy_acts_as_stable_baselines3_does_on_normalised_observations() -> None:
    model, _ = trained("ppo", normalize=NORMALIZE)
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    expected, _ = model.predict(model.get_vec_normalize_env().normalize_obs(seen), deterministic=True)
    actions, _ = NetworkPolicy.of_model(model).predict(seen, deterministic=True)
    np.testing.assert_array_equal(actions, expected)
    assert not np.array_equal(actions, model.predict(seen, deterministic=True)[0])


def test_a_recurrent_state_has_the_batch_first(tmp_path: Path) -> None:
    model, algorithm = trained("recurrent_ppo")
    save_checkpoint(tmp_path / "checkpoint", model, algorithm, ORIGIN)
    _, state = load_policy(tmp_path / "checkpoint").predict(np.zeros((5, 2), np.float32), None, np.ones(5, bool))
    assert state is not None
    assert [part.shape[0] for part in state] == [5, 5]


def test_dict_observations_and_discrete_actions(tmp_path: Path) -> None:
    def make() -> Any:
        plain = Scripted(((5, True),))
        space = spaces.Dict({"seen": plain.observation_space})
        return gymnasium.wrappers.TransformObservation(plain, lambda seen: {"seen": seen}, space)

    model, algorithm = trained("ppo", make, normalize=NORMALIZE)
    save_checkpoint(tmp_path / "checkpoint", model, algorithm, ORIGIN)
    seen = {"seen": np.ones((3, 2), np.float32)}
    actions, _ = load_policy(tmp_path / "checkpoint").predict(seen, deterministic=True)
    np.testing.assert_array_equal(actions, NetworkPolicy.of_model(model).predict(seen, deterministic=True)[0])


def test_loading_draws_no_random_number(sound: Path) -> None:
    import torch

    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_policy(sound)
    assert torch.equal(before, torch.get_rng_state())


def test_a_run_folder_stands_for_its_best_checkpoint(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path / "checkpoints" / "last")
    assert load_policy(tmp_path).meta.origin == ORIGIN
    shutil.copytree(sound, tmp_path / "checkpoints" / "best")
    (tmp_path / "checkpoints" / "last" / "policy.safetensors").unlink()
    assert load_policy(tmp_path).meta.origin == ORIGIN


def test_other_spaces_are_refused_with_the_scenario_it_was_trained_on(sound: Path) -> None:
    policy = load_policy(sound)
    policy.check_spaces(Target.observation_space, Target.action_space)
    with pytest.raises(
        SpecError, match=r"trained on toy with scenario=tiny, whose observations .* \(2,\) against \(3,\)"
    ):
        policy.check_spaces(spaces.Box(-1, 1, (3,), np.float32), Target.action_space)


def test_other_bounds_are_named_by_their_first_entry(sound: Path) -> None:
    half = spaces.Box(np.float32([-1.0, -0.5]), np.float32([1.0, 0.5]))
    named = r"other bounds in 1 entries, \[1\] first: \[-1, 1\] against \[-0\.5, 0\.5\]"
    with pytest.raises(SpecError, match=named):
        load_policy(sound).check_spaces(half, Target.action_space)


def test_a_zip_of_stable_baselines3_is_never_opened(tmp_path: Path) -> None:
    model, _ = trained("ppo")
    model.save(tmp_path / "model.zip")
    with pytest.raises(SpecError, match="can run code when they are opened"):
        load_policy(tmp_path / "model.zip")


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(SpecError, match=r"meta\.json is missing"):
        load_policy(tmp_path)
