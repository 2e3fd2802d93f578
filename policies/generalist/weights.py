"""The weights of the generalist as a file, as the numbers of a search, and as arrays.

A file is in the safetensors format, and says which features and set-points its weights are for; weights for others are
refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.policies.generalist.law import ABOUT, FEATURES, POOLINGS, SETPOINTS, Weights

Float64Array = NDArray[np.float64]

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parents[1] / "pretrained"
MOST_HIDDEN = 64
MOST_BYTES = 2**22
MEANING = json.dumps({"features": FEATURES, "setpoints": SETPOINTS})
"""The features and set-points of this version, as a file states them."""
SCALES = {"bias": 1.0, "own": 0.5, "pooled": 0.3, "encode_site": 1.0, "encode_pool": 1.0, "encode_class": 1.0}
"""Weight per number of a search, by array: an entry moves more by its bias than by one feature."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of one policy, by name."""
    encoders = {f"encode_{kind}": (len(names) + 1, hidden) for kind, names in FEATURES.items()}
    pooled = len(FEATURES) * POOLINGS * hidden
    return {"bias": (len(SETPOINTS),), "own": (len(SETPOINTS), ABOUT), "pooled": (len(SETPOINTS), pooled), **encoders}


def start(hidden: int, seed: int) -> Weights:
    """Weights that act as `supervisor` does: all zero but for the encoders, which are drawn."""
    rng = np.random.default_rng(seed)
    arrays = {name: np.zeros((1, *shape)) for name, shape in shapes(hidden).items()}
    for name, array in arrays.items():
        if name.startswith("encode_"):
            array[:] = rng.standard_normal(array.shape) / np.sqrt(array.shape[1])
    return Weights(**arrays)


def numbers_of(weights: Weights, biases_alone: bool = False) -> Float64Array:
    """The weights of one policy on the scale of a search, `[D]`."""
    kept = ("bias",) if biases_alone else Weights._fields
    return np.concatenate([(getattr(weights, name) / SCALES[name]).ravel() for name in kept])


def weights_of(numbers: Float64Array, around: Weights) -> Weights:
    """The weights of B policies from the numbers of a search.

    Args:
        numbers: of all arrays, or of the biases alone, `[B, D]`.
        around: gives shapes, and the arrays that numbers leave out.
    """
    arrays, first = {}, 0
    for name, array in around._asdict().items():
        count, shape = array[0].size, (len(numbers), *array.shape[1:])
        part = numbers[:, first : first + count]
        arrays[name] = (
            (part * SCALES[name]).reshape(shape) if first < numbers.shape[1] else np.repeat(array, len(numbers), axis=0)
        )
        first += count
    return Weights(**arrays)


def save_weights(path: Path, weights: Weights, found: dict[str, str]) -> None:
    """Write the weights of one policy.

    Args:
        path: of the file; its folder is made.
        weights: of one policy; kept in float32.
        found: how the weights were found.

    Raises:
        SpecError: the file cannot be written.
    """
    tensors = {name: array[0].astype(np.float32) for name, array in weights._asdict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, save(tensors, {"meaning": MEANING, **found}))
    except OSError as error:
        raise SpecError([f"--out: cannot write {path}: {error.strerror or error}"]) from None


def weights_hash(weights: Weights) -> str:
    """Hash of the weights of one policy in float32, 12 hexadecimal digits."""
    return hashlib.sha256(b"".join(array.astype(np.float32).tobytes() for array in weights)).hexdigest()[:12]


def shipped_names() -> list[str]:
    """Names of the shipped weights."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}"))


def load_weights(choice: str, where: str) -> Weights:
    """The weights of one policy, `[1, ...]` each.

    Args:
        choice: the name of shipped weights, or the path of a file.
        where: dotted prefix of every message.

    Raises:
        SpecError: there is no such file, or it holds no weights of this version's generalist.
    """
    if choice.endswith(SUFFIX):
        path = Path(choice)
    elif choice in shipped_names():
        path = SHIPPED / f"{choice}{SUFFIX}"
    else:
        hint = f"{suggest(choice, shipped_names())}, or the path of a {SUFFIX} file"
        raise SpecError([f"{where}: unknown weights {choice!r}{hint}"])
    if not path.is_file():
        raise SpecError([f"{where}: there is no file {path}"])
    if path.stat().st_size > MOST_BYTES:
        raise SpecError([f"{where}: {path} is too large to hold weights of a generalist (over {MOST_BYTES:,} bytes)"])
    try:
        with safe_open(path, "np") as file:
            meaning = (file.metadata() or {}).get("meaning")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise SpecError([f"{where}: {path} is not a safetensors file ({error})"]) from None
    if meaning != MEANING:
        raise SpecError([f"{where}: {path} holds weights for other features or set-points; train them anew"])
    return _checked(found, f"{where}: {path}")


def _checked(found: dict[str, NDArray[np.generic]], where: str) -> Weights:
    hidden = found["encode_site"].shape[-1] if "encode_site" in found and found["encode_site"].ndim == 2 else 0
    expected = shapes(min(hidden, MOST_HIDDEN))
    if {name: array.shape for name, array in found.items()} != expected:
        raise SpecError([f"{where} holds arrays of other names or shapes; train the weights anew"])
    if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values()):
        raise SpecError([f"{where} holds numbers that are not finite, or not float32; train the weights anew"])
    return Weights(**{name: array[None].astype(np.float64) for name, array in found.items()})
