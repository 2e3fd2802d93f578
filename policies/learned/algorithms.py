"""The algorithms that a configuration may name, with all their hyper-parameters.

A hyper-parameter is a field here, with its type and range, and a sentence in `configs/algo/<name>.yaml`; a test holds
the two together. Hyper-parameters have the names of stable-baselines3's arguments, so a recipe from elsewhere can be
pasted in. Nothing here imports torch, and nothing imports what `custom` names: a wrong configuration is refused in a
fraction of a second, and a description from a stranger is only data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import (
    Count,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    SpecError,
    UnitFraction,
    suggest,
    whole,
)
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec, Rate, Schedule
from tokenfleet.policies.learned.custom_spec import CustomSpec
from tokenfleet.policies.learned.evolution_specs import ArsSpec, CmaEsSpec, OpenAiEsSpec
from tokenfleet.policies.learned.imitation_spec import DaggerSpec
from tokenfleet.policies.learned.networks import (
    ActorCriticNetwork,
    OffPolicyNetwork,
    QuantileNetwork,
    RecurrentNetwork,
)


class ShippedSpec(AlgorithmSpec):
    """What the shipped algorithms share.

    Attributes:
        learning_rate: see `Rate`.
        gamma: discount of the next step's value.
    """

    learning_rate: Rate = Schedule(initial=3e-4)
    gamma: UnitFraction = 0.99


class OnPolicySpec(ShippedSpec):
    """What the on-policy algorithms share.

    Attributes:
        n_steps: steps of each environment between two updates.
        gae_lambda: bias against variance of the advantage estimate (Schulman et al. 2016, arXiv:1506.02438).
        ent_coef, vf_coef: weights of these losses.
        max_grad_norm: gradients are scaled down to this norm.
        normalize_advantage: to zero mean and unit deviation in each batch.
    """

    n_steps: Count = 128
    gae_lambda: UnitFraction = 0.95
    ent_coef: NonNegativeFloat = 0.0
    vf_coef: NonNegativeFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    normalize_advantage: bool = True
    policy_kwargs: ActorCriticNetwork = ActorCriticNetwork()


class PpoSpec(OnPolicySpec):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    Attributes:
        batch_size: steps in one gradient step.
        n_epochs: passes over the rollout.
        clip_range: how far the new policy's probability ratio may move.
        target_kl: end an update early above this divergence; null for never.
    """

    name: Literal["ppo"] = "ppo"
    batch_size: Count = 512
    n_epochs: Count = 10
    clip_range: Rate = Schedule(initial=0.2)
    target_kl: PositiveFloat | None = None


class RecurrentPpoSpec(PpoSpec):
    """PPO with an LSTM policy."""

    name: Literal["recurrent_ppo"] = "recurrent_ppo"  # type: ignore[assignment]
    policy_kwargs: RecurrentNetwork = RecurrentNetwork()


class PairedPpoSpec(PpoSpec):
    """PPO with environments in groups that share episodes.

    From each advantage the mean of the others in its group, at the same moment of the same episode, is subtracted. That
    removes what the episode does to all of them.

    Attributes:
        group: environments that share episodes.
    """

    name: Literal["paired_ppo"] = "paired_ppo"  # type: ignore[assignment]
    group: Annotated[int, Field(ge=2, strict=True)] = 4

    def group_size(self, num_envs: int) -> int:
        """See `AlgorithmSpec.group_size`."""
        return self.group

    def environments_problem(self, num_envs: int) -> str | None:
        """See `AlgorithmSpec.environments_problem`."""
        if num_envs % self.group == 0:
            return None
        fitting = max(round(num_envs / self.group), 1) * self.group
        return f"n_envs: must be a multiple of algo.group ({self.group}) (got {num_envs}); give n_envs={fitting}"


class A2cSpec(OnPolicySpec):
    """Synchronous advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783).

    Attributes:
        use_rms_prop: RMSProp as in the paper instead of Adam.
    """

    name: Literal["a2c"] = "a2c"
    learning_rate: Rate = Schedule(initial=7e-4)
    n_steps: Count = 8
    gae_lambda: UnitFraction = 1.0
    normalize_advantage: bool = False
    use_rms_prop: bool = True


class OffPolicySpec(ShippedSpec):
    """What the off-policy algorithms share.

    Attributes:
        buffer_size: transitions that the replay buffer holds, over all environments.
        learning_starts: random steps before the first update.
        batch_size: transitions in one gradient step.
        tau: how far the target network moves towards the network at each update.
        train_freq: steps of the batch of environments between two updates.
        gradient_steps: gradient steps in one update; -1 for as many as transitions were collected.
    """

    buffer_size: Count = 300_000
    learning_starts: Annotated[NonNegativeInt, BeforeValidator(whole)] = 10_000
    batch_size: Count = 256
    tau: PositiveFraction = 0.005
    train_freq: Count = 1
    gradient_steps: Annotated[int, Field(ge=-1, strict=True)] = 8
    policy_kwargs: OffPolicyNetwork = OffPolicyNetwork()

    @model_validator(mode="after")
    def _some_gradient_step(self) -> Self:
        if self.gradient_steps == 0:
            raise ValueError("gradient_steps: 0 would never learn; give a positive number, or -1")
        return self


class SacSpec(OffPolicySpec):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905).

    Attributes:
        ent_coef: weight of the entropy, or `auto` to learn it.
        target_entropy: entropy that `auto` aims at; `auto` for minus the number of actions.
    """

    name: Literal["sac"] = "sac"
    ent_coef: NonNegativeFloat | Literal["auto"] = "auto"
    target_entropy: float | Literal["auto"] = "auto"


class TqcSpec(OffPolicySpec):
    """Truncated quantile critics (Kuznetsov et al. 2020, arXiv:2005.04269).

    Attributes:
        ent_coef, target_entropy: as in SAC.
        top_quantiles_to_drop_per_net: highest quantiles that are left out, per critic.
    """

    name: Literal["tqc"] = "tqc"
    ent_coef: NonNegativeFloat | Literal["auto"] = "auto"
    target_entropy: float | Literal["auto"] = "auto"
    top_quantiles_to_drop_per_net: NonNegativeInt = 2
    policy_kwargs: QuantileNetwork = QuantileNetwork()

    @model_validator(mode="after")
    def _some_quantile_stays(self) -> Self:
        dropped, kept = self.top_quantiles_to_drop_per_net, self.policy_kwargs.n_quantiles
        if dropped >= kept:
            raise ValueError(
                f"top_quantiles_to_drop_per_net ({dropped}) must be below policy_kwargs.n_quantiles ({kept})"
            )
        return self


class Td3Spec(OffPolicySpec):
    """Twin delayed deterministic policy gradient (Fujimoto et al. 2018, arXiv:1802.09477).

    Attributes:
        action_noise: standard deviation of the normal noise on actions while collecting, in half action ranges.
        policy_delay: critic updates per actor update.
        target_policy_noise, target_noise_clip: smoothing of the target policy.
    """

    name: Literal["td3"] = "td3"
    learning_rate: Rate = Schedule(initial=1e-3)
    action_noise: NonNegativeFloat = 0.1
    policy_delay: PositiveInt = 2
    target_policy_noise: NonNegativeFloat = 0.2
    target_noise_clip: NonNegativeFloat = 0.5


ALGORITHMS: dict[str, type[AlgorithmSpec]] = {
    "ppo": PpoSpec,
    "a2c": A2cSpec,
    "recurrent_ppo": RecurrentPpoSpec,
    "paired_ppo": PairedPpoSpec,
    "sac": SacSpec,
    "td3": Td3Spec,
    "tqc": TqcSpec,
    "cma_es": CmaEsSpec,
    "openai_es": OpenAiEsSpec,
    "ars": ArsSpec,
    "dagger": DaggerSpec,
    "custom": CustomSpec,
}
"""Every algorithm by its name."""


def parse_algorithm(data: Any, where: str = "algo") -> AlgorithmSpec:
    """The hyper-parameters that `data` describes.

    Args:
        data: a mapping with the algorithm's `name` and any of its fields, or finished hyper-parameters.
        where: dotted prefix of every key in a message.

    Raises:
        SpecError: one line per mistake.

    >>> parse_algorithm({"name": "ppo", "gamma": 0.9}).gamma
    0.9
    """
    if isinstance(data, AlgorithmSpec):
        return data
    if not isinstance(data, Mapping):
        raise SpecError([f"{where}: must be a mapping with the name of an algorithm (got {data!r})"])
    name = data.get("name")
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise SpecError([f"{where + '.' if where else ''}name: unknown algorithm {name!r}{suggest(name, ALGORITHMS)}"])
    return ALGORITHMS[name].parse(data, where)


def _parse_inside(data: Any) -> Any:
    return parse_algorithm(data, where="")


AnyAlgorithm = Annotated[SerializeAsAny[AlgorithmSpec], BeforeValidator(_parse_inside)]
"""A field of a configuration that holds any algorithm."""
