"""A sound checkpoint, and changes of its files with hashes that fit, as an attacker would make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.forged import forge_hashes
from tests.policies.toys import Target, job_on, same_step, small_algorithm
from tokenfleet.policies.learned.checkpoint import save_checkpoint
from tokenfleet.policies.learned.checkpoint_meta import TrainingOrigin
from tokenfleet.policies.learned.training import make_model

META, WEIGHTS = "meta.json", "policy.safetensors"


def make_sound(folder: Path, name: str = "ppo") -> None:
    """An untrained checkpoint with normalised observations."""
    algorithm = small_algorithm(name, normalize={"norm_obs": True})
    origin = TrainingOrigin(environment="toy", training_seed=3, timesteps=100)
    save_checkpoint(folder, make_model(job_on(same_step(Target, 2), algorithm)), algorithm, origin)


def change_meta(folder: Path, **changes: Any) -> None:
    """Change `meta.json`; a dotted key, with `__` for dots, goes down."""
    meta = json.loads((folder / META).read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = meta
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / META).write_text(json.dumps(meta))
    forge_hashes(folder)


def rehash(folder: Path) -> None:
    """Put the right hash of the weights into `meta.json`, as an attacker would."""
    digest = hashlib.sha256()
    with (folder / WEIGHTS).open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    change_meta(folder, weights_sha256=digest.hexdigest())


def change_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Change the arrays beside the description."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)
    rehash(folder)
