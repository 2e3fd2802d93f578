"""What a policy sees: the engine's view, scaled by the scenario, flat for a network and named for a person.

Every entry is `clip(value / scale, low, high)`. Scales (`SCALES`) come from the scenario alone, so that an observation
means the same in every episode, batch and process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.fields import VIEW, Field, Layout, Record
from tokenfleet.envs.layers.facility import it_nameplate_w
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.spec import SpecError, suggest

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

PRICE_SCALE_USD_PER_MWH = 100.0
CARBON_SCALE_G_PER_KWH = 500.0
DAMAGES_SCALE_USD_PER_MWH = 1000.0
TEMPERATURE_SCALE_C = 25.0
SEQUENCE_TOKENS_PER_S = 10.0
BACKLOG_SCALE_S = 10.0


class Observation(Protocol):
    """What the environments ask of an observation; bring your own to show a policy something else."""

    @property
    def space(self) -> Box:
        """The space of one environment's observation."""

    def observe(self, view: Record) -> NDArray[np.generic]:
        """Rows `[N, ...]` in memory of their own, from the view of N fleets; must not keep `view`."""


@runtime_checkable
class Recalls(Protocol):
    """An observation that also shows what the environment's action remembers."""

    @property
    def space(self) -> Box:
        """The space of one environment's observation."""

    def recall(self, view: Record, memory: tuple[NDArray[np.generic], ...]) -> NDArray[np.generic]:
        """Rows `[N, ...]` in memory of their own; see `interface.action.Supervises` for what is remembered."""


class ObservationRow(NamedTuple):
    """One line of the documentation: a field and where it stands. Bounds are in `unit`."""

    name: str
    first: int
    last: int
    unit: str
    low: float
    high: float
    doc: str


class ScaledFields:
    """Fields in a row, each divided by its scale and cut to [`Field.low`, `Field.high`].

    Args:
        scenario: fixes scales.
        fields: in order.
        sizes: length of each axis letter.

    Attributes:
        layout: where each field stands in a row of width D.
        space: `Box` of shape `(D,)`, float32.
        scale: what each entry is divided by, `[D]`, in the field's unit.
    """

    def __init__(self, scenario: Scenario, fields: Sequence[Field], sizes: Mapping[str, int]) -> None:
        self.scenario = scenario
        self.layout = Layout(fields, sizes)
        self.scale = _per_entry(self.layout, {field.name: _scale(scenario, field) for field in fields})
        low = _per_entry(self.layout, {field.name: np.array(field.low) for field in fields}).astype(np.float32)
        high = _per_entry(self.layout, {field.name: np.array(field.high) for field in fields}).astype(np.float32)
        self.space = Box(low, high, dtype=np.float32)
        self._low, self._high = low, high
        self._divisor = self.scale.astype(np.float32)

    def scaled(self, rows: NDArray[np.generic]) -> Float32Array:
        """Rows `[N, D]` in the fields' units, divided and cut."""
        scaled: Float32Array = np.divide(rows, self._divisor, dtype=np.float32)
        np.maximum(scaled, self._low, out=scaled)
        np.minimum(scaled, self._high, out=scaled)
        return scaled

    def decode(self, observation: NDArray[np.generic]) -> Record:
        """The named numbers behind an observation, in their units; exact up to float32 and clipping.

        Args:
            observation: `[D]` or `[N, D]`.

        Returns:
            Rows `[N, D]`, float64; N is 1 for a single observation.
        """
        rows = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        return Record(self.layout, rows * self.scale)

    def table(self) -> list[ObservationRow]:
        """One row a field: where it stands and, in its unit, what range it can show (the widest of its entries)."""
        rows = []
        for field in self.layout:
            columns = self.layout.slice(field.name)
            if columns.stop == columns.start:
                continue
            low = float((self.scale[columns] * self._low[columns]).min())
            high = float((self.scale[columns] * self._high[columns]).max())
            rows.append(ObservationRow(field.name, columns.start, columns.stop - 1, field.unit, low, high, field.doc))
        return rows


class FleetObservation(ScaledFields):
    """The default observation: the view's fields; see `ScaledFields`.

    Args:
        scenario: fixes sizes and scales.
        fields: names of `fields.VIEW` to keep, in the order of that table; all by default.

    Raises:
        SpecError: unknown or no field names.
    """

    def __init__(self, scenario: Scenario, fields: Sequence[str] | None = None) -> None:
        sizes = axis_sizes(scenario)
        view, kept = Layout(VIEW, sizes), kept_fields(VIEW, fields)
        super().__init__(scenario, kept, sizes)
        self._columns = None if len(kept) == len(VIEW) else view.columns(*(field.name for field in kept))

    def observe(self, view: Record) -> Float32Array:
        """See `Observation.observe`; `[N, D]`."""
        return self.scaled(view.rows if self._columns is None else view.rows[:, self._columns])


def kept_fields(fields: Sequence[Field], names: Sequence[str] | None) -> tuple[Field, ...]:
    """The fields of these names, in the order of the table; all of them for None.

    Raises:
        SpecError: unknown or no field names.
    """
    if names is None:
        return tuple(fields)
    known = {field.name: field for field in fields}
    problems = [f"observation: unknown field {name!r}{suggest(name, known)}" for name in names if name not in known]
    if not names:
        problems.append("observation: at least one field is needed (got none)")
    if problems:
        raise SpecError(problems)
    return tuple(field for field in fields if field.name in set(names))


def _scale(scenario: Scenario, field: Field) -> Float64Array:
    """The scale of a field, broadcast to its shape; never zero."""
    per_first_axis = np.array(SCALES[field.scale].values(scenario), dtype=np.float64)
    trailing_axes = max(len(field.axis) - 1, 0)
    return per_first_axis.reshape(per_first_axis.shape + (1,) * trailing_axes)


def _per_entry(layout: Layout, values: dict[str, Float64Array]) -> Float64Array:
    flat = [np.broadcast_to(values[field.name], layout.shapes[field.name]).ravel() for field in layout]
    return np.concatenate(flat).astype(np.float64)


def _per_pool(value: Callable[[PoolSpec], float]) -> Callable[[Scenario], list[float]]:
    return lambda scenario: [value(pool) for pool in scenario.pools.values()]


def _pool_nameplate_w(scenario: Scenario) -> list[float]:
    facility = {name: site.facility for name, site in scenario.sites.items()}
    pools = scenario.pools.values()
    return [pool.gpus * it_nameplate_w(facility[pool.site], [pool.gpu_spec.tdp_w]) for pool in pools]


def _batch_tokens(scenario: Scenario) -> list[float]:
    tokens = SEQUENCE_TOKENS_PER_S * scenario.tick_s
    return [tokens * pool.max_batch * pool.replicas for pool in scenario.pools.values()]


def _batch_of_class(scenario: Scenario) -> list[float]:
    sequences = np.array([float(pool.max_batch * pool.replicas) for pool in scenario.pools.values()])
    served: list[float] = (scenario.route_mask @ sequences).tolist()
    return served


def _mean_arrivals(scenario: Scenario, span_s: float) -> list[float]:
    return [max(span_s * scenario.mean_rate_rps(name), 1.0) for name in scenario.classes]


def _priced_arrivals(scenario: Scenario) -> list[float]:
    return [max(scenario.tick_s * scenario.mean_rate_rps(name), 1.0) for name in scenario.priced_classes]


def _ttft_s(scenario: Scenario) -> list[float]:
    return [cls.ttft_s or cls.deadline_s or 1.0 for cls in scenario.classes.values()]


def _nameplate_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.sites]


def _brake_s(scenario: Scenario) -> list[float]:
    return [max(site.grid.brake.delay_s, scenario.tick_s) for site in scenario.sites.values()]


def _restart_s(scenario: Scenario) -> list[float]:
    return [max(site.grid.breaker.restart_s, scenario.tick_s) for site in scenario.sites.values()]


def _row_nameplate_w(scenario: Scenario) -> list[float]:
    return [scenario.row_nameplate_w(*key) for key in scenario.rows]


def _row_brake_s(scenario: Scenario) -> list[float]:
    return [max(row.brake.delay_s, scenario.tick_s) for row in scenario.rows.values()]


def _row_restart_s(scenario: Scenario) -> list[float]:
    return [max(row.breaker.restart_s, scenario.tick_s) for row in scenario.rows.values()]


def _battery_w(scenario: Scenario) -> list[float]:
    return [battery.power_w for battery in scenario.batteries.values()]


def _charged_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.charging_tariffs]


def _offering_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.programmes]


def _regulating_w(scenario: Scenario) -> list[float]:
    return [scenario.nameplate_w(name) for name in scenario.regulators]


def _window_arrivals(scenario: Scenario) -> list[float]:
    return [max(spec.window_s * scenario.mean_rate_rps(name), 1.0) for name, spec in scenario.agreements.items()]


def _arrival_rate(scenario: Scenario) -> list[float]:
    return [max(scenario.mean_rate_rps(name), 1.0) for name in scenario.forecast_classes]


def _solar_w(scenario: Scenario) -> list[float]:
    return [solar.peak_w for solar in scenario.solar_sites.values()]


def _longest_lead_s(scenario: Scenario) -> float:
    return max([*scenario.announced_lead_s, scenario.tick_s])


class Scale(NamedTuple):
    """What a field is divided by: in words, and from a scenario (one number, or one along the field's first axis)."""

    doc: str
    values: Callable[[Scenario], float | list[float]]


SCALES: dict[str, Scale] = {
    "one": Scale("1", lambda scenario: 1.0),
    "batch": Scale(
        "the sequences that the pool can run at once, `max_batch * replicas`",
        _per_pool(lambda pool: pool.max_batch * pool.replicas),
    ),
    "budget": Scale(
        "the tokens of one iteration of every replica, `token_budget * replicas`",
        _per_pool(lambda pool: pool.token_budget * pool.replicas),
    ),
    "batch_of_class": Scale(
        "the sequences that the class's pools can run at once, `max_batch * replicas`", _batch_of_class
    ),
    "replicas": Scale("the pool's replicas", _per_pool(lambda pool: pool.replicas)),
    "standby_replicas": Scale(
        "the pool's replicas", lambda scenario: [pool.replicas for pool in scenario.standby_pools.values()]
    ),
    "pool_nameplate_w": Scale("the pool's boards at TDP and servers on, before PUE", _pool_nameplate_w),
    "batch_tokens": Scale("10 tokens/s for every sequence that the pool can run, over a tick", _batch_tokens),
    "arrivals": Scale(
        "the class's mean arrivals in a tick, at least 1", lambda scenario: _mean_arrivals(scenario, scenario.tick_s)
    ),
    "priced_arrivals": Scale("the class's mean arrivals in a tick, at least 1", _priced_arrivals),
    "horizon_arrivals": Scale(
        "the class's mean arrivals in an episode, at least 1",
        lambda scenario: _mean_arrivals(scenario, scenario.horizon_s),
    ),
    "ttft_s": Scale("the class's TTFT limit, else its deadline, else 1 s", _ttft_s),
    "nameplate_w": Scale("the site's power with everything at its rating, PUE included", _nameplate_w),
    "brake_s": Scale("the brake's delay, at least a tick", _brake_s),
    "restart_s": Scale("the restart time after a trip, at least a tick", _restart_s),
    "row_nameplate_w": Scale("the IT power of the pools behind the row, all at its rating", _row_nameplate_w),
    "row_brake_s": Scale("the brake's delay, at least a tick", _row_brake_s),
    "row_restart_s": Scale("the restart time after a trip, at least a tick", _row_restart_s),
    "battery_w": Scale("the most that the battery gives or takes", _battery_w),
    "solar_w": Scale("the rating of the panels", _solar_w),
    "charged_w": Scale("the site's power with everything at its rating, PUE included", _charged_w),
    "offering_w": Scale("the site's power with everything at its rating, PUE included", _offering_w),
    "regulating_w": Scale("the site's power with everything at its rating, PUE included", _regulating_w),
    "window_arrivals": Scale("the class's mean arrivals in a window of its agreement, at least 1", _window_arrivals),
    "arrival_rate": Scale("the class's mean arrivals in a second, at least 1", _arrival_rate),
    "call_phases": Scale("3", lambda scenario: 3.0),
    "damages": Scale("1,000 USD/MWh", lambda scenario: DAMAGES_SCALE_USD_PER_MWH),
    "jobs": Scale(
        "the site's training jobs", lambda scenario: [spec.jobs for spec in scenario.training_sites.values()]
    ),
    "unsaved": Scale(
        "all jobs just before a checkpoint",
        lambda scenario: [spec.jobs * spec.checkpoint_interval_s for spec in scenario.training_sites.values()],
    ),
    "backlog": Scale("10 s", lambda scenario: BACKLOG_SCALE_S),
    "lead": Scale("the longest lead time of announced caps, at least a tick", _longest_lead_s),
    "price": Scale("100 USD/MWh", lambda scenario: PRICE_SCALE_USD_PER_MWH),
    "carbon": Scale("500 g/kWh", lambda scenario: CARBON_SCALE_G_PER_KWH),
    "temperature": Scale("25 C", lambda scenario: TEMPERATURE_SCALE_C),
}
"""By the name that `fields.Field.scale` gives."""
