"""A checkpoint gives back the policy that was saved; one that somebody crafted is refused and runs nothing."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from safetensors.numpy import load_file, save_file

from tests.forged import forge_hashes
from tests.policies.toys import SMALL, Scripted, Target, job_on, same_step, small_algorithm
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint import load_policy, save_checkpoint
from tokenfleet.policies.learned.checkpoint_meta import Origin
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.plain_data import recover_folder, sha256, write_folder
from tokenfleet.policies.learned.spaces import space_from_plain, space_to_plain
from tokenfleet.policies.learned.training import make_model

ORIGIN = Origin(environment="toy", training_seed=3, timesteps=100, scenario={"name": "tiny"})
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


class Bomb:
    """Unpickling makes a file: the proof that code has run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.canary,)


def tamper(folder: Path, **changes: Any) -> None:
    """Change `meta.json` and its hash; a dotted key goes down."""
    meta = json.loads((folder / "meta.json").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = meta
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "meta.json").write_text(json.dumps(meta))
    forge_hashes(folder)


def rewrite_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Change the weights and put the right hash into `meta.json`, as an attacker would."""
    weights = load_file(folder / "policy.safetensors")
    change(weights)
    save_file(weights, folder / "policy.safetensors")
    rehash(folder)


def rehash(folder: Path) -> None:
    tamper(folder, weights_sha256=sha256((folder / "policy.safetensors").read_bytes()))


def pickle_as_weights(folder: Path) -> None:
    (folder / "policy.safetensors").write_bytes(pickle.dumps(Bomb(folder / "canary")))
    rehash(folder)


def pickle_as_meta(folder: Path) -> None:
    (folder / "meta.json").write_bytes(pickle.dumps(Bomb(folder / "canary")))
    forge_hashes(folder)


def truncated_weights(folder: Path) -> None:
    content = (folder / "policy.safetensors").read_bytes()
    (folder / "policy.safetensors").write_bytes(content[: len(content) // 2])


def truncated_weights_with_their_hash(folder: Path) -> None:
    truncated_weights(folder)
    rehash(folder)


def one_flipped_bit(folder: Path) -> None:
    content = bytearray((folder / "policy.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "policy.safetensors").write_bytes(content)


def transpose_a_layer(folder: Path) -> None:
    def change(weights: dict[str, np.ndarray]) -> None:
        weights["policy.action_net.weight"] = weights["policy.action_net.weight"].T.copy()

    rewrite_weights(folder, change)


def lose_a_layer(folder: Path) -> None:
    rewrite_weights(folder, lambda weights: weights.pop("policy.action_net.weight"))


def diverge(folder: Path) -> None:
    rewrite_weights(folder, lambda weights: weights["policy.action_net.weight"].fill(np.nan))


def lose_the_normalisation(folder: Path) -> None:
    rewrite_weights(folder, lambda weights: weights.pop("normalisation.mean"))


def weights_are_a_folder(folder: Path) -> None:
    (folder / "policy.safetensors").unlink()
    (folder / "policy.safetensors").mkdir()


def deeply_nested_meta(folder: Path) -> None:
    (folder / "meta.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    forge_hashes(folder)


CRAFTED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle as weights": (pickle_as_weights, "not a safetensors file"),
    "pickle as meta": (pickle_as_meta, "not JSON"),
    "truncated": (truncated_weights, "damaged"),
    "truncated, hash mended": (truncated_weights_with_their_hash, "not a safetensors file"),
    "one bit": (one_flipped_bit, "damaged"),
    "no weights": (lambda folder: (folder / "policy.safetensors").unlink(), "no such file"),
    "a folder for a file": (weights_are_a_folder, "no such file"),
    "os.system as algorithm": (lambda f: tamper(f, algorithm__name="os:system"), "unknown algorithm 'os:system'"),
    "a list as algorithm": (lambda f: tamper(f, algorithm=["ppo"]), "must be a mapping"),
    "a class as activation": (
        lambda f: tamper(f, algorithm__policy_kwargs__activation_fn="os.system"),
        "activation_fn: .*'tanh'",
    ),
    "a foreign key": (lambda f: tamper(f, algorithm__policy_class="builtins:eval"), "policy_class: unknown key"),
    "a target": (lambda f: tamper(f, _target_="os.system"), "_target_: unknown key"),
    "a path": (lambda f: tamper(f, weights_file="../../etc/passwd"), "weights_file: unknown key"),
    "no hash": (lambda f: tamper(f, weights_sha256="../../x"), "weights_sha256"),
    "a huge layer": (
        lambda f: tamper(f, algorithm__policy_kwargs__net_arch=[60_000, 60_000]),
        r"is float32 \[8, 2\] and should be float32 \[60000, 2\]",
    ),
    "an endless network": (lambda f: tamper(f, algorithm__policy_kwargs__net_arch=[8] * 10_000), "net_arch"),
    "a huge space": (lambda f: tamper(f, observation_space__shape=[2**40]), "no valid space"),
    "a negative space": (lambda f: tamper(f, action_space={"kind": "discrete", "n": -3}), "no valid space"),
    "an unknown space": (lambda f: tamper(f, action_space={"kind": "os.system"}), "no known space"),
    "another format": (lambda f: tamper(f, format_version=1), "another version of tokenfleet"),
    "nested": (deeply_nested_meta, "meta.json"),
    "a transposed layer": (transpose_a_layer, r"does not fit the network .*action_net\.weight"),
    "a missing layer": (lose_a_layer, r"action_net\.weight is missing"),
    "not a number": (diverge, "not finite"),
    "no normalisation": (lose_the_normalisation, r"normalisation\.mean is missing"),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_crafted_checkpoint_is_refused_in_words_and_runs_nothing(case: str, sound: Path, tmp_path: Path) -> None:
    craft, words = CRAFTED[case]
    folder = tmp_path / "checkpoint"
    shutil.copytree(sound, folder)
    craft(folder)
    with pytest.raises(SpecError) as refused:
        load_policy(folder)
    assert re.search(words, str(refused.value))
    assert len(refused.value.problems) == 1
    assert not (folder / "canary").exists()


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


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_crash_while_writing_leaves_a_whole_folder(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the call at which the process dies, the old or the new content is there afterwards."""
    folder = tmp_path / "checkpoint"
    old, new = {"a": b"old", "b": b"old"}, {"a": b"new", "b": b"new"}
    contents = []
    for fatal in range(10):
        write_folder(folder, old)
        module = __import__("os") if moment == "fsync" else Path
        original, calls = getattr(module, moment), iter(range(100))

        def dies(*arguments: Any, _original: Any = original, _calls: Any = calls, _fatal: int = fatal) -> Any:
            if next(_calls) == _fatal:
                raise KeyboardInterrupt
            return _original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, moment, dies)
            try:
                write_folder(folder, new)
            except KeyboardInterrupt:
                contents.append(None)
        recover_folder(folder)
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found in (old, new)
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert contents  # some of the moments were fatal


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 1.0, (3, 2), np.float32),
        spaces.Box(np.array([0.0, -np.inf]), np.array([np.inf, 5.0]), dtype=np.float64),
        spaces.Box(0, 255, (8, 8, 3), np.uint8),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (2,))}),
    ],
)
def test_spaces_survive_json(space: gymnasium.Space[Any]) -> None:
    assert space_from_plain(json.loads(json.dumps(space_to_plain(space)))) == space
