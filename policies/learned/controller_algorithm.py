"""What the algorithms that train a `ControllerPolicy` share: evolution and imitation."""

from __future__ import annotations

from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv

from tokenfleet.policies.learned.controller import ControllerPolicy


class ControllerAlgorithm(BaseAlgorithm):
    """An algorithm in the form of stable-baselines3 for boxes of actions, over any number of environments.

    A subclass sets its own hyper-parameters before it calls `_setup_model`.

    Args:
        policy: `ControllerPolicy`, or a subclass.
        env: what the algorithm learns in.
        learning_rate: of the gradient steps.
        policy_kwargs: of the policy.
        seed: of all random draws.
        device: of torch.
        verbose: as in stable-baselines3.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ControllerPolicy}
    policy: ControllerPolicy

    def __init__(
        self,
        policy: str | type[ControllerPolicy],
        env: GymEnv,
        *,
        learning_rate: float | Schedule,
        policy_kwargs: dict[str, Any] | None = None,
        seed: int | None = None,
        device: str = "cpu",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            policy_kwargs=policy_kwargs,
            seed=seed,
            device=device,
            verbose=verbose,
            support_multi_env=True,
            supported_action_spaces=(spaces.Box,),
        )

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        made = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        assert isinstance(made, ControllerPolicy)
        self.policy = made.to(self.device)

    def _env(self) -> VecEnv:
        assert self.env is not None
        return self.env
