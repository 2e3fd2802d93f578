"""Sums over the episodes of N fleets, and the ledger of one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine import RequestLog, RequestStatus
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.distribution import BYTES_PER_GB
from tokenfleet.envs.layers.ledger import (
    PRICED,
    Ledger,
    LedgerRates,
    Sums,
    emissions_g,
    energy_cost_usd,
    make_ledger,
)
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.network import egress_usd_per_byte
from tokenfleet.envs.traces import RequestTable
from tokenfleet.envs.units import SECONDS_PER_HOUR

Float64Array = NDArray[np.float64]


class Accounts:
    """Every outcome of N fleets, and cost and emissions of the energies in `PRICED`, summed since episodes began.

    Args:
        scenario: says what things cost.
        arrays: the scenario as engines read it.
        num_envs: N.

    Attributes:
        totals: sums of the outcomes, a row for each fleet.
    """

    def __init__(self, scenario: Scenario, arrays: FleetArrays, num_envs: int) -> None:
        layout, sites = arrays.outcome, arrays.num_sites
        self.totals = Record(layout, np.zeros((num_envs, layout.width)))
        self._tick_s, self._sites = scenario.tick_s, sites
        self._rates = ledger_rates(scenario, arrays)
        self._columns, self._site = priced_columns(arrays)
        self._columns = np.tile(self._columns, 2)
        self._tariff = np.concatenate([self._site, sites + self._site])
        tariffs = [site.grid.tariff for site in scenario.sites.values()]
        self._carbon_usd_per_g = np.array([tariff.carbon_usd_per_g if tariff else 0.0 for tariff in tariffs])
        self._tariffed = np.zeros((num_envs, len(self._tariff)))

    def begin(self, index: int) -> None:
        """Forget what fleet `index` did: its next episode starts."""
        self.totals.rows[index] = 0.0
        self._tariffed[index] = 0.0

    def hold(self, index: int) -> tuple[Float64Array, Float64Array]:
        """The sums of fleet `index`, for `resume`."""
        return self.totals.rows[index].copy(), self._tariffed[index].copy()

    def resume(self, index: int, held: tuple[Float64Array, Float64Array]) -> None:
        """Let fleet `index` go on from sums of its own or of another."""
        self.totals.rows[index], self._tariffed[index] = held

    def add(self, outcome: Record, tariff: Float64Array) -> None:
        """Count one tick at a `tariff`: price [USD/MWh] of every site, then carbon intensity [g/kWh], `[N, 2 S]`."""
        self.totals.rows += outcome.rows
        self._tariffed += outcome.rows.take(self._columns, axis=1) * tariff.take(self._tariff, axis=1)

    def electricity(self, index: NDArray[np.intp]) -> tuple[Float64Array, Float64Array]:
        """The bill [USD] and the emissions [g] of fleets `index`, `[n]` each."""
        tariffed = self._tariffed[index].reshape(len(index), 2, -1)[:, :, : self._sites].sum(axis=2)
        return energy_cost_usd(tariffed[:, 0], np.array(1.0)), emissions_g(tariffed[:, 1], np.array(1.0))

    def carbon_usd(self, index: NDArray[np.intp]) -> Float64Array:
        """Of the bill of fleets `index`, the price of carbon, `[n]` [USD]."""
        weighted = self._tariffed[index].reshape(len(index), 2, -1)[:, 1, : self._sites] * self._carbon_usd_per_g
        return emissions_g(np.add.reduce(weighted, axis=1), np.array(1.0))

    def ledger(self, index: int, ticks: int, net_value_usd: float, log: RequestLog, requests: RequestTable) -> Ledger:
        """The ledger of fleet `index`, `ticks` ticks into its episode.

        Args:
            index: of the fleet.
            ticks: how many have been counted.
            net_value_usd: net value of these ticks.
            log: states of the episode's requests.
            requests: the episode's requests.
        """
        usd, grams = self._tariffed[index].reshape(2, -1)
        carbon_usd = self.carbon_usd(np.array([index]))
        pending = in_flight(log)
        sums = Sums(
            total={field.name: self.totals[field.name][index] for field in self.totals.layout},
            usd=_by_name(energy_cost_usd(usd, np.array(1.0)), self.totals.layout),
            grams=_by_name(emissions_g(grams, np.array(1.0)), self.totals.layout),
            duration_s=ticks * self._tick_s,
            net_value_usd=net_value_usd,
            in_flight_requests=int(pending.sum()),
            carbon_usd=float(carbon_usd[0]),
            in_flight_tokens=int((requests.prompt_tokens + requests.output_tokens)[pending].sum(dtype=np.int64)),
        )
        return make_ledger(sums, self._rates)


def priced_columns(arrays: FleetArrays) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Columns of the outcome that `PRICED` names, one after the other, and the site of each."""
    sites = {"S": np.arange(arrays.num_sites), "P": arrays.site, "s": np.flatnonzero(arrays.training >= 0)}
    axis = {field.name: field.axis for field in arrays.outcome}
    site = [sites[axis[name]] for name in PRICED]
    return arrays.outcome.columns(*PRICED), np.concatenate(site)


def in_flight(log: RequestLog) -> NDArray[np.bool_]:
    """Which requests have been asked for and have not ended, `[R]`."""
    pending: NDArray[np.bool_] = (log.status == RequestStatus.PENDING) & np.isfinite(log.asked_s)
    return pending


def ledger_rates(scenario: Scenario, arrays: FleetArrays) -> LedgerRates:
    """What a scenario says of prices and shares."""
    training = [site.training for site in scenario.sites.values() if site.training is not None]
    boards = [(pool.gpus, pool.gpu_spec) for pool in scenario.pools.values()]
    boards += [(jobs.boards, jobs.gpu_spec) for jobs in training]
    rent_usd_per_h = np.array([count * (gpu.rental_usd_per_hour or 0.0) for count, gpu in boards])
    return LedgerRates(
        lost_penalty_fraction=np.array([cls.lost_penalty_fraction for cls in scenario.classes.values()]),
        rent_usd_per_s=rent_usd_per_h / SECONDS_PER_HOUR,
        egress_usd_per_token=egress_usd_per_byte(scenario) * scenario.network.output_bytes_per_token,
        site_usd_per_byte=scenario.network.site_usd_per_gb / BYTES_PER_GB,
        **engine_rates(arrays),
    )


def engine_rates(arrays: FleetArrays) -> dict[str, Float64Array]:
    """The rates that an engine goes by, by name, `[K]` of classes and `[..., S]` of sites."""
    start_j = arrays.battery_initial_j
    names = ("usd_per_input_token", "usd_per_output_token", "cached_input_fraction_of_price", "late_value_fraction")
    return {
        **{name: getattr(arrays, name) for name in (*names, "lowest_price_factor", "highest_price_factor")},
        "charge_efficiency": arrays.battery_charge_efficiency,
        "discharge_efficiency": arrays.battery_discharge_efficiency,
        "battery_change_j": np.stack([arrays.battery_lowest_j - start_j, arrays.battery_highest_j - start_j]),
    }


def _by_name(values: Float64Array, layout: Layout) -> dict[str, float]:
    """Sums of the columns of each outcome of `PRICED`."""
    ends = np.cumsum([layout.slice(name).stop - layout.slice(name).start for name in PRICED])
    return {name: float(part.sum()) for name, part in zip(PRICED, np.split(values, ends), strict=False)}
