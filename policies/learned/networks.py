"""The networks of the shipped algorithms: what `policy_kwargs` may say, under the names of stable-baselines3."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tokenfleet.envs.spec import Spec, SpecError

Activation = Literal["tanh", "relu", "elu", "gelu", "silu", "leaky_relu"]
LayerSize = Annotated[int, Field(gt=0, le=65_536, strict=True)]
Layers = Annotated[tuple[LayerSize, ...], Field(max_length=32)]

FORMER_NAMES = {
    "rollout_steps": "n_steps",
    "epochs": "n_epochs",
    "entropy_coefficient": "ent_coef",
    "value_coefficient": "vf_coef",
    "max_gradient_norm": "max_grad_norm",
    "normalise_advantage": "normalize_advantage",
    "rms_prop": "use_rms_prop",
    "train_every": "train_freq",
    "exploration_noise": "action_noise",
    "target_noise": "target_policy_noise",
    "dropped_quantiles": "top_quantiles_to_drop_per_net",
    "normalise": "normalize",
    "observation": "norm_obs",
    "reward": "norm_reward",
    "clip": "clip_obs",
    "network": "policy_kwargs",
    "actor_layers": "net_arch.pi",
    "critic_layers": "net_arch.vf or net_arch.qf",
    "activation": "activation_fn",
    "orthogonal_init": "ortho_init",
    "lstm_units": "lstm_hidden_size",
    "lstm_layers": "n_lstm_layers",
    "critic_lstm": "enable_critic_lstm",
    "critics": "n_critics",
    "quantiles": "n_quantiles",
}
"""Earlier names of keys, and their names in stable-baselines3."""


class SameNames(Spec):
    """A description under stable-baselines3's own names; a former name is refused with a hint at the new one."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_former_names(cls, data: Any) -> Any:
        former = [key for key in data if key in FORMER_NAMES] if isinstance(data, dict) else []
        if former:
            raise SpecError(
                f"{key}: unknown key; did you mean {FORMER_NAMES[key]!r}, as stable-baselines3 calls it?"
                for key in former
            )
        return data


class ActorCriticLayers(Spec):
    """Units of each hidden layer of the policy (`pi`) and of the value function (`vf`)."""

    pi: Layers = (64, 64)
    vf: Layers = (64, 64)


class TwinCriticLayers(Spec):
    """Units of each hidden layer of the policy (`pi`) and of each Q network (`qf`)."""

    pi: Layers = (256, 256)
    qf: Layers = (256, 256)


def _for_all(*parts: str) -> BeforeValidator:
    """One list of layers may stand for all parts of a network."""
    return BeforeValidator(lambda value: dict.fromkeys(parts, value) if isinstance(value, (list, tuple)) else value)


class ActorCriticNetwork(SameNames):
    """Network of an on-policy algorithm.

    Attributes:
        net_arch: hidden layers; one list for both parts.
        activation_fn: between layers.
        log_std_init: logarithm of the initial standard deviation of a continuous action.
        ortho_init: orthogonal initial weights.
    """

    net_arch: Annotated[ActorCriticLayers, _for_all("pi", "vf")] = ActorCriticLayers()
    activation_fn: Activation = "tanh"
    log_std_init: float = Field(default=0.0, ge=-20, le=5)
    ortho_init: bool = True


class RecurrentNetwork(ActorCriticNetwork):
    """Network with an LSTM in front of the layers.

    Attributes:
        lstm_hidden_size: units of each LSTM layer.
        n_lstm_layers: number of stacked LSTM layers.
        enable_critic_lstm: give the critic an LSTM of its own; without one it sees the observation only.
    """

    lstm_hidden_size: LayerSize = 64
    n_lstm_layers: Annotated[int, Field(gt=0, le=8, strict=True)] = 1
    enable_critic_lstm: bool = True


class ControllerNetwork(SameNames):
    """Network from observations straight to actions; its last layer begins at zero.

    Attributes:
        net_arch: units of each hidden layer; none for a linear policy.
        activation_fn: between layers.
    """

    net_arch: Layers = ()
    activation_fn: Activation = "tanh"


class OffPolicyNetwork(SameNames):
    """Network of an off-policy algorithm.

    Attributes:
        net_arch: hidden layers; one list for both parts.
        activation_fn: between layers.
        n_critics: Q networks whose least (or truncated) value counts.
    """

    net_arch: Annotated[TwinCriticLayers, _for_all("pi", "qf")] = TwinCriticLayers()
    activation_fn: Activation = "relu"
    n_critics: Annotated[int, Field(gt=0, le=64, strict=True)] = 2


class QuantileNetwork(OffPolicyNetwork):
    """Network of TQC.

    Attributes:
        n_quantiles: of the return, per critic.
    """

    n_quantiles: Annotated[int, Field(gt=0, le=1024, strict=True)] = 25
