"""Plans beside a tuned one: without a group of set-points, or absurd ones, which must not pay; and an obvious rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.screen.findings import ABOVE_CAP, given_up
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale, followed_rows

Table = tuple[Segment, ...]

ON_FEATURE = "feedback on "
AWAKE_SLOPE, AWAKE_DEAD = 2.0, 0.1
"""Of the segment `awake_replicas` below its middle: `usual * (1 + 2 (a + 0.1))`."""


def awake_by_cap(scenario: Scenario, table: Table, scale: FeatureScale) -> Plans:
    """The middle of the box, but awake replicas in proportion to the cap: an obvious rule, and nothing is tuned."""
    (awake,) = (segment for segment in table if segment.name == "awake_replicas")
    entries = sum(len(segment.labels) for segment in table)
    follows, cap = followed_rows(scenario, table), NAMES.index("cap")
    contract_w = [scenario.contract_w(site) for site in scenario.sites]
    base, gains = np.zeros((1, entries)), np.zeros((1, entries, len(NAMES)))
    for column in range(awake.first, awake.first + len(awake.labels)):
        site = follows[column]
        base[:, column] = (scale.mean[site, cap] / contract_w[site] - 1.0) / AWAKE_SLOPE - AWAKE_DEAD
        gains[:, column, cap] = scale.deviation[site, cap] / contract_w[site] / AWAKE_SLOPE
    return Plans(base, gains)


def frozen(plan: Plans, table: Table) -> dict[str, Plans]:
    """The plan with each group of set-points, or each feature that it follows, back at its default."""
    plans = {}
    for segment in table:
        if segment.labels:
            columns = range(segment.columns.start, segment.columns.stop)
            plans[segment.name] = _with(plan, dict.fromkeys(columns, 0.0))
    if plan.gains is not None:
        for index, name in enumerate(NAMES):
            if plan.gains[:, :, index].any():
                gains = plan.gains.copy()
                gains[:, :, index] = 0.0
                plans[f"{ON_FEATURE}{name}"] = Plans(plan.base, gains)
    return plans


def absurd(plan: Plans, scenario: Scenario, table: Table) -> dict[str, Plans]:
    """The plan, but for one thing that no operator would do."""
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
    """The plan with some entries held, whatever happens."""
    base, gains = plan.base.copy(), None if plan.gains is None else plan.gains.copy()
    for column, value in entries.items():
        base[:, column] = value
        if gains is not None:
            gains[:, column] = 0.0
    return Plans(base, gains)
