"""Checkpoints that were made to cost their reader memory or time, or to slip nonsense in; and what reading each costs.

`python -m tests.policies.hostile` prints peak memory and processor time of each, as docs/reliability.md has them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from tests.forged import forge_hashes
from tests.policies.tampering import META, WEIGHTS, change_meta, change_weights, make_sound, rehash
from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint import load_policy

HEADROOM_BYTES = 700 * 2**20
"""Address space that reading a checkpoint may take, beyond that of Python, torch and stable-baselines3."""
SOUND = "sound"
_LARGE = [65_536] * 32


class Reading(NamedTuple):
    """What came of reading a checkpoint: the refusal, empty for none, and its cost."""

    refusal: str
    peak_mib: float
    cpu_s: float


def other_algorithm(name: str, **network: Any) -> Callable[[Path], None]:
    def craft(folder: Path) -> None:
        change_meta(folder, algorithm={"name": name, "policy_kwargs": network})

    return craft


def set_meta(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: change_meta(folder, **changes)


def see(**space: Any) -> Callable[[Path], None]:
    """Another space of observations, for the network as well; not normalised."""
    return set_meta(
        observation_space=space, network_observation_space=space, algorithm__normalize={}, normalisation=None
    )


def image(*shape: int) -> dict[str, Any]:
    return {"kind": "box", "shape": list(shape), "dtype": "uint8", "low": 0.0, "high": 255.0}


def raw_meta(text: Callable[[], str]) -> Callable[[Path], None]:
    def craft(folder: Path) -> None:
        (folder / META).write_text(text())
        forge_hashes(folder)

    return craft


def sparse_file(name: str, size: int) -> Callable[[Path], None]:
    """Zeros that take no space on the disk."""

    def craft(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.truncate(size)

    return craft


def headed(header: dict[str, Any] | bytes, data_bytes: int, promised: int | None = None) -> Callable[[Path], None]:
    """Weights with this header, and zeros that take no space on the disk."""

    def craft(folder: Path) -> None:
        content = header if isinstance(header, bytes) else json.dumps(header).encode()
        length = len(content) if promised is None else promised
        with (folder / WEIGHTS).open("wb") as file:
            file.write(length.to_bytes(8, "little") + content)
            file.truncate(8 + len(content) + data_bytes)
        rehash(folder)

    return craft


def tensor(shape: list[int], begin: int = 0, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + 4 * int(np.prod(shape))]}


def fill(name: str, value: float) -> Callable[[Path], None]:
    return lambda folder: change_weights(folder, lambda weights: weights[name].fill(value))


def largest_sound(folder: Path) -> None:
    """A network of 174 MiB whose description is true: nothing is wrong with it."""
    width = 6_750
    change_meta(folder, algorithm__policy_kwargs__net_arch={"pi": [width, width], "vf": [8]})
    weights = load_file(folder / WEIGHTS)
    shapes = {
        name: (list(value.shape), "F64" if value.dtype == np.float64 else "F32") for name, value in weights.items()
    }
    first, second, last = (
        "policy.mlp_extractor.policy_net.0",
        "policy.mlp_extractor.policy_net.2",
        "policy.action_net",
    )
    for name, rows, columns in ((first, width, 2), (second, width, width), (last, 2, width)):
        shapes |= {f"{name}.weight": ([rows, columns], "F32"), f"{name}.bias": ([rows], "F32")}
    header, at = {}, 0
    for name, (shape, dtype) in sorted(shapes.items(), key=lambda item: item[1][1], reverse=True):
        size = int(np.prod(shape)) * (8 if dtype == "F64" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    headed(text + b" " * (-len(text) % 8), at)(folder)


def float64_weights(weights: dict[str, np.ndarray]) -> None:
    weights["policy.action_net.weight"] = weights["policy.action_net.weight"].astype(np.float64)


NORMAL = "normalisation"
SPACE = "describes no valid space"
UNFIT = "does not fit the network"
HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "huge discrete observations": (see(kind="discrete", n=2**40), SPACE),
    "large discrete observations": (see(kind="discrete", n=2**20), rf"{UNFIT}.*\[8, 1048576\]"),
    "large discrete actions": (set_meta(action_space={"kind": "discrete", "n": 2**20}), UNFIT),
    "large binary actions": (set_meta(action_space={"kind": "multi_binary", "n": 2**20}), UNFIT),
    "many huge choices": (set_meta(action_space={"kind": "multi_discrete", "nvec": [2**20] * 1000}), SPACE),
    "a list of many choices": (set_meta(action_space={"kind": "multi_discrete", "nvec": [2] * 500_000}), SPACE),
    "a huge box": (see(**image(2**15, 2**15, 3)), SPACE),
    "a large image": (see(**image(1, 1024, 1024)), UNFIT),
    "many large images": (see(kind="dict", spaces={f"i{i}": image(1, 1024, 1024) for i in range(20)}), SPACE),
    "many parts": (see(kind="dict", spaces={f"p{i}": {"kind": "discrete", "n": 2} for i in range(25_000)}), SPACE),
    "a part with a dot": (see(kind="dict", spaces={"a.b": {"kind": "discrete", "n": 2}}), "describes no network"),
    "bounds the wrong way round": (set_meta(observation_space__low=2.0), SPACE),
    "a bound that is no number": (set_meta(observation_space__low="nan"), SPACE),
    "a bound for each of too few": (set_meta(observation_space__low=[0.0] * 3), SPACE),
    "an axis of nothing": (set_meta(observation_space__shape=[0]), SPACE),
    "other spaces for the network": (
        set_meta(network_observation_space={"kind": "discrete", "n": 2}),
        "does not belong to observation_space",
    ),
    "a limit that the network does not see": (
        set_meta(limits=[{"name": "above_cap_s", "knots": [1.0, 2.0]}]),
        "does not belong to observation_space",
    ),
    "knots that descend": (set_meta(limits=[{"name": "above_cap_s", "knots": [2.0, 1.0]}]), "knots must ascend"),
    "many knots": (set_meta(limits=[{"name": "above_cap_s", "knots": list(range(100_000))}]), "at most 16"),
    "many limits": (set_meta(limits=[{"name": f"l{i}", "knots": [1.0, 2.0]} for i in range(20_000)]), "at most 64"),
    "many critics": (other_algorithm("tqc", n_critics=64, net_arch=_LARGE), UNFIT),
    "huge layers": (other_algorithm("ppo", net_arch=_LARGE), UNFIT),
    "a huge memory": (other_algorithm("recurrent_ppo", lstm_hidden_size=65_536, n_lstm_layers=8), UNFIT),
    "sparse weights of 20 GB": (sparse_file(WEIGHTS, 20 * 10**9), "too large"),
    "a sparse description of 20 GB": (sparse_file(META, 20 * 10**9), "too large"),
    "weights that nothing asks for": (
        headed({"policy.x": tensor([50_000_000])}, 4 * 50_000_000),
        rf"{UNFIT}.*is missing",
    ),
    "a header that promises more": (headed({"policy.x": tensor([10**9])}, 0), "not a safetensors file"),
    "a header of a terabyte": (headed({}, 0, promised=2**40), "not a safetensors file"),
    "a header of 200 MB": (headed(b" " * 200_000_000, 0), "not a safetensors file"),
    "a header of many tensors": (
        headed({f"t{i}": tensor([1], 4 * i) for i in range(20_000)}, 4 * 20_000),
        rf"{UNFIT}.*is missing",
    ),
    "a shape beyond counting": (headed({"policy.x": {**tensor([1]), "shape": [2**62, 2**62]}}, 4), "not a safetensors"),
    "a deep description": (raw_meta(lambda: '{"a":' * 100_000 + "1" + "}" * 100_000), "not JSON"),
    "a description 100 deep": (raw_meta(lambda: '{"a":' * 100 + "1" + "}" * 100), "nested at most"),
    "a wide description": (raw_meta(lambda: '{"a":[' + "[]," * 690_000 + "[]]}"), "unknown key|missing"),
    "a number of a million digits": (raw_meta(lambda: '{"format_version":' + "9" * 10**6 + "}"), "not JSON"),
    "a constant that JSON lacks": (raw_meta(lambda: '{"format_version": NaN}'), "not JSON"),
    "negative variances": (fill(f"{NORMAL}.variance", -1.0), "negative variance"),
    "variances that are no numbers": (fill(f"{NORMAL}.variance", np.nan), r"normalisation\.variance is not finite"),
    "infinite means": (fill(f"{NORMAL}.mean", np.inf), r"normalisation\.mean is not finite"),
    "weights of another type": (lambda folder: change_weights(folder, float64_weights), rf"{UNFIT}.*float64 \[2, 8\]"),
    "a tensor too many": (
        lambda folder: change_weights(folder, lambda weights: weights.update(more=np.zeros(3))),
        "more belongs to nothing",
    ),
    "statistics of a huge wrapper": (
        set_meta(wrapper_statistics={"Mine.0.moments.mean": {"dtype": "float64", "shape": [2**40]}}),
        rf"{UNFIT}.*wrapper\.Mine\.0\.moments\.mean is missing",
    ),
    "statistics of another type": (
        set_meta(wrapper_statistics={"Mine.0.moments.mean": {"dtype": "object", "shape": [1]}}),
        "'float32' or 'float64'",
    ),
    "the largest sound one": (largest_sound, "^$"),
}
"""Name, how a sound checkpoint becomes it, and the refusal as a regular expression."""


def build(folder: Path) -> None:
    """Write the corpus, and the sound checkpoint that each is made from."""
    make_sound(folder / SOUND)
    for case, (craft, _) in HOSTILE.items():
        shutil.copytree(folder / SOUND, folder / case)
        craft(folder / case)


def read_all(folder: Path) -> Iterator[tuple[str, Reading]]:
    """Read every checkpoint in a process of its own, which may not take more than `HEADROOM_BYTES` beyond this one."""
    load_policy(folder / SOUND)  # imports what every reading needs
    for path in sorted(folder.iterdir()):
        receiver, sender = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(receiver)
            _read(path, sender)
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver) as pipe:
            said = pipe.read()
        _, _, used = os.wait4(pid, 0)
        refusal = json.loads(said) if said else "the process died"
        yield path.name, Reading(refusal, used.ru_maxrss / 2**10, used.ru_utime + used.ru_stime)


def _read(path: Path, sender: int) -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + HEADROOM_BYTES, taken + HEADROOM_BYTES))
    refusal = ""
    try:
        load_policy(path)
    except SpecError as error:
        refusal = str(error)
    except BaseException as error:
        refusal = f"not answered: {error!r}"
    os.write(sender, json.dumps(refusal[:2000]).encode())


def main() -> None:
    """Print peak memory and processor time of each, or what came of each in `sys.argv[1]` as JSON."""
    if len(sys.argv) > 1:
        print(json.dumps(dict(read_all(Path(sys.argv[1])))))
        return
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        print("| checkpoint | peak, MiB | CPU, s | refusal |\n|---|---|---|---|")
        for case, reading in read_all(Path(folder)):
            words = reading.refusal.splitlines()[0].rpartition(f"{case}/")[2] if reading.refusal else "none"
            print(f"| {case} | {reading.peak_mib:.0f} | {reading.cpu_s:.2f} | {words[:110]} |")


if __name__ == "__main__":
    main()
