"""Identity of an environment: rows of different ones are never compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gymnasium.vector import VectorEnv

from tokenfleet.envs.files.digest import short_digest
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.own_files import own_files

PROSE = {"description"}
"""Keys of a scenario that are for people alone: no number of an episode depends on them."""
_VECTOR_ARGUMENTS = ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers")


@dataclass(frozen=True)
class EnvironmentIdentity:
    """What an environment is; see `EpisodeRow` for the names."""

    environment: str
    scenario: str
    split: str
    config_hash: str

    @classmethod
    def of(cls, env: VectorEnv[Any, Any, Any]) -> EnvironmentIdentity:
        """That of a vector environment; the hash covers what decides its metrics.

        A fleet measures itself, whatever wrappers make of its observations and rewards; a time limit below the
        scenario's horizon makes other episodes. Any other environment is known by its returns, so its wrappers count.
        """
        fleet = env.unwrapped
        if isinstance(fleet, FleetVectorEnv):
            scenario, ticks = fleet.scenario, fleet.longest_episode_ticks
            whole = scenario_hash(scenario)
            found = whole if ticks == scenario.horizon_ticks else short_digest([whole, ticks])
            return cls("tokenfleet/Fleet-v0", scenario.name, fleet.split, found)
        if env.spec is None:
            return cls(type(fleet).__name__, "", "", short_digest(type(fleet).__name__))
        own = {name: repr(value) for name, value in env.spec.kwargs.items() if name not in _VECTOR_ARGUMENTS}
        wrappers = [[wrapper.entry_point, repr(wrapper.kwargs)] for wrapper in env.spec.additional_wrappers]
        return cls(env.spec.id, "", "", short_digest([env.spec.id, own, *wrappers]))


def scenario_hash(scenario: Scenario) -> str:
    """Of everything that a scenario says, but for its `PROSE`, and of the user's own files that it rests on."""
    said, files = scenario.model_dump(mode="json", exclude=PROSE), own_files(scenario)
    return short_digest([said, files] if files else said)
