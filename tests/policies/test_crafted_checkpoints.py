"""A checkpoint that somebody damaged or crafted is refused in words and runs nothing."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.forged import forge_hashes
from tests.policies.tampering import META, WEIGHTS, change_meta, change_weights, make_sound, rehash
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint import load_policy


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to be tampered with."""
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    make_sound(folder)
    return folder


class Bomb:
    """Unpickling makes a file: the proof that code has run."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.canary,)


def pickle_as_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb(folder / "canary")))
    rehash(folder)


def pickle_as_meta(folder: Path) -> None:
    (folder / META).write_bytes(pickle.dumps(Bomb(folder / "canary")))
    forge_hashes(folder)


def truncated_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def truncated_weights_with_their_hash(folder: Path) -> None:
    truncated_weights(folder)
    rehash(folder)


def one_flipped_bit(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def transpose_a_layer(folder: Path) -> None:
    def change(weights: dict[str, np.ndarray]) -> None:
        weights["policy.action_net.weight"] = weights["policy.action_net.weight"].T.copy()

    change_weights(folder, change)


def lose_a_layer(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("policy.action_net.weight"))


def diverge(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["policy.action_net.weight"].fill(np.nan))


def lose_the_normalisation(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("normalisation.mean"))


def weights_are_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def deeply_nested_meta(folder: Path) -> None:
    (folder / META).write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    forge_hashes(folder)


CRAFTED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle as weights": (pickle_as_weights, "not a safetensors file"),
    "pickle as meta": (pickle_as_meta, "not JSON"),
    "truncated": (truncated_weights, "damaged"),
    "truncated, hash mended": (truncated_weights_with_their_hash, "not a safetensors file"),
    "one bit": (one_flipped_bit, "damaged"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "no such file"),
    "a folder for a file": (weights_are_a_folder, "no such file"),
    "os.system as algorithm": (lambda f: change_meta(f, algorithm__name="os:system"), "unknown algorithm 'os:system'"),
    "a list as algorithm": (lambda f: change_meta(f, algorithm=["ppo"]), "must be a mapping"),
    "a class as activation": (
        lambda f: change_meta(f, algorithm__policy_kwargs__activation_fn="os.system"),
        "activation_fn: .*'tanh'",
    ),
    "a foreign key": (lambda f: change_meta(f, algorithm__policy_class="builtins:eval"), "policy_class: unknown key"),
    "a target": (lambda f: change_meta(f, _target_="os.system"), "_target_: unknown key"),
    "a path": (lambda f: change_meta(f, weights_file="../../etc/passwd"), "weights_file: unknown key"),
    "no hash": (lambda f: change_meta(f, weights_sha256="../../x"), "weights_sha256"),
    "a huge layer": (
        lambda f: change_meta(f, algorithm__policy_kwargs__net_arch=[60_000, 60_000]),
        r"is float32 \[8, 2\] and should be float32 \[60000, 2\]",
    ),
    "an endless network": (lambda f: change_meta(f, algorithm__policy_kwargs__net_arch=[8] * 10_000), "net_arch"),
    "a huge space": (lambda f: change_meta(f, observation_space__shape=[2**40]), "no valid space"),
    "a negative space": (lambda f: change_meta(f, action_space={"kind": "discrete", "n": -3}), "no valid space"),
    "an unknown space": (lambda f: change_meta(f, action_space={"kind": "os.system"}), "no known space"),
    "another format": (lambda f: change_meta(f, format_version=1), "another version of tokenfleet"),
    "nested": (deeply_nested_meta, META),
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
