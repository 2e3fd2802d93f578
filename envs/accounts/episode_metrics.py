"""Sums over ticks of the episodes of N fleets so far, and the metrics of those that end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts.episode_sums import EpisodeSums
from tokenfleet.envs.accounts.metrics import episode_metrics, net_value_usd
from tokenfleet.envs.accounts.sums import Accounts
from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.interface.reward import NetValue
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class HeldMetrics:
    """The sums of one fleet's episode so far."""

    accounts: tuple[Float64Array, Float64Array]
    total_reward: float
    peak_over_cap_w: Float64Array


class EpisodeMetrics:
    """Sums over the episodes of N fleets.

    Args:
        scenario: says what things cost.
        arrays: the scenario as engines read it.
        num_envs: N.
    """

    def __init__(self, scenario: Scenario, arrays: FleetArrays, num_envs: int) -> None:
        self._classes = tuple(scenario.classes)
        self._tick_s = scenario.tick_s
        self._net_value = NetValue(scenario)
        self._over_cap_w = arrays.outcome.columns("over_cap_w", "row_over_cap_w")
        self._accounts = Accounts(scenario, arrays, num_envs)
        self._returns = np.zeros(num_envs)
        self._peak_over_cap_w = np.zeros((num_envs, len(self._over_cap_w)))

    def begin(self, index: int) -> None:
        """Forget what fleet `index` did: its next episode starts."""
        self._accounts.begin(index)
        self._returns[index] = 0.0
        self._peak_over_cap_w[index] = 0.0

    def hold(self, index: int) -> HeldMetrics:
        """The sums of fleet `index`, for `resume`."""
        peak = self._peak_over_cap_w[index].copy()
        return HeldMetrics(self._accounts.hold(index), float(self._returns[index]), peak)

    def resume(self, index: int, held: HeldMetrics) -> None:
        """Let fleet `index` go on from sums that it, or another, had."""
        self._accounts.resume(index, held.accounts)
        self._returns[index] = held.total_reward
        self._peak_over_cap_w[index] = held.peak_over_cap_w

    def add(self, outcome: Record, tariff: Float64Array, reward: Float64Array) -> None:
        """Count one tick.

        Args:
            outcome: what happened.
            tariff: price [USD/MWh], then carbon intensity [g/kWh], of the tick, `[N, 2 S]`.
            reward: `[N]`.
        """
        self._accounts.add(outcome, tariff)
        self._returns += reward
        np.maximum(self._peak_over_cap_w, outcome.rows.take(self._over_cap_w, axis=1), out=self._peak_over_cap_w)

    def ledger(self, index: int, ticks: int, log: RequestLog, requests: RequestTable) -> Ledger:
        """What each layer cost and added in fleet `index`, `ticks` ticks into its episode; see `Accounts.ledger`."""
        value_usd = net_value_usd(self._sums(np.array([index]), np.array([ticks])))
        return self._accounts.ledger(index, ticks, float(value_usd[0]), log, requests)

    def summary(self, index: NDArray[np.intp], ticks: NDArray[np.int64]) -> Mapping[str, Float64Array]:
        """The metrics of fleets `index`, `[n]` each, after `ticks` ticks, `[n]`."""
        return episode_metrics(self._sums(index, ticks), self._classes)

    def _sums(self, index: NDArray[np.intp], ticks: NDArray[np.int64]) -> EpisodeSums:
        outcome = Record(self._accounts.totals.layout, self._accounts.totals.rows[index])
        in_slo_usd, late_usd, lost_usd = self._net_value.token_terms_usd(outcome).T
        electricity_usd, carbon_g = self._accounts.electricity(index)
        return EpisodeSums(
            outcome=outcome,
            duration_s=np.multiply(ticks, self._tick_s, dtype=np.float64),
            reward=self._returns[index],
            in_slo_usd=in_slo_usd,
            late_usd=late_usd,
            lost_usd=lost_usd,
            electricity_usd=electricity_usd,
            carbon_g=carbon_g,
            carbon_usd=self._accounts.carbon_usd(index),
            peak_over_cap_w=self._peak_over_cap_w[index].max(axis=1),
        )
