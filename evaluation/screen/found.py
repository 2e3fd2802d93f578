"""The plans of a finished screen, as policies for evaluate.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.record import read_record
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale
from tokenfleet.policies.heuristics.linear.numbers import Numbers
from tokenfleet.policies.heuristics.linear.policy import feedback_parameters
from tokenfleet.policies.heuristics.supervisor import supervisor_parameters


@dataclass(frozen=True)
class FinishedScreen:
    """A screen that is at its end.

    Attributes:
        scenario: that was screened.
        header: of the screen's file.
        card: the findings.
        scale: of the features.
    """

    scenario: Scenario
    header: Mapping[str, Any]
    card: Mapping[str, Any]
    scale: FeatureScale

    @classmethod
    def of_file(cls, path: Path, scenario: str | None = None) -> FinishedScreen:
        """What the file of a screen holds.

        Args:
            path: of the file.
            scenario: a YAML file, for one that is not in the catalogue.

        Raises:
            SpecError: it cannot be read; or the screen is not at its end, or of another version of the scenario or of
                the features.
        """
        record = read_record(path)
        if "card" not in record:
            raise SpecError([f"{path}: the screen is not at its end; run it again"])
        loaded = load_scenario(scenario or record["header"]["scenario"])
        if scenario_hash(loaded) != record["header"]["config_hash"]:
            raise SpecError([f"{path}: the scenario {loaded.name} is another one now; screen it again"])
        if record["header"].get("features") != list(NAMES):
            raise SpecError([f"{path}: feedback had other features when {loaded.name} was screened; screen it again"])
        mean, deviation = record["measured"]["scale"]
        return cls(loaded, record["header"], record["card"], FeatureScale(np.array(mean), np.array(deviation)))

    def plan(self, name: str) -> Plans:
        """A plan of the card.

        Raises:
            SpecError: there is none of this name.
        """
        plans = self.card["plans"]
        if name not in plans:
            raise SpecError([f"{self.scenario.name}: the screen holds no plan {name!r}{suggest(name, plans)}"])
        gains = plans[name]["gains"]
        return Plans(np.array([plans[name]["base"]]), None if gains is None else np.array([gains]))

    def choice(self, name: str) -> dict[str, Any]:
        """A plan of the card as the registry takes it; see `choice_of`."""
        return choice_of(self.plan(name), self.scenario, self.scale)


def choice_of(plan: Plans, scenario: Scenario, scale: FeatureScale) -> dict[str, Any]:
    """One plan as the registry takes it.

    Constants have the six digits of `supervisor_parameters`. Feedback acts as the plan does, to the bit.

    Args:
        plan: of one policy.
        scenario: that it is for.
        scale: of the features.
    """
    if plan.gains is None:
        return {"name": "supervisor", **supervisor_parameters(scenario, plan.base[0])}
    numbers = Numbers(scenario, tuple(SetpointAction(scenario).table), "plan")
    parameters = feedback_parameters(scenario, numbers, plan.base[0], plan.gains[0], scale)
    return {"name": "linear_feedback", **parameters}
