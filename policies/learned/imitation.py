"""Imitation as an algorithm in the form of stable-baselines3, with its callbacks and checkpoints.

A round has two halves. First, at each step, chance decides whether teacher or network acts, and the teacher labels
every state with its own action (DAgger, Ross et al. 2011, arXiv:1011.0686). Then the network is fitted to the labels in
the buffer, by regression. If the teacher always acts, the method is behaviour cloning: the network learns nothing about
states that only its own errors lead to.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.vec_env import VecNormalize
from torch.nn import functional
from typing_extensions import Self

from tokenfleet.envs.spec import SpecError
from tokenfleet.policies.learned.controller import ControllerPolicy
from tokenfleet.policies.learned.controller_algorithm import ControllerAlgorithm
from tokenfleet.policies.learned.imitation_spec import TEACHER_KEY
from tokenfleet.policies.learned.sb3_vec_env import Sb3VecEnv
from tokenfleet.policies.learned.teaching import TaughtEnv, taught_env


class LabelledStates(NamedTuple):
    """Observations as the network sees them `[B, ...]`, and what the teacher would have done there `[B, A]`."""

    observations: torch.Tensor
    labels: torch.Tensor


class LabelBuffer(BaseBuffer):
    """The last labelled observations of all environments, kept as they came and normalised when they are sampled.

    Args:
        buffer_size: observations, over all environments.
        observation_space, action_space: of one environment.
        device: of torch.
        n_envs: environments.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        device: torch.device | str = "cpu",
        n_envs: int = 1,
    ) -> None:
        super().__init__(buffer_size // n_envs, observation_space, action_space, device, n_envs)
        self.observations = np.zeros((self.buffer_size, n_envs, *self.obs_shape), observation_space.dtype)
        self.labels = np.zeros((self.buffer_size, n_envs, self.action_dim), np.float32)

    def add(self, observations: NDArray[Any], labels: NDArray[Any]) -> None:
        """Add the present observations of all environments, `[N, ...]`, and their labels, `[N, ...]`."""
        self.observations[self.pos] = observations
        self.labels[self.pos] = labels.reshape(self.n_envs, -1)
        self.pos = (self.pos + 1) % self.buffer_size
        self.full = self.full or self.pos == 0

    def latest(self, steps: int, env: VecNormalize | None = None) -> LabelledStates:
        """The labelled states of the last `steps` steps."""
        rows = np.arange(self.pos - steps, self.pos) % self.buffer_size
        return self._states(np.repeat(rows, self.n_envs), np.tile(np.arange(self.n_envs), steps), env)

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> Any:
        return self._states(batch_inds, np.random.randint(self.n_envs, size=len(batch_inds)), env)

    def _states(self, rows: NDArray[Any], envs: NDArray[Any], env: VecNormalize | None) -> LabelledStates:
        seen = self._normalize_obs(self.observations[rows, envs], env)
        return LabelledStates(self.to_torch(cast("NDArray[Any]", seen)), self.to_torch(self.labels[rows, envs]))


class Dagger(ControllerAlgorithm):
    """Fits a `ControllerPolicy` to what the teacher of a `TaughtEnv` would do in the states that either visits.

    Args:
        policy: `ControllerPolicy`, or a subclass.
        env: around a `TaughtEnv`.
        beta: share of the steps in which the teacher acts, a function of the remaining part of the run.
        n_steps: steps of each environment in a round.
        buffer_size: labelled observations that are kept, over all environments.
        batch_size: observations in one gradient step.
        gradient_steps: of one fit.
        huber_delta: error above which the loss grows linearly, in the units of the box; None for squares alone.
        **shared: all other arguments of `ControllerAlgorithm`; the learning rate is that of Adam.

    Attributes:
        replay_buffer: observations with the teacher's labels.
        teacher_digest: `TaughtEnv.digest` of the teacher that the run began with.
    """

    def __init__(
        self,
        policy: str | type[ControllerPolicy],
        env: GymEnv,
        *,
        beta: Schedule,
        n_steps: int,
        buffer_size: int,
        batch_size: int,
        gradient_steps: int,
        huber_delta: float | None,
        **shared: Any,
    ) -> None:
        super().__init__(policy, env, **shared)
        self.beta, self.n_steps, self.buffer_size = beta, n_steps, buffer_size
        self.batch_size, self.gradient_steps, self.huber_delta = batch_size, gradient_steps, huber_delta
        self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.lr_schedule(1.0))
        observation, action = self.observation_space, self.action_space
        assert isinstance(observation, spaces.Box)
        assert isinstance(action, spaces.Box)
        self.replay_buffer = LabelBuffer(self.buffer_size, observation, action, self.device, self.n_envs)
        self.teacher_digest = self._taught().digest

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "dagger",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """See `BaseAlgorithm.learn`; whole rounds, until `total_timesteps` are reached.

        Raises:
            SpecError: the run goes on with another teacher than it began with, or the teacher cannot act here.
        """
        if not np.array_equal(self.teacher_digest, self._taught().digest):
            hint = "bring its checkpoint back, or start a new run"
            raise SpecError([f"resume: the weights of {TEACHER_KEY} have changed since the run began; {hint}"])
        total, hooks = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        hooks.on_training_start(locals(), globals())
        while self.num_timesteps < total:
            hooks.on_rollout_start()
            self._visit(self.beta(1.0 - self.num_timesteps / total), hooks)
            hooks.on_rollout_end()
            self._update_current_progress_remaining(self.num_timesteps, total)
            self._fit()
        hooks.on_training_end()
        return self

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "optimizer"], []

    def _visit(self, beta: float, hooks: BaseCallback) -> None:
        """Let the teacher act with probability `beta`, else the network, and label every state."""
        env, taught = self._env(), self._taught()
        rng = np.random.default_rng([self.seed or 0, self.num_timesteps])
        taught_steps = 0
        for _ in range(self.n_steps):
            labels = taught.labels()
            self.replay_buffer.add(self._unnormalised(), labels)
            teaches = rng.random(env.num_envs) < beta
            self._last_obs, _, dones, infos = env.step(self._mixed(labels, teaches))  # type: ignore[assignment]
            self._last_episode_starts = dones
            if self._vec_normalize_env is not None:
                self._last_original_obs = self._vec_normalize_env.get_original_obs()
            taught_steps += int(teaches.sum())
            self.num_timesteps += env.num_envs
            self._update_info_buffer(infos, dones)
            hooks.update_locals(locals())
            hooks.on_step()
        self.logger.record("train/beta", beta)
        self.logger.record("train/teacher_share", taught_steps / (self.n_steps * env.num_envs))

    def _mixed(self, labels: NDArray[Any], teaches: NDArray[np.bool_]) -> NDArray[Any]:
        """The teacher's actions where it acts, elsewhere those of the network, `[N, ...]`."""
        if teaches.all():
            return labels
        assert self._last_obs is not None
        own, _ = self.predict(self._last_obs, deterministic=True)
        mixed: NDArray[Any] = np.where(teaches.reshape(-1, *[1] * (labels.ndim - 1)), labels, own)
        return mixed

    def _fit(self) -> None:
        """Fit the network to the labels in the buffer."""
        self._update_learning_rate(self.optimizer)
        self.policy.set_training_mode(True)
        with torch.no_grad():
            new = self._loss(self.replay_buffer.latest(self.n_steps, self._vec_normalize_env))
        losses = []
        for _ in range(self.gradient_steps):
            loss = self._loss(self.replay_buffer.sample(self.batch_size, self._vec_normalize_env))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            losses.append(loss.item())
        self._n_updates += 1
        self.logger.record("train/loss", float(np.mean(losses)))
        self.logger.record("train/loss_on_new", new.item())

    def _loss(self, states: LabelledStates) -> torch.Tensor:
        """Mean loss over entries of actions, in the units of the box, before they are cut to it."""
        said, meant = self.policy.uncut(states.observations), states.labels
        if self.huber_delta is None:
            return functional.mse_loss(said, meant)
        return functional.huber_loss(said, meant, delta=self.huber_delta)

    def _unnormalised(self) -> NDArray[Any]:
        seen = self._last_obs if self._vec_normalize_env is None else self._last_original_obs
        return cast("NDArray[Any]", seen)

    def _taught(self) -> TaughtEnv:
        found = taught_env(cast(Sb3VecEnv, self._env().unwrapped).env)
        assert found is not None
        return found
