"""A network of stable-baselines3 as a policy, with the normalisation of observations that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from gymnasium import Space, spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.spec import PositiveFloat, Spec
from tokenfleet.policies.base import State
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
        normalisation, moments = normalisation_of(model)
        return cls(model.policy, normalisation, moments, wrapper_statistics_of(model))

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
