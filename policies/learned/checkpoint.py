"""Checkpoints that are safe to share: `policy.safetensors`, `meta.json` and their hashes, and no pickle anywhere.

A checkpoint names an algorithm of our own table, plain hyper-parameters and numbers; the network is rebuilt from them
and then filled. Nothing in it is ever imported, evaluated or used as a path: a crafted one is refused at worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.spec import NonNegativeInt, PositiveFloat, Spec, SpecError
from tokenfleet.policies.base import State
from tokenfleet.policies.learned.algorithms import AnyAlgorithm, RecurrentNetwork
from tokenfleet.policies.learned.hashed_folder import read_hashed_folder, write_hashed_folder
from tokenfleet.policies.learned.plain_data import (
    Arrays,
    decode_arrays,
    encode_arrays,
    json_bytes,
    parse_json,
    sha256,
)
from tokenfleet.policies.learned.spaces import space_difference, space_from_plain, space_to_plain
from tokenfleet.policies.learned.wrapper_state import statistics_of, use_statistics

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

    from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv

META_FILE, WEIGHTS_FILE = "meta.json", "policy.safetensors"
BEST, LAST = "best", "last"
_NORMALISATION = "normalisation."
_POLICY = "policy."
_WRAPPER = "wrapper."


class ObservationNormalisation(Spec):
    """How observations were normalised; means and variances stand beside the weights."""

    epsilon: PositiveFloat
    clip: PositiveFloat


class Origin(Spec):
    """Where a policy comes from.

    Attributes:
        environment: its id.
        environment_kwargs: arguments of its constructor.
        environment_wrappers: names, or mappings with `name` and arguments, the innermost first.
        scenario: the world as plain data; None for an environment that is not a fleet.
        training_seed: of the run.
        timesteps: environment steps that it has been trained for.
        validation_return: mean return on validation episodes at that moment; None without validation.
    """

    environment: str
    environment_kwargs: dict[str, Any] = Field(default_factory=dict)
    environment_wrappers: tuple[str | dict[str, Any], ...] = ()
    scenario: dict[str, Any] | None = None
    training_seed: NonNegativeInt
    timesteps: NonNegativeInt
    validation_return: float | None = None


class CheckpointMeta(Spec):
    """What `meta.json` holds.

    Attributes:
        format, format_version: of this folder.
        algorithm: name and hyper-parameters.
        observation_space, action_space: of a single environment.
        network_observation_space: what the network sees, which differs for images.
        normalisation: of observations; None for none.
        origin: where the policy comes from.
        versions: of the packages that wrote it.
        weights_sha256: of `policy.safetensors`; results name the policy by it.
    """

    format: Literal["tokenfleet-checkpoint"] = "tokenfleet-checkpoint"
    format_version: Literal[1] = 1
    algorithm: AnyAlgorithm
    observation_space: dict[str, Any]
    action_space: dict[str, Any]
    network_observation_space: dict[str, Any]
    normalisation: ObservationNormalisation | None = None
    origin: Origin
    versions: dict[str, str | None] = Field(default_factory=dict)
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class NetworkPolicy:
    """A network of stable-baselines3 with the normalisation that it was trained with.

    Args:
        network: chooses actions from normalised observations.
        normalisation: of observations; None for none.
        moments: their means and variances.
        wrapper_statistics: what the wrappers of its environment have learnt (see `wrapper_state.statistics_of`).
    """

    def __init__(
        self,
        network: BasePolicy,
        normalisation: ObservationNormalisation | None,
        moments: Mapping[str, NDArray[Any]],
        wrapper_statistics: Mapping[str, NDArray[Any]],
    ) -> None:
        self._network = network
        self._normalisation = normalisation
        self._moments = moments
        self._wrapper_statistics = wrapper_statistics

    @classmethod
    def of_model(cls, model: BaseAlgorithm) -> NetworkPolicy:
        """The policy of a model in training; its weights stay the model's."""
        normalisation, moments = _normalisation_of(model)
        return cls(model.policy, normalisation, moments, _wrapper_statistics_of(model))

    def prepare(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Give the wrappers of an environment what those around the policy's own have learnt.

        Raises:
            SpecError: it has a wrapper with running statistics that the policy was not trained with.
        """
        use_statistics(env, self._wrapper_statistics)

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State | None]:
        """See `tokenfleet.policies.base.Policy`."""
        # stable-baselines3 puts the LSTM's layers before the batch; here the batch comes first, as in every state.
        inner = None if state is None else tuple(np.swapaxes(part, 0, 1) for part in state)
        actions, after = self._network.predict(self._normalised(observation), inner, episode_start, deterministic)
        outer = None if after is None else tuple(np.swapaxes(part, 0, 1) for part in after)
        return actions, outer

    def _normalised(self, observation: Any) -> Any:
        if self._normalisation is None:
            return observation
        if isinstance(observation, Mapping):
            return {name: self._normalise(value, f".{name}") for name, value in observation.items()}
        return self._normalise(observation, "")

    def _normalise(self, value: NDArray[Any], key: str) -> NDArray[np.float32]:
        assert self._normalisation is not None
        scale = np.sqrt(self._moments[f"variance{key}"] + self._normalisation.epsilon)
        clip = self._normalisation.clip
        normalised: NDArray[np.float32] = np.clip((value - self._moments[f"mean{key}"]) / scale, -clip, clip).astype(
            np.float32
        )
        return normalised


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
    ) -> None:
        super().__init__(network, meta.normalisation, moments, wrapper_statistics)
        self.meta = meta
        self.observation_space = space_from_plain(meta.observation_space, "observation_space")
        self.action_space = space_from_plain(meta.action_space, "action_space")

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
    normalisation, moments = _normalisation_of(model)
    arrays = {_NORMALISATION + name: value for name, value in moments.items()}
    arrays |= {_WRAPPER + name: value for name, value in _wrapper_statistics_of(model).items()}
    for name, tensor in model.policy.state_dict().items():
        arrays[_POLICY + name] = tensor.detach().cpu().numpy()
    content = encode_arrays(arrays)
    env = model.get_env()
    assert env is not None
    meta = CheckpointMeta(
        algorithm=algorithm,
        observation_space=space_to_plain(env.unwrapped.observation_space),
        action_space=space_to_plain(env.unwrapped.action_space),
        network_observation_space=space_to_plain(model.observation_space),
        normalisation=normalisation,
        origin=origin,
        versions={name: _version(name) for name in ("tokenfleet", "stable-baselines3", "torch")},
        weights_sha256=sha256(content),
    )
    write_hashed_folder(folder, {WEIGHTS_FILE: content, META_FILE: json_bytes(meta.model_dump(mode="json"))})


def load_policy(folder: Path | str) -> LearnedPolicy:
    """Read a checkpoint that may come from anybody.

    Args:
        folder: a checkpoint, or a run of train.py, whose best checkpoint is taken.

    Raises:
        SpecError: anything but a sound checkpoint.
    """
    found = find_checkpoint(Path(folder))
    files = read_hashed_folder(found, (META_FILE, WEIGHTS_FILE))
    meta = CheckpointMeta.parse(parse_json(files[META_FILE], found / META_FILE), str(found / META_FILE))
    content = files[WEIGHTS_FILE]
    if sha256(content) != meta.weights_sha256:
        raise SpecError([f"{found / WEIGHTS_FILE}: does not match its hash in {META_FILE}; the file is damaged"])
    arrays = decode_arrays(content, found / WEIGHTS_FILE)
    moments, weights, statistics = (_below(prefix, arrays) for prefix in (_NORMALISATION, _POLICY, _WRAPPER))
    _check_size(meta, len(content), found)
    network = _rebuild(meta, weights, found)
    policy = LearnedPolicy(meta, network, moments, statistics)
    _check_moments(policy, moments, found)
    return policy


def find_checkpoint(path: Path) -> Path:
    """The checkpoint folder that a path means: itself, or the best (else the last) of a run.

    Raises:
        SpecError: there is none.
    """
    candidates = [path, path / "checkpoints" / BEST, path / "checkpoints" / LAST]
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


def _normalisation_of(model: BaseAlgorithm) -> tuple[ObservationNormalisation | None, Arrays]:
    normaliser = model.get_vec_normalize_env()
    if normaliser is None or not normaliser.norm_obs:
        return None, {}
    statistics = normaliser.obs_rms
    named = (
        {f".{name}": value for name, value in statistics.items()} if isinstance(statistics, dict) else {"": statistics}
    )
    arrays = {f"mean{name}": np.array(value.mean) for name, value in named.items()}
    arrays |= {f"variance{name}": np.array(value.var) for name, value in named.items()}
    return ObservationNormalisation(epsilon=normaliser.epsilon, clip=normaliser.clip_obs), arrays


def _wrapper_statistics_of(model: BaseAlgorithm) -> Arrays:
    env = model.get_env()
    assert env is not None
    return statistics_of(cast("Sb3VecEnv", env.unwrapped).env)


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _rebuild(meta: CheckpointMeta, weights: Arrays, folder: Path) -> BasePolicy:
    """The network with its weights."""
    import torch

    from tokenfleet.policies.learned.sb3 import build_policy, check_spaces

    observation = space_from_plain(meta.network_observation_space, "network_observation_space")
    action = space_from_plain(meta.action_space, "action_space")
    if not all(np.isfinite(value).all() for value in weights.values()):
        raise SpecError([f"{folder / WEIGHTS_FILE}: holds weights that are not finite; its training has diverged"])
    check_spaces(meta.algorithm, observation, action)
    random_state = torch.get_rng_state()  # fresh weights are drawn before they are replaced
    try:
        network = build_policy(meta.algorithm, observation, action)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=True)
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError, NotImplementedError, MemoryError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(
            [f"{folder}: the weights do not fit the network that {META_FILE} describes ({first})"]
        ) from None
    finally:
        torch.set_rng_state(random_state)
    network.set_training_mode(False)
    return network


def _check_size(meta: CheckpointMeta, num_bytes: int, folder: Path) -> None:
    """Refuse a description of a network that is far larger than the weights, before memory is asked for."""
    network: Any = meta.algorithm.network  # type: ignore[attr-defined]
    observation = space_from_plain(meta.network_observation_space, "network_observation_space")
    seen = int(np.prod(observation.shape)) if isinstance(observation, spaces.Box) and len(observation.shape) == 1 else 1
    memory = [network.lstm_units] if isinstance(network, RecurrentNetwork) else []
    chains = [[seen, *memory, *network.actor_layers], [seen, *memory, *network.critic_layers]]
    largest = max((rows * columns for chain in chains for rows, columns in pairwise(chain)), default=0)
    if 4 * largest > num_bytes:
        raise SpecError([f"{folder}: {META_FILE} describes a network larger than the weights"])


def _check_moments(policy: LearnedPolicy, moments: Arrays, folder: Path) -> None:
    """Means and variances must have the shapes of the observations, where they are used at all."""
    if policy.meta.normalisation is None:
        return
    space = policy.observation_space
    parts = {f".{name}": inner for name, inner in space.items()} if isinstance(space, spaces.Dict) else {"": space}
    for name, inner in parts.items():
        for kind in ("mean", "variance"):
            found = moments.get(kind + name)
            if found is None or found.shape != inner.shape or not np.isfinite(found).all():
                raise SpecError([f"{folder / WEIGHTS_FILE}: normalisation.{kind}{name} is missing or misshapen"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
