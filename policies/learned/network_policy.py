"""A network of stable-baselines3 as a policy, with the normalisation of observations that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from typing_extensions import Self

from tokenfleet.envs.spec import PositiveFloat, Spec, SpecError
from tokenfleet.policies.base import Policy, PolicyContext, State
from tokenfleet.policies.learned.action_masks import ActionMasks, masks_in, no_masks
from tokenfleet.policies.learned.correction import Base, base_of, combined_state, corrected, parted_state
from tokenfleet.policies.learned.limit_inputs import Float32Array, LimitInputs, places_of, seen
from tokenfleet.policies.learned.observed_limits import parted_limits
from tokenfleet.policies.learned.plain_data import Arrays
from tokenfleet.policies.learned.wrapper_state import statistics_of, use_statistics

MEAN, VARIANCE = "mean", "variance"

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy

    from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv


class ObservationNormalisation(Spec):
    """How observations were normalised; means and variances stand beside the weights."""

    epsilon: PositiveFloat
    clip: PositiveFloat


class NetworkPolicy:
    """A network of stable-baselines3 with the normalisation that it was trained with.

    Args:
        network: chooses actions from normalised observations.
        normalisation: of observations; None for none.
        moments: their means and variances.
        wrapper_statistics: what the wrappers of its environment have learnt (see `wrapper_state.statistics_of`).
        base: what the network corrects; None for nothing.
        limits: that the network sees after the observation; the base does not see them.

    Attributes:
        base, limits: as given.
    """

    def __init__(
        self,
        network: BasePolicy,
        normalisation: ObservationNormalisation | None,
        moments: Mapping[str, NDArray[Any]],
        wrapper_statistics: Mapping[str, NDArray[Any]],
        base: Base | None = None,
        limits: LimitInputs = (),
    ) -> None:
        self._network = network
        self.base, self.limits = base, limits
        self._places: Float32Array | None = None
        self._base_policy: Policy | None = None
        self._masks: ActionMasks = no_masks
        self._normalisation = normalisation
        self._moments = moments
        self._wrapper_statistics = wrapper_statistics

    @classmethod
    def of_model(cls, model: BaseAlgorithm) -> NetworkPolicy:
        """The policy of a model in training; its weights stay the model's."""
        normalisation, moments = normalisation_of(model)
        _, limits = limits_in(model)
        return cls(model.policy, normalisation, moments, wrapper_statistics_of(model), base_in(model), limits)

    def within(self, limits: Mapping[str, float]) -> Self:
        """The same policy, told to act within these limits.

        Args:
            limits: a value for each of `self.limits`, by its name.

        Raises:
            SpecError: one line per limit that is missing, unknown to the network, or outside the trained range.
        """
        told = copy(self)
        told._places = places_of(self.limits, limits)
        return told

    def prepare(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Give the wrappers of an environment the statistics from training, ask for its masks, place the base in it.

        Raises:
            SpecError: the environment has a wrapper with running statistics that the policy was not trained with, or
                no masks where the network takes some, or the base cannot act there.
        """
        use_statistics(env, self._wrapper_statistics)
        self._masks = masks_in(env, self._network)
        if self.base is not None:
            self._base_policy = self.base.policy_in(env)

    def act_in(self, context: PolicyContext) -> None:
        """Place the base in an environment without wrappers that learn.

        Raises:
            SpecError: the base cannot act there.
        """
        if self.base is not None:
            self._base_policy = self.base.policy_for(context)

    @property
    def has_wrapper_statistics(self) -> bool:
        """Whether it needs `prepare`, because it was trained under wrappers that learn."""
        return bool(self._wrapper_statistics)

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State | None]:
        """See `tokenfleet.policies.base.Policy`.

        Raises:
            SpecError: the policy corrects a base, and `prepare` was not called; or it sees limits, and `within` was not
                called.
        """
        if self.base is None:
            return self._predict(observation, state, episode_start, deterministic)
        if self._base_policy is None:
            raise SpecError(["checkpoint: corrects another policy, which must know where it acts; call prepare(env)"])
        ours, theirs = parted_state(state, self._network)
        corrections, ours = self._predict(observation, ours, episode_start, deterministic)
        actions, theirs = self._base_policy.predict(observation, theirs, episode_start, deterministic=True)
        box = cast("spaces.Box", self._network.action_space)
        return corrected(actions, corrections, self.base.reach, box), combined_state(ours, theirs)

    def arrays(self) -> tuple[BasePolicy, Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
        """The network, the moments of observations, and the statistics of wrappers."""
        return self._network, self._moments, self._wrapper_statistics

    def _predict(
        self, observation: Any, state: State | None, episode_start: NDArray[np.bool_] | None, deterministic: bool
    ) -> tuple[NDArray[Any], State | None]:
        """The network's own actions and state."""
        # stable-baselines3 puts the LSTM's layers before the batch; here the batch comes first, as in every state.
        inner = None if state is None else tuple(np.swapaxes(part, 0, 1) for part in state)
        observed = self._normalised(self._with_limits(observation))
        masks = self._masks(len(next(iter(observed.values())) if isinstance(observed, Mapping) else observed))
        actions, after = self._network.predict(observed, inner, episode_start, deterministic, **masks)
        outer = None if after is None else tuple(np.swapaxes(part, 0, 1) for part in after)
        return actions, outer

    def _with_limits(self, observation: Any) -> Any:
        if not self.limits:
            return observation
        # Raises with every limit that is missing.
        places = places_of(self.limits, {}) if self._places is None else self._places
        return seen(observation, places)

    def _normalised(self, observation: Any) -> Any:
        if self._normalisation is None:
            return observation
        if isinstance(observation, Mapping):
            return {name: self._normalise(value, f".{name}") for name, value in observation.items()}
        return self._normalise(observation, "")

    def _normalise(self, value: NDArray[Any], key: str) -> NDArray[np.float32]:
        assert self._normalisation is not None
        scale = np.sqrt(self._moments[f"{VARIANCE}{key}"] + self._normalisation.epsilon)
        clip = self._normalisation.clip
        normalised: NDArray[np.float32] = np.clip((value - self._moments[f"{MEAN}{key}"]) / scale, -clip, clip).astype(
            np.float32
        )
        return normalised


def normalisation_of(model: BaseAlgorithm) -> tuple[ObservationNormalisation | None, Arrays]:
    """How the observations of a model in training are normalised, with means and variances by name."""
    normaliser = model.get_vec_normalize_env()
    if normaliser is None or not normaliser.norm_obs:
        return None, {}
    statistics = normaliser.obs_rms
    named = (
        {f".{name}": value for name, value in statistics.items()} if isinstance(statistics, dict) else {"": statistics}
    )
    arrays = {f"{MEAN}{name}": np.array(value.mean) for name, value in named.items()}
    arrays |= {f"{VARIANCE}{name}": np.array(value.var) for name, value in named.items()}
    return ObservationNormalisation(epsilon=normaliser.epsilon, clip=normaliser.clip_obs), arrays


def base_in(model: BaseAlgorithm) -> Base | None:
    """What a model in training corrects; None for nothing."""
    env = model.get_env()
    assert env is not None
    return base_of(cast("Sb3VecEnv", env.unwrapped).env)


def limits_in(model: BaseAlgorithm) -> tuple[VectorEnv[Any, Any, Any], LimitInputs]:
    """The environment of a model in training without observed limits, and the limits that the network sees."""
    env = model.get_env()
    assert env is not None
    return parted_limits(cast("Sb3VecEnv", env.unwrapped).env)


def wrapper_statistics_of(model: BaseAlgorithm) -> Arrays:
    """What the wrappers around the environments of a model in training have learnt."""
    env = model.get_env()
    assert env is not None
    return statistics_of(cast("Sb3VecEnv", env.unwrapped).env)


def moment_shapes(observation: Space[Any]) -> dict[str, tuple[int, ...]]:
    """The shape of each mean and variance by its name, for normalised observations of this space."""
    parts = observation.items() if isinstance(observation, spaces.Dict) else [("", observation)]
    named = {f".{name}" if name else "": part.shape or () for name, part in parts}
    return {f"{kind}{name}": shape for kind in (MEAN, VARIANCE) for name, shape in named.items()}
