"""The matrix of contenders and scenarios, and what it says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.contenders.cells import MIDDLE, cell_name
from tokenfleet.evaluation.contenders.searched import BEST_KNOWN, SearchedPolicy
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap, interquartile_mean


@dataclass(frozen=True)
class ResultMatrix:
    """Net values of every policy on the same episodes of every scenario.

    Attributes:
        scenarios: their names.
        policies: their names.
        searched: policies with numbers that a search found for one scenario.
        usd: net values by policy and scenario, one an episode; missing where the policy refused to play.
        above_cap_s: mean seconds above a cap, likewise.
        decision_ms: by policy.
        episodes, seed: of every scenario.
    """

    scenarios: tuple[str, ...]
    policies: tuple[str, ...]
    searched: tuple[SearchedPolicy, ...]
    usd: Mapping[tuple[str, str], Sequence[float]]
    above_cap_s: Mapping[tuple[str, str], float]
    decision_ms: Mapping[str, float]
    episodes: int
    seed: int

    @classmethod
    def of(
        cls,
        record: MeasurementFile,
        scenarios: Mapping[str, Scenario],
        policies: Sequence[str],
        searched: Sequence[SearchedPolicy],
        episodes: int,
        seed: int,
    ) -> ResultMatrix:
        """What a file of measurements says."""
        usd, above = {}, {}
        wanted = [(scenario, name, name) for name in policies for scenario in scenarios]
        wanted += [(one.scenario, one.name, one.cell) for one in searched]
        for scenario, name, cell_of in wanted:
            cell = record.measured(cell_name(scenarios[scenario], cell_of))
            if "refused" not in cell:
                usd[name, scenario] = cell["net_value_usd"]
                above[name, scenario] = cell["above_cap_s"]
        return cls(
            scenarios=tuple(scenarios),
            policies=tuple(policies),
            searched=tuple(searched),
            usd=usd,
            above_cap_s=above,
            decision_ms={name: record.measured(f"decision_ms/{name}") for name in policies},
            episodes=episodes,
            seed=seed,
        )

    def mean_usd(self, policy: str, scenario: str) -> float:
        """Mean net value, NaN where the policy refused to play [USD]."""
        values = self.usd.get((policy, scenario))
        return float("nan") if values is None else float(np.mean(values))

    def best_usd(self, scenario: str) -> float:
        """The highest mean net value [USD]."""
        return float(np.nanmax([self.mean_usd(policy, scenario) for policy in self.policies]))

    def percent(self, policy: str, scenario: str) -> float:
        """Mean net value over the best one of the scenario [%]."""
        return 100.0 * self.mean_usd(policy, scenario) / self.best_usd(scenario)

    def half_width_percent(self, policy: str, scenario: str) -> float:
        """Half of the 95 % interval of the paired difference to the best of the scenario [%]; 0 for the best."""
        best = max(self.policies, key=lambda name: np.nan_to_num(self.mean_usd(name, scenario), nan=-np.inf))
        interval = self.over(policy, best, scenario)
        return 50.0 * (interval.high - interval.low) / self.mean_usd(best, scenario)

    def overall(self, policy: str) -> float:
        """Interquartile mean of `percent` over scenarios, those refused counting as 0."""
        return interquartile_mean([np.nan_to_num(self.percent(policy, scenario)) for scenario in self.scenarios])

    def over_middle(self, policy: str, scenario: str) -> Interval:
        """Paired difference to the middle of the action box, with its 95 % interval [USD]."""
        return self.over(policy, MIDDLE, scenario)

    def over(self, policy: str, other: str, scenario: str) -> Interval:
        """Paired difference of two policies, with its 95 % interval [USD]."""
        bootstrap = PairedBootstrap(self.episodes, seed=self.seed)
        return bootstrap.difference(self.usd[policy, scenario], self.usd[other, scenario])

    def rivals(self, scenario: str) -> list[str]:
        """Policies and tuned rules that played, whoever earned most first; the best known is not among them."""
        tuned = [one.name for one in self.searched if one.scenario == scenario and one.name != BEST_KNOWN]
        played = [name for name in (*self.policies, *tuned) if (name, scenario) in self.usd]
        return sorted(played, key=lambda name: -self.mean_usd(name, scenario))

    def ranking(self) -> list[str]:
        """Policies, the best overall first."""
        return sorted(self.policies, key=lambda policy: -self.overall(policy))

    def text(self) -> str:
        """The matrix, one line a policy."""
        width = max(len(name) for name in self.policies)
        head = f"{'':{width}} overall " + " ".join(f"{name[:7]:>7}" for name in self.scenarios) + "      ms"
        lines = [head]
        for policy in self.ranking():
            cells = " ".join(f"{self.percent(policy, scenario):7.1f}" for scenario in self.scenarios)
            lines.append(f"{policy:{width}} {self.overall(policy):7.1f} {cells} {self.decision_ms[policy]:7.2f}")
        return "\n".join(lines)
