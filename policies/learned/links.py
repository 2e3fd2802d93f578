"""Which entries of an observation an entry of an action may follow, by their fields and sites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_names
from tokenfleet.envs.spec import SpecError, suggest

_EVERYWHERE = ""
"""In place of a site, for what belongs to no single site, such as a request class."""


def fleet_links(env: Any, own: bool, fields: Sequence[str] | None) -> NDArray[np.bool_]:
    """Whether action entry `a` may follow observation entry `d`, `[A, D]`.

    Args:
        env: a vector environment of fleets.
        own: only entries of the action's own site, and those that belong to no site.
        fields: only entries of these fields of the observation; None for all.

    Raises:
        SpecError: it is no fleet, its observation or action does not say what its entries are, or the observation lacks
            a field.
    """
    fleet = env.unwrapped
    scenario = getattr(fleet, "scenario", None)
    layout = getattr(getattr(fleet, "observation_model", None), "layout", None)
    table = getattr(getattr(fleet, "action_model", None), "table", None)
    spaces = getattr(env, "single_observation_space", None), getattr(env, "single_action_space", None)
    if scenario is None or layout is None or table is None or spaces[0] != fleet.observation_model.space:
        hint = "choose links=all and fields=null"
        raise SpecError(
            [f"algo: links and fields need a fleet whose observation and action name their entries; {hint}"]
        )
    known = [field.name for field in layout]
    chosen = known if fields is None else fields
    problems = [f"algo.fields: unknown field {name!r}{suggest(name, known)}" for name in chosen if name not in known]
    if problems:
        raise SpecError(problems)
    acts = _sites_of_actions(scenario, table)
    sees = [site for field in layout for site in _sites_of_field(scenario, field.axis, acts)]
    linked = np.array([[not own or not a or not d or a == d for d in sees] for a in acts])
    return linked & np.isin(np.arange(layout.width), layout.columns(*chosen))


def _sites_of_actions(scenario: Scenario, table: Iterable[Segment]) -> list[str]:
    """The site of every action entry."""
    sites = []
    for segment in table:
        for label in segment.labels:
            pool = scenario.pools.get(label.rpartition(" to ")[2]) if "pool" in segment.per else None
            at_site = label if segment.per.startswith("site") else _EVERYWHERE
            sites.append(at_site if pool is None else pool.site)
    return sites


def _sites_of_field(scenario: Scenario, axis: str, acts: list[str]) -> list[str]:
    """The site of every entry of a field with these axes; `A` are the entries of the action."""
    names = {
        **{letter: [_EVERYWHERE] * len(found) for letter, found in axis_names(scenario).items()},
        **{letter: list(axis_names(scenario)[letter]) for letter in "SRBV"},
        "P": [pool.site for pool in scenario.pools.values()],
        "W": [site for site, _ in scenario.rows],
        "A": acts,
    }
    return ["".join(parts) for parts in product(*(names[letter] for letter in axis))]
