"""What a policy is: SB3's `predict` over a batch, and a base class for policies in watts, shares and clocks.

Anything with this `predict` can be evaluated, learned or not, on any environment. A policy for a tokenfleet fleet is
easiest to write as a `ControlPolicy`: it gets the observation as named fields in physical units and answers with
`Controls`; decoding, encoding, batching and the state's bookkeeping are done here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from tokenfleet.envs.fields import VIEW
from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.fleets.live import LiveFleets
from tokenfleet.envs.fleets.simulator import FleetSimulator
from tokenfleet.envs.interface.action import Action, Supervises
from tokenfleet.envs.interface.observation import Observation, Recalls
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError, suggest

State = tuple[NDArray[Any], ...]
"""What a policy remembers: arrays whose first axis is the batch; `()` for nothing."""


class Policy(Protocol):
    """Anything that acts; the signature is that of stable-baselines3's `predict`."""

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], State | None]:
        """Choose actions.

        Args:
            observation: of one environment, `[D]`, or of a batch, `[N, D]`.
            state: what the previous call returned; None at the very beginning, and always for a policy without memory.
            episode_start: `[N]`, True where an episode begins: that environment's state starts afresh.
            deterministic: whether a policy that samples takes the most likely action instead.

        Returns:
            Actions, `[A]` or `[N, A]`, and the state for the next call.
        """


@dataclass(frozen=True)
class PolicyContext:
    """What a policy may know before the first observation; every space is that of a single environment.

    Attributes:
        observation_space, action_space: of one environment.
        scenario: the tokenfleet scenario, None for any other environment.
        observation, action: how the fleet's numbers become vectors and back; None for any other environment.
        seed: for policies that draw random numbers.
        env_id: what messages call the environment.
        policy_name: what messages call the policy; the registry fills it in.
        simulator: copies the environment; the registry withholds it from policies that do not set `needs_simulator`.
    """

    observation_space: Space[Any]
    action_space: Space[Any]
    scenario: Scenario | None = None
    observation: Observation | Recalls | None = None
    action: Action | Supervises | None = None
    seed: int = 0
    env_id: str = "this environment"
    policy_name: str = ""
    simulator: FleetSimulator | None = None

    @classmethod
    def from_env(cls, env: Any, seed: int = 0) -> PolicyContext:
        """The context of a Gymnasium environment, single or vectorised, fleet or not."""
        unwrapped = env.unwrapped
        fleet = unwrapped.batch if isinstance(unwrapped, FleetEnv) else unwrapped
        return cls(
            observation_space=getattr(env, "single_observation_space", env.observation_space),
            action_space=getattr(env, "single_action_space", env.action_space),
            scenario=getattr(fleet, "scenario", None),
            observation=getattr(fleet, "observation_model", None),
            action=getattr(fleet, "action_model", None),
            seed=seed,
            env_id=env.spec.id if env.spec is not None else type(unwrapped).__name__,
            simulator=FleetSimulator(fleet) if isinstance(fleet, LiveFleets) else None,
        )


class NamedObservation(Observation, Protocol):
    """An observation that can be read as named fields in physical units, as `FleetObservation` can."""

    layout: Layout

    def decode(self, observation: NDArray[Any]) -> Record:
        """Rows `[N, D]` or `[D]` to named fields, `[N, ...]` each."""


class WritableAction(Action, Protocol):
    """An action that can be written in physical units, as `FleetAction` can."""

    def encode(self, controls: Controls) -> NDArray[np.float32]:
        """The action `[N, A]` that stands for `controls`."""


class ControlPolicy(ABC):
    """A policy of a fleet that reads named fields and answers in physical units.

    A subclass lists the fields it reads in `fields` and writes `controls`; one that remembers also writes
    `initial_state`. Its keyword parameters are what a configuration may set.

    Attributes:
        fields: names of `tokenfleet.envs.fields.VIEW` that it reads.
        context: what it was built from.
        scenario: of the fleet.
        reads: names of the fields that it and its parts read.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, context: PolicyContext) -> None:
        """Check that the environment can be read and steered.

        Raises:
            SpecError: the environment is not a fleet, or its observation lacks a field.
        """
        self.name = context.policy_name or type(self).__name__
        self.context = context
        self.reads: frozenset[str] = frozenset()
        self.scenario, self._observation, self._action = _fleet_of(context, f"policy.{self.name}")
        self.require(self.fields)

    def require(self, fields: Collection[str]) -> None:
        """Raise `SpecError` unless the observation has `fields`; called also for the fields that parts read."""
        kept = {field.name for field in self._observation.layout}
        known = {field.name for field in VIEW}
        problems = []
        for name in fields:
            if name not in known:
                problems.append(f"policy.{self.name}: reads {name!r}, which is no field{suggest(name, known)}")
            elif name not in kept:
                problems.append(
                    f"policy.{self.name}: needs the field {name!r}, which this observation leaves out; "
                    "add it to the observation's fields or choose another policy"
                )
        if problems:
            raise SpecError(problems)
        self.reads |= frozenset(fields)

    def initial_state(self, num_envs: int) -> State:
        """What is remembered when an episode begins, every array `[num_envs, ...]`."""
        return ()

    @abstractmethod
    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """Decide for N fleets.

        Args:
            view: the observation in physical units, `view["cap_w"]` is `[N, S]`.
            state: what the previous tick left, or `initial_state`; never changed in place.

        Returns:
            The decisions, and the state for the next tick.
        """

    def predict(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`; `deterministic` changes nothing, for there is nothing to draw.

        Raises:
            SpecError: the environment's actions cannot express controls; use `decide`.
        """
        if isinstance(self._action, Supervises):
            raise SpecError(
                [
                    f"policy.{self.name}: answers with controls at every tick, which actions of "
                    f"{type(self._action).__name__} cannot say; evaluate it on the "
                    "environment without wrappers; as a base or a teacher it needs direct actions (env=fleet)"
                ]
            )
        controls, after = self.decide(np.atleast_2d(observation), state, episode_start)
        action = self._action.encode(controls)
        return (action[0] if np.ndim(observation) == 1 else action), after

    def decide(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
    ) -> tuple[Controls, State | None]:
        """`predict` for a batch `[N, D]`, in physical units, which `FleetVectorEnv.step` takes directly."""
        view = self._observation.decode(observation)
        controls, after = self.controls(view, self._state(state, episode_start, len(view.rows)))
        return controls, after or None

    def _state(self, state: State | None, episode_start: NDArray[np.bool_] | None, num_envs: int) -> State:
        fresh = self.initial_state(num_envs)
        if state is None or not fresh:
            return fresh
        if episode_start is None or not np.any(episode_start):
            return state
        starts = np.atleast_1d(np.asarray(episode_start, dtype=bool))
        return tuple(
            np.where(starts.reshape(-1, *[1] * (old.ndim - 1)), new, old) for new, old in zip(fresh, state, strict=True)
        )


def _fleet_of(context: PolicyContext, where: str) -> tuple[Scenario, NamedObservation, WritableAction]:
    """The scenario, and the models that decode observations and encode actions.

    Raises:
        SpecError: one line per reason why the policy cannot act in the environment.
    """
    scenario, observation, action = context.scenario, context.observation, context.action
    if scenario is None or observation is None or action is None:
        need = "needs a tokenfleet fleet environment"
        raise SpecError([f"{where}: {need}; {context.env_id} has none; use random or a checkpoint"])
    problems = []
    if not (hasattr(observation, "decode") and hasattr(observation, "layout")):
        problems.append(
            f"{where}: reads named fields, which {type(observation).__name__} does not give; "
            "write its `decode` and `layout` as FleetObservation has them, or choose another policy"
        )
    if not hasattr(action, "encode"):
        problems.append(
            f"{where}: sets shares and clocks, which {type(action).__name__} cannot express; "
            "write its `encode` as FleetAction has it, or choose another policy"
        )
    if context.observation_space != observation.space or context.action_space != action.space:
        problems.append(
            f"{where}: a wrapper has changed the spaces of {context.env_id}, so that their numbers no longer have "
            "physical units; use the environment without it"
        )
    if problems:
        raise SpecError(problems)
    return scenario, cast(NamedObservation, observation), cast(WritableAction, action)
