"""What the axis letters of `tokenfleet.envs.fields` run over.

Names by letter; `tokenfleet.envs.fields.AXES` says what each letter stands for.
"""

from __future__ import annotations

from itertools import product

from tokenfleet.envs.scenario import Scenario


def axis_names(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """What the entries along each axis are called.

    >>> from tokenfleet.envs.scenario import load_scenario
    >>> axis_names(load_scenario("tiny"))["P"]
    ('lab-8b', 'lab-70b')
    """
    forecast_sites, forecast_rows = forecast_limits(scenario)
    return {
        "S": tuple(scenario.sites),
        "W": tuple(f"{site} {row}" for site, row in scenario.rows),
        "R": tuple(scenario.rooms),
        "B": tuple(scenario.batteries),
        "V": tuple(scenario.solar_sites),
        "s": tuple(scenario.training_sites),
        "M": tuple(scenario.charging_tariffs),
        "C": tuple(scenario.programmes),
        "U": tuple(scenario.regulators),
        "X": tuple(scenario.spread_sites),
        "P": tuple(scenario.pools),
        "p": tuple(scenario.standby_pools),
        "v": tuple(scenario.variants),
        "k": tuple(scenario.unsteady_pools),
        "K": tuple(scenario.classes),
        "Q": tuple(scenario.agreements),
        "O": scenario.forecast_classes,
        "Z": (*forecast_sites, *(f"{site} {row}" for site, row in forecast_rows)),
        "T": tuple(scenario.priced_classes),
        "L": tuple(f"in {lead_s:g} s" for lead_s in scenario.announced_lead_s),
        "F": tuple(f"in {lead_s:g} s" for lead_s in scenario.forecast_lead_s),
        "i": tuple(name for name, regime in scenario.regimes.items() if regime.indicator is not None),
    }


def entry_names(scenario: Scenario, axes: str) -> tuple[str, ...]:
    """What the entries along several axes are called, the last axis running fastest; a route is `class to pool`.

    >>> from tokenfleet.envs.scenario import load_scenario
    >>> entry_names(load_scenario("tiny"), "KP")[1]
    'chat-8b to lab-70b'
    """
    names = axis_names(scenario)
    return tuple(" to ".join(parts) for parts in product(*(names[axis] for axis in axes)))


def axis_sizes(scenario: Scenario) -> dict[str, int]:
    """How long each axis is."""
    return {axis: len(names) for axis, names in axis_names(scenario).items()}


def forecast_limits(scenario: Scenario) -> tuple[list[str], list[tuple[str, str]]]:
    """The sites and the rows whose events are forecast, in the order of axis Z: sites first.

    Every site is among them, for a shift may add an event to any; of rows, those with events.
    """
    if scenario.forecast.events is None:
        return [], []
    return list(scenario.sites), [key for key, row in scenario.rows.items() if row.events]
