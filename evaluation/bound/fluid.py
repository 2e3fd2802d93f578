"""The fluid relaxation of an episode, and an upper bound on it that holds at any accuracy of the solver.

Time is cut into T spans. Requests may be served in part, by several pools and in any span of their windows; a span has
so many seconds of replicas, and all energy comes from the grid, the sun or a battery. A linear programme over groups of
like requests gives prices of replica seconds and of energy. At these prices every request takes what is best for
itself. By weak duality the gains of all requests plus the cost of the resources at these prices are no less than the
relaxation's value. So any non-negative prices give a bound, and the best prices give the value itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

SOLVER_ERROR = 1e-6
"""Of each part of the bound, added for a solver that stops within its tolerance."""
OBJECTIVE_SCALE = 1e4
"""A cent becomes 100 for the solver, whose tolerances are absolute."""


@dataclass(frozen=True)
class FluidProblem:
    """R requests, P pools, S sites, T spans, L lines below the cost of an iteration.

    Attributes:
        value_usd, late_usd: what a request pays in time, and late, `[R]`.
        kind: number of the request's kind, `[R]`; requests of different kinds never share a group.
        first, last_prefill, last_decode: spans in which a request may be prefilled and decoded to be in time, `[R]`; to
            be late it has until the end.
        routes: pools that prefill and decode, O pairs.
        allowed: `[R, O]`.
        prefill_s, decode_s: least seconds of a replica, `[R, P, L]`.
        prefill_kwh, decode_kwh: least IT energy beyond rest, `[R, P, L]` [kWh].
        replica_s: seconds of replicas that a span has, `[T, P]`.
        most_kwh: most IT energy beyond rest, `[T, P]` [kWh].
        site: of each pool, `[P]`.
        pue: least, `[T, S]`.
        base_kwh: facility energy at rest, `[T, S]`.
        solar_kwh: on offer from the sun, `[T, S]`.
        usd_per_kwh: least price, `[T, S]`.
        most_grid_kwh: most that a site can draw, `[T, S]`.
        battery_kwh: most that a battery moves in a span, `[T, S]`.
        stored_kwh: lowest, highest and first content of the batteries, `[3, S]`.
        efficiency: of charging and discharging, `[2, S]`.
        training_s: most that training jobs work, `[T, S]`.
        training_usd_per_s, training_kwh_per_s: what a second of their work earns, and needs beyond rest, `[S]`.
        paid_usd: paid at most by agreements.
    """

    value_usd: Float64Array
    late_usd: Float64Array
    kind: IntArray
    first: IntArray
    last_prefill: IntArray
    last_decode: IntArray
    routes: tuple[tuple[int, int], ...]
    allowed: NDArray[np.bool_]
    prefill_s: Float64Array
    decode_s: Float64Array
    prefill_kwh: Float64Array
    decode_kwh: Float64Array
    replica_s: Float64Array
    most_kwh: Float64Array
    site: IntArray
    pue: Float64Array
    base_kwh: Float64Array
    solar_kwh: Float64Array
    usd_per_kwh: Float64Array
    most_grid_kwh: Float64Array
    battery_kwh: Float64Array
    stored_kwh: Float64Array
    efficiency: Float64Array
    training_s: Float64Array
    training_usd_per_s: Float64Array
    training_kwh_per_s: Float64Array
    paid_usd: float = 0.0


@dataclass(frozen=True)
class Prices:
    """Of a second of a replica and of a kWh beyond rest, for each line, `[T, P, L]`, none negative [USD]."""

    second_usd: Float64Array
    energy_usd: Float64Array


def upper_bound_usd(problem: FluidProblem, sizes: int = 3) -> float:
    """A number that no policy's net value exceeds [USD].

    Args:
        problem: of an episode.
        sizes: into how many groups the linear programme puts requests of one kind and window, by what they pay for a
            second of a replica.
    """
    return dual_value_usd(problem, best_prices(problem, sizes))


def dual_value_usd(problem: FluidProblem, prices: Prices) -> float:
    """The Lagrangian dual at some prices [USD]."""
    rent_usd = float((prices.second_usd.sum(axis=2) * problem.replica_s).sum())
    bill_usd = _least_bill_usd(problem, prices.energy_usd.sum(axis=2))
    parts_usd = [float(_gains_usd(problem, prices).sum()), rent_usd, -bill_usd, problem.paid_usd]
    return sum(parts_usd) + SOLVER_ERROR * sum(abs(usd) for usd in parts_usd)


def _gains_usd(problem: FluidProblem, prices: Prices) -> Float64Array:
    """What each request gains at the prices, at its best choice, `[R]`; 0 for not being served."""
    best = np.zeros(len(problem.value_usd))
    spans = np.arange(len(problem.replica_s))
    after = spans[None] >= problem.first[:, None]
    in_time = [after & (spans[None] <= last[:, None]) for last in (problem.last_prefill, problem.last_decode)]

    def least_usd(seconds: Float64Array, energy: Float64Array, p: int, window: NDArray[np.bool_]) -> Float64Array:
        cost = seconds[:, p] @ prices.second_usd[:, p].T + energy[:, p] @ prices.energy_usd[:, p].T
        least: Float64Array = np.where(window, cost, np.inf).min(axis=1)
        return least

    for route, (p, q) in enumerate(problem.routes):
        for paid_usd, windows in ((problem.value_usd, in_time), (problem.late_usd, [after, after])):
            cost_usd = least_usd(problem.prefill_s, problem.prefill_kwh, p, windows[0])
            cost_usd = cost_usd + least_usd(problem.decode_s, problem.decode_kwh, q, windows[1])
            best = np.maximum(best, np.where(problem.allowed[:, route], paid_usd - cost_usd, 0.0))
    return best


def best_prices(problem: FluidProblem, sizes: int) -> Prices:
    """Prices by the linear programme over groups of requests."""
    spans, pools = problem.replica_s.shape
    lines = problem.prefill_s.shape[2]
    rows = _Rows()
    energy = _energy_columns(problem, rows)
    second = rows.add((problem.replica_s[:, :, None] + np.zeros(lines)).ravel()).reshape(spans, pools, lines)
    joule = rows.add(np.zeros(spans * pools * lines)).reshape(spans, pools, lines)
    for line in range(lines):
        rows.put(joule[:, :, line].ravel(), energy.ravel(), -1.0)
    for group in _groups(problem, sizes):
        _serve(problem, group, rows, second, joule)
    duals = rows.solve()
    return Prices(np.maximum(-duals[second], 0.0), np.maximum(-duals[joule], 0.0))


def _serve(problem: FluidProblem, group: IntArray, rows: _Rows, second: IntArray, joule: IntArray) -> None:
    """Columns for what a group may do: each route, in time or late, in each span."""
    one = group[0]
    spans = len(problem.replica_s)
    once = int(rows.add(np.ones(1))[0])
    late = (problem.late_usd[group].sum(), spans - 1, spans - 1)
    modes = [(problem.value_usd[group].sum(), problem.last_prefill[one], problem.last_decode[one]), late]
    for route, (p, q) in enumerate(problem.routes):
        if not problem.allowed[group, route].all():
            continue
        costs = [
            (problem.prefill_s[group, p].sum(axis=0), problem.prefill_kwh[group, p].sum(axis=0), p),
            (problem.decode_s[group, q].sum(axis=0), problem.decode_kwh[group, q].sum(axis=0), q),
        ]
        for usd, *lasts in modes:
            if usd <= 0.0:
                continue
            both = int(rows.add(np.zeros(1), equal=True)[0])
            for task, ((seconds, kwh, pool), last) in enumerate(zip(costs, lasts, strict=True)):
                window = np.arange(problem.first[one], last + 1)
                columns = rows.columns(len(window), cost=-usd if task == 0 else 0.0)
                rows.put(np.full(len(window), both), columns, 1.0 if task == 0 else -1.0, equal=True)
                if task == 0:
                    rows.put(np.full(len(window), once), columns, 1.0)
                for line in range(len(seconds)):
                    rows.put(second[window, pool, line], columns, float(seconds[line]))
                    rows.put(joule[window, pool, line], columns, float(kwh[line]))


def _groups(problem: FluidProblem, sizes: int) -> Iterator[IntArray]:
    """Rows of requests of one kind and window, by what they pay for a second of a replica."""
    work_s = problem.prefill_s.min(axis=(1, 2)) + problem.decode_s.min(axis=(1, 2))
    density = problem.value_usd / np.maximum(work_s, 1e-12)
    key = np.stack([problem.kind, problem.first, problem.last_prefill, problem.last_decode])
    _, which = np.unique(key, axis=1, return_inverse=True)
    which = which.ravel()
    order = np.lexsort((density, which))
    for like in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        yield from (part for part in np.array_split(like, sizes) if len(part))


def _least_bill_usd(problem: FluidProblem, energy_usd: Float64Array) -> float:
    """Least of the bill, less what training earns and what energy beyond rest is worth at prices `[T, P]` [USD]."""
    rows = _Rows()
    _energy_columns(problem, rows, worth_usd=energy_usd)
    return rows.least()


def _energy_columns(problem: FluidProblem, rows: _Rows, worth_usd: Float64Array | None = None) -> IntArray:
    """Columns of IT energy beyond rest, `[T, P]`, beside training, with grid, sun and batteries behind them."""
    spans, sites = problem.base_kwh.shape
    worth = np.zeros_like(problem.most_kwh) if worth_usd is None else worth_usd
    energy = rows.columns(worth.size, cost=-worth.ravel(), high=problem.most_kwh.ravel()).reshape(worth.shape)
    usd, most_kwh, moved_kwh = (
        array.ravel() for array in (problem.usd_per_kwh, problem.most_grid_kwh, problem.battery_kwh)
    )
    grid = rows.columns(spans * sites, cost=usd, high=most_kwh).reshape(spans, sites)
    charge = rows.columns(spans * sites, high=moved_kwh).reshape(spans, sites)
    discharge = rows.columns(spans * sites, high=moved_kwh).reshape(spans, sites)
    low_kwh, high_kwh, first_kwh = problem.stored_kwh
    every = np.ones((spans, 1))
    stored = rows.columns(spans * sites, low=(every * low_kwh).ravel(), high=(every * high_kwh).ravel())
    stored = stored.reshape(spans, sites)
    balance = rows.add((problem.solar_kwh - problem.base_kwh).ravel()).reshape(spans, sites)
    for columns, sign in ((grid, -1.0), (discharge, -1.0), (charge, 1.0)):
        rows.put(balance.ravel(), columns.ravel(), sign)
    earned_usd = (every * problem.training_usd_per_s).ravel()
    training = rows.columns(spans * sites, cost=-earned_usd, high=problem.training_s.ravel())
    rows.put(balance.ravel(), training, (problem.pue * problem.training_kwh_per_s).ravel())
    for p, s in enumerate(problem.site.tolist()):
        rows.put(balance[:, s], energy[:, p], problem.pue[:, s])
    start = np.zeros((spans, sites))
    start[0] = first_kwh
    content = rows.add(start.ravel(), equal=True).reshape(spans, sites)
    rows.put(content.ravel(), stored.ravel(), 1.0, equal=True)
    rows.put(content[1:].ravel(), stored[:-1].ravel(), -1.0, equal=True)
    rows.put(content.ravel(), charge.ravel(), (-every * problem.efficiency[0]).ravel(), equal=True)
    rows.put(content.ravel(), discharge.ravel(), (every / problem.efficiency[1]).ravel(), equal=True)
    return energy


class _Rows:
    """A linear programme under construction: least cost, rows that are at most or equal to a number."""

    def __init__(self) -> None:
        self._bounds: dict[bool, list[Float64Array]] = {False: [], True: []}
        self._count = {False: 0, True: 0}
        self._entries: dict[bool, list[tuple[Any, Any, Any]]] = {False: [], True: []}
        self._cost: list[Float64Array] = []
        self._low: list[Float64Array] = []
        self._high: list[Float64Array] = []
        self._columns = 0

    def add(self, bound: Float64Array, equal: bool = False) -> IntArray:
        """Add a row for each of `bound`, `[rows]`; their numbers, `[rows]`."""
        first = self._count[equal]
        self._count[equal] += len(bound)
        self._bounds[equal].append(bound)
        return np.arange(first, self._count[equal])

    def columns(self, count: int, cost: Any = 0.0, low: Any = 0.0, high: Any = np.inf) -> IntArray:
        """Add `count` variables; their numbers, `[count]`."""
        for values, given in ((self._cost, cost), (self._low, low), (self._high, high)):
            values.append(np.broadcast_to(np.asarray(given, np.float64), (count,)))
        self._columns += count
        return np.arange(self._columns - count, self._columns)

    def put(self, rows: IntArray, columns: IntArray, values: Any, equal: bool = False) -> None:
        """Set coefficients, `[entries]` each; those of the same row and column add up."""
        self._entries[equal].append((rows, columns, np.broadcast_to(np.asarray(values, np.float64), rows.shape)))

    def solve(self) -> Float64Array:
        """Change of the least cost with the bound of each inequality, `[rows]`."""
        duals: Float64Array = np.asarray(self._run().ineqlin.marginals) / OBJECTIVE_SCALE
        return duals

    def least(self) -> float:
        """The least cost."""
        return float(self._run().fun) / OBJECTIVE_SCALE

    def _run(self) -> Any:
        found = linprog(
            OBJECTIVE_SCALE * np.concatenate(self._cost),
            A_ub=self._matrix(False),
            b_ub=np.concatenate(self._bounds[False]),
            A_eq=self._matrix(True),
            b_eq=np.concatenate(self._bounds[True]),
            bounds=np.stack([np.concatenate(self._low), np.concatenate(self._high)], axis=1),
            method="highs",
        )
        if found.status != 0:
            raise RuntimeError(f"the linear programme of the bound has no solution: {found.message}")
        return found

    def _matrix(self, equal: bool) -> Any:
        rows, columns, values = (np.concatenate(parts) for parts in zip(*self._entries[equal], strict=True))
        return coo_matrix((values, (rows, columns)), shape=(self._count[equal], self._columns)).tocsr()
