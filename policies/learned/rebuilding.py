"""A learned policy from the description and the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gymnasium import Space, spaces
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.checkpoint_meta import CheckpointMeta
from tokenfleet.policies.learned.correction import Base
from tokenfleet.policies.learned.layout import META_FILE, WEIGHTS_FILE
from tokenfleet.policies.learned.limit_inputs import seen_space
from tokenfleet.policies.learned.network_policy import VARIANCE, NetworkPolicy, moment_shapes
from tokenfleet.policies.learned.spaces import space_difference, space_from_plain

if TYPE_CHECKING:
    import torch
    from stable_baselines3.common.policies import BasePolicy

    from tokenfleet.policies.learned.weights import Layout

NORMALISATION_PREFIX = "normalisation."
POLICY_PREFIX = "policy."
WRAPPER_PREFIX = "wrapper."
BASE_PREFIX = "base."
"""How the names of arrays in a file of weights begin."""


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
        super().__init__(network, meta.normalisation, moments, wrapper_statistics, base, meta.limits)
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
        origin = self.meta.origin
        keys = origin.keys.removeprefix(f"env.id={origin.environment}").strip()
        return f"{origin.environment} with {keys}" if keys else origin.environment


def rebuilt_policy(meta: CheckpointMeta, folder: Path) -> LearnedPolicy:
    """The policy with its weights; no weight is read before the file's header fits the description."""
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
        base: the same of a learned policy that the network corrects; None without one.
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
        if inner is not None and inner.limits:
            raise SpecError([f"{folder / META_FILE}: base.checkpoint.limits: nobody tells a base its limits"])
        return cls(meta, network, observation, action, None if inner is None else cls.of(inner, folder))

    def layout(self) -> Layout:
        """What the weights file must hold."""
        import torch

        from tokenfleet.policies.learned.weights import layout_of

        expected = {POLICY_PREFIX + name: layout for name, layout in layout_of(self.network.state_dict()).items()}
        expected |= {NORMALISATION_PREFIX + name: (torch.float64, shape) for name, shape in self._moments().items()}
        expected |= {
            WRAPPER_PREFIX + name: (getattr(torch, layout.dtype), layout.shape)
            for name, layout in self.meta.wrapper_statistics.items()
        }
        inner = {} if self.base is None else self.base.layout()
        return expected | {BASE_PREFIX + name: layout for name, layout in inner.items()}

    def filled(self, weights: dict[str, torch.Tensor], file: Path) -> LearnedPolicy:
        """The policy, which takes `weights` over.

        Raises:
            SpecError: a variance is negative.
        """
        moments = {name: weights.pop(NORMALISATION_PREFIX + name).numpy() for name in self._moments()}
        statistics = {name: weights.pop(WRAPPER_PREFIX + name).numpy() for name in self.meta.wrapper_statistics}
        if any(name.startswith(VARIANCE) and (value < 0).any() for name, value in moments.items()):
            raise SpecError([f"{file}: holds a negative variance of observations"])
        inner = {name: weights.pop(name) for name in list(weights) if name.startswith(BASE_PREFIX)}
        base = self._base({name.removeprefix(BASE_PREFIX): value for name, value in inner.items()}, file)
        own = {name.removeprefix(POLICY_PREFIX): value for name, value in weights.items()}
        self.network.load_state_dict(own, assign=True)
        self.network.set_training_mode(False)
        return LearnedPolicy(self.meta, self.network, moments, statistics, self.observation, self.action, base)

    def _base(self, weights: dict[str, torch.Tensor], file: Path) -> Base | None:
        if self.meta.base is None:
            return None
        learned = None if self.base is None else self.base.filled(weights, file)
        return Base(self.meta.base.reach, self.meta.base.choice, learned)

    def _moments(self) -> dict[str, tuple[int, ...]]:
        seen = seen_space(self.observation, self.meta.limits)
        return moment_shapes(seen) if self.meta.normalisation is not None else {}


def _described(meta: CheckpointMeta, build: Callable[[], BasePolicy], folder: Path) -> BasePolicy:
    """The network of a description; what goes wrong in building it is reported as a mistake in the description."""
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
    if not _may_see(seen, _with_limits(observation, meta, where)):
        raise SpecError([f"{where}: network_observation_space: does not belong to observation_space"])
    return observation, action, seen


def _with_limits(observation: Space[Any], meta: CheckpointMeta, where: str) -> Space[Any]:
    try:
        return seen_space(observation, meta.limits)
    except SpecError as error:
        raise SpecError([f"{where}: {line}" for line in error.problems]) from None


def _may_see(seen: Space[Any], observation: Space[Any]) -> bool:
    """Whether a network for `seen` fits `observation`: the same space, except that images have channels first."""
    if isinstance(observation, spaces.Dict):
        parts = seen.spaces if isinstance(seen, spaces.Dict) else {}
        return set(parts) == set(observation.spaces) and all(
            _may_see(parts[key], part) for key, part in observation.spaces.items()
        )
    if isinstance(observation, spaces.Box):
        channels_first = (observation.shape[-1:] + observation.shape[:-1]) if len(observation.shape) == 3 else None
        return isinstance(seen, spaces.Box) and seen.shape in (observation.shape, channels_first)
    return seen == observation
