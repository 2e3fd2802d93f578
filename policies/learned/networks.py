"""The networks of the shipped algorithms: what a configuration may say about their layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tokenfleet.envs.spec import Spec

Activation = Literal["tanh", "relu", "elu", "gelu", "silu", "leaky_relu"]
LayerSize = Annotated[int, Field(gt=0, le=65_536, strict=True)]
Layers = Annotated[tuple[LayerSize, ...], Field(max_length=32)]


class ActorCriticNetwork(Spec):
    """Network of an on-policy algorithm.

    Attributes:
        actor_layers, critic_layers: units of each hidden layer.
        activation: between layers.
        log_std_init: logarithm of the initial standard deviation of a continuous action.
        orthogonal_init: orthogonal initial weights.
    """

    actor_layers: Layers = (64, 64)
    critic_layers: Layers = (64, 64)
    activation: Activation = "tanh"
    log_std_init: float = Field(default=0.0, ge=-20, le=5)
    orthogonal_init: bool = True


class RecurrentNetwork(ActorCriticNetwork):
    """Network with an LSTM in front of the layers.

    Attributes:
        lstm_units: units of each LSTM layer.
        lstm_layers: LSTM layers on top of each other.
        critic_lstm: give the critic an LSTM of its own; without one it sees the observation only.
    """

    lstm_units: LayerSize = 64
    lstm_layers: Annotated[int, Field(gt=0, le=8, strict=True)] = 1
    critic_lstm: bool = True


class OffPolicyNetwork(Spec):
    """Network of an off-policy algorithm.

    Attributes:
        actor_layers, critic_layers: units of each hidden layer.
        activation: between layers.
        critics: Q networks whose least (or truncated) value counts.
    """

    actor_layers: Layers = (256, 256)
    critic_layers: Layers = (256, 256)
    activation: Activation = "relu"
    critics: Annotated[int, Field(gt=0, le=64, strict=True)] = 2


class QuantileNetwork(OffPolicyNetwork):
    """Network of TQC.

    Attributes:
        quantiles: of the return, per critic.
    """

    quantiles: Annotated[int, Field(gt=0, le=1024, strict=True)] = 25
