"""Evolution of a network as an algorithm in the form of stable-baselines3, with its callbacks and checkpoints.

In a generation every candidate acts in the same episodes (common random numbers): each group of environments runs one
episode, and environment `c` of every group belongs to candidate `c`. The values of all candidates so far are kept, and
restore the search of a run that is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from typing_extensions import Self

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.controller import ControllerPolicy
from tokenfleet.policies.learned.controller_algorithm import ControllerAlgorithm
from tokenfleet.policies.learned.links import fleet_links
from tokenfleet.policies.learned.observed_limits import parted_limits
from tokenfleet.policies.search import Float64Array, Search, replay

Links = Literal["all", "own", "none"]


class Evolution(ControllerAlgorithm):
    """Searches for the weights of a `ControllerPolicy`; there are `episodes` environments for each candidate.

    Args:
        policy: `ControllerPolicy`, or a subclass.
        env: `episodes` groups of environments; each group runs one episode.
        episodes: of each candidate in a generation.
        links: which entries of an observation a linear policy's actions may follow; `own` are those of the action's
            site and of no site. With `none`, the search is for a constant action. Observed limits are always followed.
        fields: fields of a fleet's observation that a linear policy's actions may follow; None for all.
        make_search: makes the search from its start `[D]`, the candidates of a generation and a seed. A step of 1 moves
            a bias by 1, and a weight by 1 over the root of the number of weights in its row.
        **shared: all other arguments of `ControllerAlgorithm` but the learning rate.

    Attributes:
        told: values of all candidates so far, `[G, P]`.
        first_weights: where the search began, `[D]`.
    """

    def __init__(
        self,
        policy: str | type[ControllerPolicy],
        env: GymEnv,
        *,
        episodes: int,
        links: Links,
        fields: Sequence[str] | None,
        make_search: Callable[[Float64Array, int, int], Search],
        **shared: Any,
    ) -> None:
        super().__init__(policy, env, learning_rate=0.0, **shared)
        self.episodes, self.links, self.fields, self._make_search = episodes, links, fields, make_search
        self.population = self.n_envs // episodes
        self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        self.first_weights = self.policy.weights()
        self.told = np.empty((0, self.population))
        self._columns, self._scale = self._searched()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "evolution",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """See `BaseAlgorithm.learn`; whole generations, until `total_timesteps` are reached."""
        total, hooks = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        hooks.on_training_start(locals(), globals())
        columns, scale = self._columns, self._scale
        search = self._make_search(np.zeros(len(columns)), self.population, self.seed or 0)
        replay(search, self.told)
        while self.num_timesteps < total:
            hooks.on_rollout_start()
            weights = np.tile(self.first_weights, (self.population, 1))
            weights[:, columns] += scale * search.ask()
            values = self._values(weights, hooks)
            search.tell(values)
            self.told = np.concatenate([self.told, values[None]])
            centre = self.first_weights.copy()
            centre[columns] += scale * search.centre
            self.policy.set_weights(centre)
            self._n_updates += 1
            hooks.on_rollout_end()
            self.logger.record("train/value_mean", float(values.mean()))
            self.logger.record("train/value_best", float(values.max()))
        hooks.on_training_end()
        return self

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []

    def _searched(self) -> tuple[NDArray[np.intp], Float64Array]:
        """Which weights are searched, and how far each goes for a step of one."""
        scale = []
        for layer in self.policy.linears():
            rows, width = layer.weight.shape
            scale += [np.full((rows, width), 1.0 / np.sqrt(width)), np.ones(rows)]
        bare, limits = parted_limits(self._env().unwrapped.env)  # type: ignore[attr-defined]
        width = scale[0].shape[1] - len(limits)
        if self.links != "all" or self.fields is not None:
            linked = self._linked(bare)
            scale[0][:, :width] = linked / np.sqrt(np.maximum(linked.sum(axis=1, keepdims=True), 1))
        scale[0][:, width:] = 1.0  # a limit does not change within an episode, so it moves an action as a bias does
        whole = np.concatenate([part.ravel() for part in scale])
        columns = np.flatnonzero(whole)
        return columns, whole[columns]

    def _linked(self, env: VectorEnv[Any, Any, Any]) -> NDArray[np.bool_]:
        """Which entries of an observation every action may follow, `[A, D]`."""
        if len(self.policy.layers) > 1:
            hint = "leave policy_kwargs.net_arch empty, or say links=all and fields=null"
            raise SpecError([f"algo: links and fields are for linear policies; {hint}"])
        if self.links == "none":
            return np.zeros((1, 1), np.bool_)
        return fleet_links(env, self.links == "own", self.fields)

    def _values(self, weights: Float64Array, hooks: BaseCallback) -> Float64Array:
        """Mean return of every candidate over the same episodes, `[P]`."""
        env = self._env()
        box = self.action_space
        assert isinstance(box, spaces.Box)
        middle, half = (box.high + box.low) / 2, (box.high - box.low) / 2
        returns, running = np.zeros(env.num_envs), np.ones(env.num_envs, np.bool_)
        while running.any():
            # [E, P, ...]: a group is an episode, and its environments are the candidates.
            seen = np.asarray(self._last_obs).reshape(self.episodes, self.population, *self._last_obs.shape[1:])  # type: ignore
            acted = self.policy.actions_of(weights, seen.swapaxes(0, 1)).swapaxes(0, 1)
            actions = middle + half * acted.reshape(env.num_envs, *(box.shape or ()))
            self._last_obs, rewards, dones, infos = env.step(actions)  # type: ignore[assignment]
            self._last_episode_starts = dones
            returns += np.where(running, _as_paid(env, rewards), 0.0)
            alike = bool(dones.all()) and bool(running.all())
            running &= ~dones
            self.num_timesteps += env.num_envs
            self._update_info_buffer(infos, dones)
            hooks.update_locals(locals())
            hooks.on_step()
        if not alike:  # some are in the middle of their next episodes
            self._begin_alike(env)
        means: Float64Array = returns.reshape(self.episodes, self.population).mean(axis=0)
        return means

    def _begin_alike(self, env: VecEnv) -> None:
        """Begin a new episode in every group, from seeds that do not depend on the episodes before."""
        env.seed(int(np.random.SeedSequence([self.seed or 0, len(self.told)]).generate_state(1)[0]))
        self._last_obs = env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones(env.num_envs, np.bool_)


def _as_paid(env: VecEnv, rewards: NDArray[np.generic]) -> NDArray[np.generic]:
    """Rewards before they were normalised."""
    return env.get_original_reward() if isinstance(env, VecNormalize) else rewards
