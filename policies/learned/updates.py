"""At which environment steps an algorithm updates its network, and how long a run must be to learn anything.

stable-baselines3 collects whole rounds of environment steps until the run's total is reached, updates after each round,
and takes the rates of an update from the share of the run that remains after its round. So a run may overshoot its
total by a round, and a learning rate that falls to 0 is 0 in the last update. Nothing here imports torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet.envs.spec import counted
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.algorithms import OffPolicySpec, OnPolicySpec, PpoSpec, ShippedSpec, Td3Spec
from tokenfleet.policies.learned.imitation_spec import DaggerSpec

FEW_UPDATES = 10
"""Below this number of updates a run overshoots its total by up to a tenth or more, and hardly learns."""


@dataclass(frozen=True)
class UpdatePlan:
    """When the updates of an algorithm take place.

    Attributes:
        round_steps: environment steps between two updates, over all environments.
        first_step: environment steps at the end of the round that the first update follows.
        spared_updates: updates before the first one that changes the policy.
        last_is_idle: whether the learning rate of the last update is 0.
        key: the hyper-parameter that decides how early the first update is.
    """

    round_steps: int
    first_step: int
    spared_updates: int
    last_is_idle: bool
    key: str

    def updates(self, total_timesteps: int) -> int:
        """How many updates of a run change the policy or what the policy learns from."""
        rounds = math.ceil(total_timesteps / self.round_steps)
        made = rounds - self.first_step // self.round_steps + 1 - self.last_is_idle - self.spared_updates
        return max(made, 0)

    def least_timesteps(self, updates: int) -> int:
        """The shortest run that has so many updates."""
        end_step = self.first_step + (updates - 1 + self.spared_updates) * self.round_steps
        return end_step + 1 if self.last_is_idle else end_step - self.round_steps + 1


def update_plan(algorithm: AlgorithmSpec, num_envs: int) -> UpdatePlan | None:
    """The plan of an algorithm on so many environments; None for an unknown kind of algorithm.

    >>> from tokenfleet.policies.learned.algorithms import parse_algorithm
    >>> plan = update_plan(parse_algorithm({"name": "sac"}), num_envs=64)
    >>> plan.first_step, plan.updates(5_000), plan.least_timesteps(1)
    (10048, 0, 9985)
    """
    if not isinstance(algorithm, (ShippedSpec, DaggerSpec)):
        return None
    last_is_idle = algorithm.learning_rate.final == 0
    if isinstance(algorithm, (OnPolicySpec, DaggerSpec)):
        round_steps = algorithm.n_steps * num_envs
        return UpdatePlan(round_steps, round_steps, 0, last_is_idle, "n_steps")
    if isinstance(algorithm, OffPolicySpec):
        round_steps = algorithm.train_freq * num_envs
        first_step = (algorithm.learning_starts // round_steps + 1) * round_steps
        spared = _updates_before_the_actor(algorithm, round_steps)
        return UpdatePlan(round_steps, first_step, spared, last_is_idle, "learning_starts")
    return None


def batch_problem(algorithm: AlgorithmSpec, num_envs: int) -> str | None:
    """Why the algorithm cannot work with so many environments, or has no such batch to take; None where it can."""
    problem = algorithm.environments_problem(num_envs)
    if problem is not None:
        return problem
    if not isinstance(algorithm, PpoSpec) or algorithm.batch_size <= algorithm.n_steps * num_envs:
        return None
    least = math.ceil(algorithm.batch_size / num_envs)
    return (
        f"algo.batch_size: must be at most the {algorithm.n_steps * num_envs} steps of a rollout, algo.n_steps "
        f"({algorithm.n_steps}) of each of n_envs ({num_envs}) (got {algorithm.batch_size}); give a smaller batch, or "
        f"algo.n_steps={least}"
    )


def learning_problem(algorithm: AlgorithmSpec, num_envs: int, total_timesteps: int) -> str | None:
    """Why a run would end with the weights that it began with, and what would help; None for a run that learns."""
    plan = update_plan(algorithm, num_envs)
    if plan is None or plan.updates(total_timesteps):
        return None
    idle = ", and algo.learning_rate is 0 in the last update" if plan.last_is_idle else ""
    key = f"a smaller algo.{plan.key}"
    ways_out = f"{key}, or a final algo.learning_rate above 0" if plan.last_is_idle else f"or {key}"
    return (
        f"total_timesteps: {total_timesteps} steps would change no weight of the policy: {algorithm.name} updates it "
        f"first after {plan.first_step + plan.spared_updates * plan.round_steps} steps{idle}; give at least "
        f"{plan.least_timesteps(1)} ({plan.least_timesteps(FEW_UPDATES)} for {FEW_UPDATES} updates), {ways_out}"
    )


def learning_warning(algorithm: AlgorithmSpec, num_envs: int, total_timesteps: int) -> str | None:
    """What to say of a run that learns in very few updates; None for any other."""
    plan = update_plan(algorithm, num_envs)
    if plan is None or plan.updates(total_timesteps) >= FEW_UPDATES:
        return None
    number = plan.updates(total_timesteps)
    return (
        f"total_timesteps: {total_timesteps} steps are {counted(number, 'update')} of {algorithm.name}, a "
        f"round of {plan.round_steps} steps each; for {FEW_UPDATES} give {plan.least_timesteps(FEW_UPDATES)} steps, "
        f"or a smaller algo.{plan.key}"
    )


def _updates_before_the_actor(algorithm: OffPolicySpec, round_steps: int) -> int:
    """Updates of TD3 before the one whose gradient steps reach `policy_delay`; none elsewhere."""
    delay = algorithm.policy_delay if isinstance(algorithm, Td3Spec) else 1
    gradient_steps = algorithm.gradient_steps if algorithm.gradient_steps > 0 else round_steps
    return math.ceil(delay / gradient_steps) - 1
