"""Checkpoints that are safe to share: `policy.safetensors`, `meta.json` and their hashes, and no pickle anywhere.

A checkpoint names an algorithm, plain hyper-parameters and numbers; the network is rebuilt from them and then filled.
Nothing in it is evaluated or used as a path, and nothing is imported but what its reader trusts by name: a crafted one
is refused at worst, and before it has cost memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium import Space, spaces
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.algorithms import AnyAlgorithm
from tokenfleet.policies.learned.checkpoint_meta import (
    FORMAT_VERSION,
    MOST_META_BYTES,
    ArrayLayout,
    BaseMeta,
    CheckpointMeta,
    Origin,
)
from tokenfleet.policies.learned.correction import Base
from tokenfleet.policies.learned.hashed_folder import check_hashed_folder, write_hashed_folder
from tokenfleet.policies.learned.layout import BEST, LAST, META_FILE, WEIGHTS_FILE, checkpoint_of
from tokenfleet.policies.learned.network_policy import (
    VARIANCE,
    NetworkPolicy,
    base_in,
    moment_shapes,
    normalisation_of,
    wrapper_statistics_of,
)
from tokenfleet.policies.learned.packages import LEARNING_PACKAGES, versions_of
from tokenfleet.policies.learned.plain_data import (
    MOST_WEIGHT_BYTES,
    encode_arrays,
    json_bytes,
    parse_json,
    read_bytes,
    sha256,
)
from tokenfleet.policies.learned.spaces import space_difference, space_from_plain, space_to_plain
from tokenfleet.policies.learned.trust import refuse_untrusted

if TYPE_CHECKING:
    import torch
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

    from tokenfleet.policies.learned.weights import Layout

FILES = {META_FILE: MOST_META_BYTES, WEIGHTS_FILE: MOST_WEIGHT_BYTES}
"""The files of a checkpoint, and how many bytes each may have."""
_NORMALISATION = "normalisation."
_POLICY = "policy."
_WRAPPER = "wrapper."
_BASE = "base."
_NO_HASH = "0" * 64


class LearnedPolicy(NetworkPolicy):
    """A trained policy, as it came out of a checkpoint.

    Attributes:
        meta: where it comes from.
        observation_space, action_space: of a single environment.
    """

    def __init__(
        self,
        meta: CheckpointMeta,
        network: BasePolicy,
        moments: Mapping[str, NDArray[Any]],
        wrapper_statistics: Mapping[str, NDArray[Any]],
        observation_space: Space[Any],
        action_space: Space[Any],
        base: Base | None = None,
    ) -> None:
        super().__init__(network, meta.normalisation, moments, wrapper_statistics, base)
        self.meta = meta
        self.observation_space = observation_space
        self.action_space = action_space

    def check_spaces(self, observation_space: Space[Any], action_space: Space[Any]) -> None:
        """Make sure that the policy fits an environment.

        Raises:
            SpecError: it was trained on other spaces.
        """
        problems = []
        for name, trained, given in (
            ("observations", self.observation_space, observation_space),
            ("actions", self.action_space, action_space),
        ):
            difference = space_difference(trained, given)
            if difference:
                problems.append(
                    f"checkpoint: trained on {self.trained_on}, whose {name} differ from this environment's "
                    f"({difference}); evaluate it there"
                )
        if problems:
            raise SpecError(problems)

    @property
    def trained_on(self) -> str:
        """The environment in words."""
        scenario = (self.meta.origin.scenario or {}).get("name")
        return f"{self.meta.origin.environment} with scenario={scenario}" if scenario else self.meta.origin.environment


def save_checkpoint(folder: Path, model: BaseAlgorithm, algorithm: AnyAlgorithm, origin: Origin) -> None:
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
    """Everything that a policy has learned, that of its base included."""
    network, moments, statistics = policy.arrays()
    arrays = {_NORMALISATION + name: value for name, value in moments.items()}
    arrays |= {_WRAPPER + name: value for name, value in statistics.items()}
    for name, tensor in network.state_dict().items():
        arrays[_POLICY + name] = tensor.detach().cpu().numpy()
    if policy.base is not None and policy.base.learned is not None:
        arrays |= {_BASE + name: value for name, value in _arrays_of(policy.base.learned).items()}
    return arrays


def describe_policy(
    model: BaseAlgorithm, algorithm: AnyAlgorithm, origin: Origin, weights_sha256: str = _NO_HASH
) -> bytes:
    """The content of `meta.json`.

    Raises:
        SpecError: it is larger than a checkpoint's may be.
    """
    env = model.get_env()
    assert env is not None
    normalisation, _ = normalisation_of(model)
    meta = CheckpointMeta(
        algorithm=algorithm,
        observation_space=space_to_plain(env.unwrapped.observation_space),
        action_space=space_to_plain(env.unwrapped.action_space),
        network_observation_space=space_to_plain(model.observation_space),
        normalisation=normalisation,
        wrapper_statistics={
            name: ArrayLayout.parse({"dtype": str(value.dtype), "shape": value.shape})
            for name, value in wrapper_statistics_of(model).items()
        },
        base=_described_base(base_in(model)),
        origin=origin,
        versions=versions_of(LEARNING_PACKAGES),
        weights_sha256=weights_sha256,
    )
    content = json_bytes(meta.model_dump(mode="json"))
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

    It takes memory and time in proportion to its weights, and these are bounded, unless it names code that is trusted:
    that code is then imported and called with what the checkpoint says.

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
    return _rebuild(meta, found)


def _code_in(meta: CheckpointMeta) -> list[Any]:
    """The parts of a description that may name code."""
    inner = [] if meta.base is None or meta.base.checkpoint is None else _code_in(meta.base.checkpoint)
    return [meta.algorithm.model_dump(mode="json"), None if meta.base is None else meta.base.choice, *inner]


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the best (else the last) of a run.

    Raises:
        SpecError: there is none.
    """
    candidates = [path, checkpoint_of(path, BEST), checkpoint_of(path, LAST)]
    for candidate in candidates:
        if (candidate / META_FILE).is_file():
            return candidate
    if path.is_file():
        hint = "a file; stable-baselines3's zip files can run code when they are opened and are never read here"
        raise SpecError([f"checkpoint: {path} is {hint}; give a folder that train.py wrote"])
    if not path.exists():
        raise SpecError([f"checkpoint: no such folder {str(path)!r}"])
    raise SpecError(
        [f"checkpoint: {path} holds no checkpoint ({META_FILE} is missing); give a folder that train.py wrote"]
    )


def _rebuild(meta: CheckpointMeta, folder: Path) -> LearnedPolicy:
    """The policy with its weights, of which none is read before the file's header is what the description asks for."""
    from tokenfleet.policies.learned.weights import layout_difference, read_layout, read_weights

    file = folder / WEIGHTS_FILE
    empty = _Empty.of(meta, folder)
    difference = layout_difference(empty.layout(), read_layout(file))
    if difference:
        raise SpecError([f"{file}: does not fit the network that {META_FILE} describes ({difference})"])
    return empty.filled(read_weights(file), file)


@dataclass(frozen=True)
class _Empty:
    """A description with the network that it describes, before its weights are read.

    Attributes:
        meta: the description.
        network: without weights.
        observation, action: spaces of a single environment.
        base: the same of a learned policy that the network corrects.
    """

    meta: CheckpointMeta
    network: BasePolicy
    observation: Space[Any]
    action: Space[Any]
    base: _Empty | None

    @classmethod
    def of(cls, meta: CheckpointMeta, folder: Path) -> _Empty:
        """The network of a description."""
        import torch

        from tokenfleet.policies.learned.sb3 import build_policy, check_spaces

        observation, action, seen = _spaces(meta, folder)
        check_spaces(meta.algorithm, observation, action)
        with torch.random.fork_rng(devices=[]):  # foreign code draws fresh weights
            network = _described(meta, lambda: build_policy(meta.algorithm, seen, action), folder)
        inner = None if meta.base is None else meta.base.checkpoint
        return cls(meta, network, observation, action, None if inner is None else cls.of(inner, folder))

    def layout(self) -> Layout:
        """What the weights file must hold."""
        import torch

        from tokenfleet.policies.learned.weights import layout_of

        expected = {_POLICY + name: layout for name, layout in layout_of(self.network.state_dict()).items()}
        expected |= {_NORMALISATION + name: (torch.float64, shape) for name, shape in self._moments().items()}
        expected |= {
            _WRAPPER + name: (getattr(torch, layout.dtype), layout.shape)
            for name, layout in self.meta.wrapper_statistics.items()
        }
        inner = {} if self.base is None else self.base.layout()
        return expected | {_BASE + name: layout for name, layout in inner.items()}

    def filled(self, weights: dict[str, torch.Tensor], file: Path) -> LearnedPolicy:
        """The policy, which takes `weights` over.

        Raises:
            SpecError: a variance is negative.
        """
        moments = {name: weights.pop(_NORMALISATION + name).numpy() for name in self._moments()}
        statistics = {name: weights.pop(_WRAPPER + name).numpy() for name in self.meta.wrapper_statistics}
        if any(name.startswith(VARIANCE) and (value < 0).any() for name, value in moments.items()):
            raise SpecError([f"{file}: holds a negative variance of observations"])
        inner = {name: weights.pop(name) for name in list(weights) if name.startswith(_BASE)}
        base = self._base({name.removeprefix(_BASE): value for name, value in inner.items()}, file)
        own = {name.removeprefix(_POLICY): value for name, value in weights.items()}
        self.network.load_state_dict(own, assign=True)
        self.network.set_training_mode(False)
        return LearnedPolicy(self.meta, self.network, moments, statistics, self.observation, self.action, base)

    def _base(self, weights: dict[str, torch.Tensor], file: Path) -> Base | None:
        if self.meta.base is None:
            return None
        learned = None if self.base is None else self.base.filled(weights, file)
        return Base(self.meta.base.reach, self.meta.base.choice, learned)

    def _moments(self) -> dict[str, tuple[int, ...]]:
        return moment_shapes(self.observation) if self.meta.normalisation is not None else {}


def _described(meta: CheckpointMeta, build: Callable[[], BasePolicy], folder: Path) -> BasePolicy:
    """The network of a description; whatever goes wrong there, the description is to blame."""
    try:
        return build()
    except SpecError:
        raise
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError, NotImplementedError, MemoryError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError([f"{folder / META_FILE}: describes no network ({first})"]) from error


def _spaces(meta: CheckpointMeta, folder: Path) -> tuple[Space[Any], Space[Any], Space[Any]]:
    """The spaces of observations, of actions, and of what the network sees.

    Raises:
        SpecError: they are impossible, or do not belong together.
    """
    where = str(folder / META_FILE)
    observation = space_from_plain(meta.observation_space, f"{where}: observation_space")
    action = space_from_plain(meta.action_space, f"{where}: action_space")
    seen = space_from_plain(meta.network_observation_space, f"{where}: network_observation_space")
    if not _may_see(seen, observation):
        raise SpecError([f"{where}: network_observation_space: does not belong to observation_space"])
    return observation, action, seen


def _may_see(seen: Space[Any], observation: Space[Any]) -> bool:
    """Whether a network that sees `seen` may be given `observation`: the same, but that images have channels first."""
    if isinstance(observation, spaces.Dict):
        parts = seen.spaces if isinstance(seen, spaces.Dict) else {}
        return set(parts) == set(observation.spaces) and all(
            _may_see(parts[key], part) for key, part in observation.spaces.items()
        )
    if isinstance(observation, spaces.Box):
        channels_first = (observation.shape[-1:] + observation.shape[:-1]) if len(observation.shape) == 3 else None
        return isinstance(seen, spaces.Box) and seen.shape in (observation.shape, channels_first)
    return seen == observation
