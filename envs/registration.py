"""Gymnasium ids: `tokenfleet/Fleet-v0` for any scenario, and one for each shipped scenario with its time limit.

An id carries a version. The version goes up when the same seed and actions no longer give the same, so a published
result names its environment exactly.
"""

from __future__ import annotations

import re

import gymnasium
from gymnasium.envs.registration import EnvSpec

from tokenfleet.envs.catalog import catalog_names, shipped_text
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError

NAMESPACE, VERSION = "tokenfleet", 0
FLEET_ID = f"{NAMESPACE}/Fleet-v{VERSION}"
_HORIZON = re.compile(r"^horizon_ticks: *([0-9_]+)", re.MULTILINE)


def register_all() -> None:
    """Register `FLEET_ID` and the ids of the shipped scenarios."""
    _register(FLEET_ID)
    for name in catalog_names("scenario"):
        _register(scenario_id(name), {"scenario": name}, _horizon_ticks(name))


def scenario_id(scenario: str) -> str:
    """The id of a shipped scenario.

    >>> scenario_id("agent-swarm")
    'tokenfleet/AgentSwarm-v0'
    """
    camel = "".join(word.capitalize() for word in scenario.split("-"))
    return f"{NAMESPACE}/{camel}-v{VERSION}"


def check_time_limit(spec: EnvSpec | None, scenario: Scenario) -> None:
    """Refuse an episode longer than its id allows: Gymnasium would cut it off before its metrics are told.

    Raises:
        SpecError: the scenario's horizon is beyond the registered `max_episode_steps`.
    """
    registered = None if spec is None else gymnasium.registry.get(spec.id)
    limit = None if registered is None else registered.max_episode_steps
    if registered is not None and limit is not None and scenario.horizon_ticks > limit:
        raise SpecError(
            [
                f"horizon_ticks: {registered.id} ends after {limit} steps (got {scenario.horizon_ticks}); "
                f"make {FLEET_ID} with scenario={scenario.name!r} instead"
            ]
        )


def _register(id: str, kwargs: dict[str, str] | None = None, max_episode_steps: int | None = None) -> None:  # noqa: A002
    gymnasium.register(
        id=id,
        entry_point="tokenfleet.envs.fleet:FleetEnv",
        vector_entry_point="tokenfleet.envs.vector:FleetVectorEnv",
        kwargs=kwargs or {},
        max_episode_steps=max_episode_steps,
    )


def _horizon_ticks(scenario: str) -> int:
    """The horizon that a scenario's file gives; parsing all of the files would make every import wait."""
    found = _HORIZON.search(shipped_text("scenario", scenario))
    return int(found[1]) if found else int(Scenario.model_fields["horizon_ticks"].default)
