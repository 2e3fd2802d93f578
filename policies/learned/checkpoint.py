"""Checkpoints that are safe to share: `policy.safetensors`, `meta.json` and their hashes, and no pickle anywhere.

A checkpoint names an algorithm, plain hyper-parameters and numbers; the network is rebuilt from them and then filled.
Nothing in it is evaluated or used as a path, and only code that its reader trusts by name is imported. A crafted
checkpoint can do no worse than be refused, before it has cost memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import AnyAlgorithm
from tokenfleet.policies.learned.checkpoint_meta import (
    FORMAT_VERSION,
    MOST_META_BYTES,
    ArrayLayout,
    BaseMeta,
    CheckpointMeta,
    TrainingOrigin,
)
from tokenfleet.policies.learned.correction import Base
from tokenfleet.policies.learned.hashed_folder import check_hashed_folder, write_hashed_folder
from tokenfleet.policies.learned.layout import META_FILE, WEIGHTS_FILE, find_checkpoint, has_checkpoint
from tokenfleet.policies.learned.network_policy import (
    NetworkPolicy,
    base_in,
    limits_in,
    normalisation_of,
    wrapper_statistics_of,
)
from tokenfleet.policies.learned.packages import LEARNING_PACKAGES, versions_of
from tokenfleet.policies.learned.plain_data import (
    MOST_WEIGHT_BYTES,
    encode_arrays,
    parse_json,
    read_bytes,
    sha256,
)
from tokenfleet.policies.learned.rebuilding import (
    BASE_PREFIX,
    NORMALISATION_PREFIX,
    POLICY_PREFIX,
    WRAPPER_PREFIX,
    LearnedPolicy,
    rebuilt_policy,
)
from tokenfleet.policies.learned.spaces import space_to_plain
from tokenfleet.policies.learned.trust import refuse_untrusted
from tokenfleet.policies.policy_files import resolved
from tokenfleet.policies.registry import Choice

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


FILES = {META_FILE: MOST_META_BYTES, WEIGHTS_FILE: MOST_WEIGHT_BYTES}
"""The files of a checkpoint, and how many bytes each may have."""
_NO_HASH = "0" * 64


def save_checkpoint(folder: Path, model: BaseAlgorithm, algorithm: AnyAlgorithm, origin: TrainingOrigin) -> None:
    """Write a checkpoint, replacing an older one of this name.

    Args:
        folder: to write.
        model: holds the weights and, in its environment, the normalisation.
        algorithm: the hyper-parameters that the model was built from.
        origin: where the policy comes from.
    """
    content = encode_arrays(_arrays_of(NetworkPolicy.of_model(model)))
    meta = describe_policy(model, algorithm, origin, sha256(content))
    write_hashed_folder(folder, {WEIGHTS_FILE: content, META_FILE: meta})


def _arrays_of(policy: NetworkPolicy) -> dict[str, NDArray[Any]]:
    """Everything that a policy has learned, its base included."""
    network, moments, statistics = policy.arrays()
    arrays = {NORMALISATION_PREFIX + name: value for name, value in moments.items()}
    arrays |= {WRAPPER_PREFIX + name: value for name, value in statistics.items()}
    for name, tensor in network.state_dict().items():
        arrays[POLICY_PREFIX + name] = tensor.detach().cpu().numpy()
    if policy.base is not None and policy.base.learned is not None:
        arrays |= {BASE_PREFIX + name: value for name, value in _arrays_of(policy.base.learned).items()}
    return arrays


def describe_policy(
    model: BaseAlgorithm, algorithm: AnyAlgorithm, origin: TrainingOrigin, weights_sha256: str = _NO_HASH
) -> bytes:
    """The content of `meta.json`.

    Raises:
        SpecError: it is larger than a checkpoint's may be.
    """
    env = model.get_env()
    assert env is not None
    normalisation, _ = normalisation_of(model)
    bare, limits = limits_in(model)
    meta = CheckpointMeta(
        algorithm=algorithm,
        observation_space=space_to_plain(bare.single_observation_space),
        action_space=space_to_plain(env.unwrapped.action_space),
        network_observation_space=space_to_plain(model.observation_space),
        normalisation=normalisation,
        wrapper_statistics={
            name: ArrayLayout.parse({"dtype": str(value.dtype), "shape": value.shape})
            for name, value in wrapper_statistics_of(model).items()
        },
        base=_described_base(base_in(model)),
        limits=limits,
        origin=origin,
        versions=versions_of(LEARNING_PACKAGES),
        weights_sha256=weights_sha256,
    )
    content = (meta.model_dump_json(indent=1) + "\n").encode()
    if len(content) > MOST_META_BYTES:
        parts = "scenario, arguments of the environment, hyper-parameters and bounds of spaces"
        raise SpecError([f"env: {parts} take {len(content):,} bytes; a checkpoint may have {MOST_META_BYTES:,}"])
    return content


def _described_base(base: Base | None) -> BaseMeta | None:
    if base is None:
        return None
    choice = dict(base.choice) if isinstance(base.choice, Mapping) else base.choice
    checkpoint = None if base.learned is None else base.learned.meta
    return BaseMeta(reach=base.reach, choice=choice, checkpoint=checkpoint)


def load_policy(folder: Path | str, trust: str | Iterable[str] = ()) -> LearnedPolicy:
    """Read a checkpoint that may come from anybody.

    Reading takes memory and time in proportion to the checkpoint's weights, and these are bounded, unless the
    checkpoint names trusted code: that code is then imported and called with the checkpoint's arguments.

    Args:
        folder: a checkpoint, or a run of train.py, whose best checkpoint is taken.
        trust: modules and packages whose code the checkpoint may name.

    Raises:
        SpecError: anything but a sound checkpoint that names no code or code of trusted modules.
    """
    found = find_checkpoint(Path(folder))
    digests = check_hashed_folder(found, FILES)
    plain = parse_json(read_bytes(found / META_FILE), found / META_FILE)
    if plain.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
        hint = "evaluate it there, or train again"
        raise SpecError([f"{found / META_FILE}: was written by another version of tokenfleet; {hint}"])
    meta = CheckpointMeta.parse(plain, str(found / META_FILE))
    if digests[WEIGHTS_FILE] != meta.weights_sha256:
        raise SpecError([f"{found / WEIGHTS_FILE}: does not match its hash in {META_FILE}; the file is damaged"])
    refuse_untrusted(_code_in(meta), [trust] if isinstance(trust, str) else trust, f"checkpoint {found}")
    return rebuilt_policy(meta, found)


def load_base(choice: Choice, reach: float, trust: str | Iterable[str] = ()) -> Base:
    """An existing policy, as `policy.base` names it.

    Args:
        choice: a policy of the registry, the file of one, a checkpoint, or a run, whose best checkpoint is taken.
        reach: see `Base`.
        trust: see `load_policy`.

    Raises:
        SpecError: the file or the checkpoint cannot be read, or it was trained for ranges of limits and none is chosen.
    """
    if isinstance(choice, str) and has_checkpoint(Path(choice)):
        learned = load_policy(choice, trust)
        if learned.limits:
            ranges = ", ".join(f"{one.key} from {one.span}" for one in learned.limits)
            hint = f"name what it shall keep: {{name: checkpoint, folder: {choice}, limits: {{...}}}}"
            raise SpecError([f"checkpoint: {choice} was trained for {ranges}; {hint}"])
        return Base(reach, learned=learned)
    return Base(reach, resolved(choice))


def _code_in(meta: CheckpointMeta) -> list[Any]:
    """The parts of a description that may name code."""
    inner = [] if meta.base is None or meta.base.checkpoint is None else _code_in(meta.base.checkpoint)
    return [meta.algorithm.network_parts(), None if meta.base is None else meta.base.choice, *inner]
