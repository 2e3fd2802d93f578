"""Scenarios that differ from the one trained on, on purpose: another load, mix, season, fleet, or a failed site."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.power.events import EmergencySpec
from tokenfleet.envs.scenario.loading import load_scenario
from tokenfleet.envs.scenario.scenario import Scenario
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, Spec

LAST_DAY = 364


class ShiftSpec(Spec):
    """What a shift changes, `catalog/shift/<name>.yaml`; observations and actions keep their shape.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        load_factor: on the load of every stream.
        mix: share of its load that the first class gets more, and every other class after it; the classes in between
            get as much less.
        days_later: how much later in the year episodes lie, where the scenario keeps to a part of the year; earlier
            where the year would end.
        replicas_fraction: share of each pool's replicas that is left, rounded up; caps of sites and rows keep their
            watts.
        forecast_error_factor: on the errors of forecasts of carbon intensity, outdoor temperature, sun, demand and
            events.
        failure: emergency on the connection of the first site, beside its own ones, where there are other sites.
    """

    name: Name
    description: str = ""
    load_factor: PositiveFloat = 1.0
    mix: float = Field(default=0.0, ge=0, lt=1)
    days_later: int = Field(default=0, ge=0, le=LAST_DAY, strict=True)
    replicas_fraction: float = Field(default=1.0, gt=0, le=1)
    forecast_error_factor: NonNegativeFloat = 1.0
    failure: EmergencySpec | None = None


def shifted(scenario: Scenario, shift: str | ShiftSpec) -> Scenario:
    """The scenario under a shift.

    Args:
        scenario: the one that was trained on.
        shift: what is different, or its name in the catalogue.

    Raises:
        SpecError: an unknown name, or a scenario that the shift makes impossible.

    >>> [shifted(load_scenario("tiny"), name).mean_rate_rps("chat-8b") for name in ("more-load", "less-load")]
    [10.4, 5.6]
    """
    spec = ShiftSpec.parse(load_entry("shift", shift, scenario.search_paths)) if isinstance(shift, str) else shift
    changes = {
        **_load(scenario, spec),
        **_season(scenario, spec),
        **_fleet(scenario, spec),
        **_forecast(scenario, spec),
        **_failure(scenario, spec),
    }
    return load_scenario(scenario, changes)


def _load(scenario: Scenario, spec: ShiftSpec) -> dict[str, Any]:
    classes = list(scenario.classes)
    tilt = {name: 1.0 + spec.mix * (-1.0) ** place for place, name in enumerate(classes)}
    changes: dict[str, Any] = {}
    for name, stream in scenario.workload.items():
        factor = spec.load_factor * (tilt[stream.request_class] if len(classes) > 1 else 1.0)
        if factor != 1.0:
            changes |= {f"workload.{name}.{key}": value for key, value in stream.under_load(factor).items()}
    return changes


def _season(scenario: Scenario, spec: ShiftSpec) -> dict[str, Any]:
    first, last = scenario.calendar.first_day, scenario.calendar.last_day
    if not spec.days_later or last - first == LAST_DAY:
        return {}
    later = spec.days_later if last + spec.days_later <= LAST_DAY else -min(spec.days_later, first)
    return {"calendar.first_day": first + later, "calendar.last_day": last + later}


def _fleet(scenario: Scenario, spec: ShiftSpec) -> dict[str, Any]:
    if spec.replicas_fraction == 1.0:
        return {}
    changes: dict[str, Any] = {
        f"pools.{name}.replicas": -int(-pool.replicas * spec.replicas_fraction // 1)
        for name, pool in scenario.pools.items()
    }
    for name in scenario.sites:
        changes |= {f"sites.{name}.grid.cap_w": scenario.contract_w(name), f"sites.{name}.grid.cap_fraction": None}
    for site, row in scenario.rows:
        where = f"sites.{site}.facility.rows.{row}"
        changes |= {f"{where}.cap_w": scenario.row_cap_w(site, row), f"{where}.cap_fraction": None}
    return changes


def _forecast(scenario: Scenario, spec: ShiftSpec) -> dict[str, Any]:
    if spec.forecast_error_factor == 1.0:
        return {}
    told = scenario.forecast
    errors = {key: getattr(told, key) for key in ("carbon_error_fraction", "outdoor_error_c", "solar_error_fraction")}
    if told.demand is not None:
        errors["demand.error_fraction"] = told.demand.error_fraction
    if told.events is not None:
        errors |= {"events.noise": told.events.noise, "events.start_error_s": told.events.start_error_s}
    return {f"forecast.{key}": spec.forecast_error_factor * error for key, error in errors.items()}


def _failure(scenario: Scenario, spec: ShiftSpec) -> dict[str, Any]:
    if spec.failure is None or len(scenario.sites) < 2:
        return {}
    name, site = next(iter(scenario.sites.items()))
    events = [*site.grid.emergencies, spec.failure]
    return {f"sites.{name}.grid.emergencies": [event.model_dump(mode="json") for event in events]}
