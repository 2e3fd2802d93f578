"""The hyper-parameters of imitation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from typing_extensions import Self

from tokenfleet.envs.spec import Count, PositiveFloat
from tokenfleet.policies.choices import PolicyChoice
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec, Rate, Schedule
from tokenfleet.policies.learned.networks import ControllerNetwork
from tokenfleet.policies.policy_files import told_under

TEACHER_KEY = "algo.teacher"
"""What messages call the teacher."""


def _share(rate: Schedule) -> Schedule:
    if max(rate.initial, rate.final or 0.0) > 1.0:
        raise ValueError(
            f"must be at most 1, for it is a share of the steps (got {rate.model_dump(exclude_none=True)})"
        )
    return rate


class DaggerSpec(AlgorithmSpec):
    """DAgger (Ross et al. 2011, arXiv:1011.0686); behaviour cloning if the teacher always acts.

    Attributes:
        teacher: what the network imitates: a policy by name or with parameters, a policy file, a checkpoint or a run.
        beta: share of the steps in which the teacher acts instead of the network.
        learning_rate: of Adam.
        n_steps: steps of each environment in a round, after which the network is fitted.
        buffer_size: labelled observations that are kept, over all environments; the oldest go first.
        batch_size: observations in one gradient step.
        gradient_steps: of one fit.
        huber_delta: errors of an action beyond it count linearly, smaller ones squared; None for squares alone.
    """

    name: Literal["dagger"] = "dagger"
    teacher: PolicyChoice = "operator"
    beta: Annotated[Rate, AfterValidator(_share)] = Schedule(initial=1.0, final=0.0)
    learning_rate: Rate = Schedule(initial=1e-3, final=0.0)
    n_steps: Count = 60
    buffer_size: Count = 200_000
    batch_size: Count = 512
    gradient_steps: Count = 200
    huber_delta: PositiveFloat | None = None
    policy_kwargs: ControllerNetwork = ControllerNetwork(net_arch=(64, 64))

    def environments_problem(self, num_envs: int) -> str | None:
        """See `AlgorithmSpec.environments_problem`."""
        needed = self.n_steps * num_envs
        if self.buffer_size >= needed:
            return None
        return (
            f"algo.buffer_size: must hold the {needed} steps of a round, algo.n_steps ({self.n_steps}) of each of "
            f"n_envs ({num_envs}) (got {self.buffer_size}); give a larger buffer, or a smaller algo.n_steps"
        )

    def written_out(self, read: Callable[[Any], Any]) -> Self:
        """See `AlgorithmSpec.written_out`.

        Raises:
            SpecError: the file of the teacher cannot be read.
        """
        with told_under(TEACHER_KEY):
            return self.model_copy(update={"teacher": read(self.teacher)})

    def network_parts(self) -> dict[str, Any]:
        """See `AlgorithmSpec.network_parts`: the network acts without its teacher."""
        return self.model_dump(mode="json", exclude={"teacher"})
