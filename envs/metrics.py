"""What an episode came to: sums over its ticks, and the figures that papers and operators quote.

| metric | unit | meaning |
|---|---|---|
| `return` | - | sum of rewards |
| `net_value_usd` | USD | revenue, less penalties, less electricity |
| `revenue_usd` | USD | price of requests within their SLO, and the reduced price of late ones |
| `penalty_usd` | USD | credit owed for refused and expired requests |
| `energy_usd` | USD | electricity bill |
| `energy_kwh`, `carbon_kg` | kWh, kg CO2e | energy from the grid and its emissions |
| `goodput_tokens_per_s` | tokens/s | output tokens of requests within their SLO |
| `slo_attainment` | share | requests within their SLO, of those completed, refused or expired |
| `slo_attainment/<class>` | share | the same for one class |
| `tokens_per_joule` | tokens/J | output tokens generated, over facility energy |
| `usd_per_million_tokens` | USD | electricity for a million output tokens generated |
| `g_per_million_tokens` | g CO2e | emissions for a million output tokens generated |
| `ttft_mean_s` | s | mean time to first token |
| `above_cap_s` | s | time above a cap, summed over sites and rows |
| `peak_over_cap_w` | W | furthest that a site or row stood above its cap |
| `brakes`, `trips` | events | power brakes and breaker trips |
| `completed`, `refused`, `expired`, `declined` | requests | how requests ended |
| `budget_ended` | sessions | sessions that had spent their budget |

A ratio whose denominator is zero is NaN: nothing ended, nothing generated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.accounts import Accounts
from tokenfleet.envs.axes import axis_sizes
from tokenfleet.envs.engine import RequestLog
from tokenfleet.envs.fields import OUTCOMES, Layout, Record
from tokenfleet.envs.layers.ledger import JOULES_PER_KWH, TOKENS_PER_MILLION, Ledger
from tokenfleet.envs.reward import NetValue
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.traces import RequestTable

Float64Array = NDArray[np.float64]

GRAMS_PER_KG = 1e3


class EpisodeMetrics:
    """Sums over the episodes of N fleets.

    Args:
        scenario: the world.
        num_envs: N.
    """

    def __init__(self, scenario: Scenario, num_envs: int) -> None:
        self._classes = tuple(scenario.classes)
        self._tick_s = scenario.tick_s
        self._net_value = NetValue(scenario)
        layout = Layout(OUTCOMES, axis_sizes(scenario))
        columns = np.arange(layout.width)
        self._over_cap_w = np.concatenate([columns[layout.slice(name)] for name in ("over_cap_w", "row_over_cap_w")])
        self._accounts = Accounts(scenario, num_envs)
        self._returns = np.zeros(num_envs)
        self._peak_over_cap_w = np.zeros((num_envs, len(self._over_cap_w)))

    def begin(self, index: int) -> None:
        """Forget what fleet `index` did: its next episode starts."""
        self._accounts.begin(index)
        self._returns[index] = 0.0
        self._peak_over_cap_w[index] = 0.0

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
        net_value_usd = float(self._net_value_usd(np.array([index]))[0])
        return self._accounts.ledger(index, ticks, net_value_usd, log, requests)

    def summary(self, index: NDArray[np.intp], ticks: NDArray[np.int64]) -> dict[str, Float64Array]:
        """The metrics of fleets `index`, `[n]` each, after `ticks` ticks, `[n]`."""
        totals = self._totals(index)
        in_slo_usd, late_usd, lost_usd = self._net_value.token_terms_usd(totals).T
        energy_usd, carbon_g = self._accounts.electricity(index)
        energy_j, facility_j = totals["energy_j"].sum(axis=1), totals["facility_energy_j"].sum(axis=1)
        generated = totals["generated_tokens"].sum(axis=1)
        served = totals["completed_in_slo"]
        ended = served + totals["completed_late"] + totals["refused"] + totals["expired"]
        by_class = {f"slo_attainment/{name}": _ratio(served[:, k], ended[:, k]) for k, name in enumerate(self._classes)}
        return {
            "return": self._returns[index],
            "net_value_usd": self._net_value_usd(index),
            "revenue_usd": in_slo_usd + late_usd,
            "penalty_usd": 0.0 - lost_usd,
            "energy_usd": energy_usd,
            "energy_kwh": energy_j / JOULES_PER_KWH,
            "carbon_kg": carbon_g / GRAMS_PER_KG,
            "goodput_tokens_per_s": totals["output_tokens_in_slo"].sum(axis=1) / (ticks * self._tick_s),
            "slo_attainment": _ratio(served.sum(axis=1), ended.sum(axis=1)),
            **by_class,
            "tokens_per_joule": _ratio(generated, facility_j),
            "usd_per_million_tokens": _ratio(energy_usd * TOKENS_PER_MILLION, generated),
            "g_per_million_tokens": _ratio(carbon_g * TOKENS_PER_MILLION, generated),
            "ttft_mean_s": _ratio(totals["ttft_sum_s"].sum(axis=1), totals["first_tokens"].sum(axis=1)),
            "above_cap_s": _sites_and_rows(totals, "above_cap_s"),
            "peak_over_cap_w": self._peak_over_cap_w[index].max(axis=1),
            "brakes": _sites_and_rows(totals, "brakes"),
            "trips": _sites_and_rows(totals, "trips"),
            "completed": (served + totals["completed_late"]).sum(axis=1),
            "refused": totals["refused"].sum(axis=1),
            "expired": totals["expired"].sum(axis=1),
            "declined": totals["declined"].sum(axis=1),
            "budget_ended": totals["budget_ended"].sum(axis=1),
        }

    def _totals(self, index: NDArray[np.intp]) -> Record:
        return Record(self._accounts.totals.layout, self._accounts.totals.rows[index])

    def _net_value_usd(self, index: NDArray[np.intp]) -> Float64Array:
        in_slo_usd, late_usd, lost_usd = self._net_value.token_terms_usd(self._totals(index)).T
        net_value_usd: Float64Array = in_slo_usd + late_usd + lost_usd - self._accounts.electricity(index)[0]
        return net_value_usd


def _sites_and_rows(totals: Record, name: str) -> Float64Array:
    total: Float64Array = totals[name].sum(axis=1) + totals[f"row_{name}"].sum(axis=1)
    return total


def _ratio(over: Float64Array, under: Float64Array) -> Float64Array:
    """`over / under`, NaN where `under` is zero."""
    return np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0.0)
