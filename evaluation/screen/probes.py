"""Plans beside a tuned one: without one group of set-points, and such as a sensible scenario punishes."""

from __future__ import annotations

from collections.abc import Mapping

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.screen.features import NAMES, STEERED
from tokenfleet.evaluation.screen.findings import ABOVE_CAP, given_up
from tokenfleet.evaluation.screen.plans import Plans

Table = tuple[Segment, ...]


def frozen(plan: Plans, table: Table) -> dict[str, Plans]:
    """The plan with each group of set-points, or of gains, or each feature, back at its default."""
    plans = {}
    for segment in table:
        if not segment.labels:
            continue
        base = plan.base.copy()
        base[:, segment.columns] = 0.0
        gains = None if plan.gains is None else plan.gains.copy()
        if gains is not None and segment.name in STEERED:
            gains[:, _steered(segment.name, table)] = 0.0
        plans[segment.name] = Plans(base, gains)
    if plan.gains is not None:
        for index, name in enumerate(NAMES):
            gains = plan.gains.copy()
            gains[:, :, index] = 0.0
            plans[f"feedback on {name}"] = Plans(plan.base, gains)
    return plans


def absurd(plan: Plans, scenario: Scenario, table: Table) -> dict[str, Plans]:
    """The constants of a plan, but for one thing that no operator would do."""
    by_name = {segment.name: segment for segment in table}
    plans = {}
    if len(scenario.sites) > 1:
        awake = by_name["awake_replicas"]
        for site in scenario.sites:
            here = [pool for pool in awake.labels if scenario.pools[pool].site == site]
            plans[f"{site} is switched off"] = _with(
                plan, {awake.first + awake.labels.index(pool): -1.0 for pool in here}
            )
    backlog = by_name["backlog_limit"]
    if len(backlog.labels) > 1:
        for offset, name in enumerate(backlog.labels):
            plans[given_up(name)] = _with(plan, {backlog.first + offset: -1.0})
    sites = [
        segment.first + offset
        for segment in (by_name["power_share"], by_name["brake_share"])
        for offset in range(len(segment.labels))
    ]
    plans[ABOVE_CAP] = _with(plan, dict.fromkeys(sites, 1.0))
    return plans


def _with(plan: Plans, entries: Mapping[int, float]) -> Plans:
    base = plan.base.copy()
    for column, value in entries.items():
        base[:, column] = value
    return Plans(base)


def _steered(name: str, table: Table) -> slice:
    """Where the entries of a segment stand among those that feedback moves."""
    before = 0
    for segment in table:
        if segment.name == name:
            return slice(before, before + len(segment.labels))
        before += len(segment.labels) if segment.name in STEERED else 0
    raise KeyError(name)
