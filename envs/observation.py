"""What a brain sees: the engine's view, scaled by the scenario, flat for a network and named for a person.

Every entry is `clip(value / scale, 0, high)`. Scales come from the scenario alone, so that an observation means the same
in every episode, batch and process:

| scale | value | per |
|---|---|---|
| `one` | 1 | - |
| `batch` | `max_batch * replicas`: sequences that the pool can run at once | pool |
| `budget` | `token_budget * replicas`: tokens that one iteration of the whole pool can take | pool |
| `replicas` | replicas in the pool | pool |
| `pool_nameplate_w` | boards at TDP and servers on, before PUE [W] | pool |
| `batch_tokens` | 10 tokens/s for each sequence of `batch`, over a tick [tokens] | pool |
| `arrivals` | mean arrivals in a tick, at least 1 | class |
| `horizon_arrivals` | mean arrivals in an episode, at least 1 | class |
| `ttft_s` | the class's TTFT limit, or its deadline, or 1 s | class |
| `nameplate_w` | facility power with everything at its rating [W] | site |
| `brake_s` | the brake's delay, at least one tick [s] | site |
| `restart_s` | restart time after a trip, at least one tick [s] | site |
| `price` | 100 USD/MWh | - |
| `carbon` | 500 g/kWh | - |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.axes import axis_sizes
from tokenfleet.envs.fields import VIEW, Field, Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError, suggest

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

PRICE_SCALE_USD_PER_MWH = 100.0
CARBON_SCALE_G_PER_KWH = 500.0
SEQUENCE_TOKENS_PER_S = 10.0


class Observation(Protocol):
    """What the environments ask of an observation; bring your own to show a brain something else."""

    @property
    def space(self) -> Box:
        """The space of one environment's observation."""

    def observe(self, view: Record) -> NDArray[np.generic]:
        """Rows `[N, ...]` in memory of their own, from the view of N fleets; must not keep `view`."""


class ObservationRow(NamedTuple):
    """One line of the documentation: a field and where it stands. Bounds are in `unit`."""

    name: str
    first: int
    last: int
    unit: str
    low: float
    high: float
    doc: str


class FleetObservation:
    """The default observation: the view's fields, each divided by its scale and cut to [0, `Field.high`].

    Args:
        scenario: fixes sizes and scales.
        fields: names of `fields.VIEW` to keep, in the order of that table; all by default.

    Attributes:
        layout: where each kept field stands in a row of width D.
        space: `Box` of shape `(D,)`, float32.
        scale: what each entry is divided by, `[D]`, in the field's unit.

    Raises:
        SpecError: unknown or no field names.
    """

    def __init__(self, scenario: Scenario, fields: Sequence[str] | None = None) -> None:
        self.scenario = scenario
        sizes = axis_sizes(scenario)
        view = Layout(VIEW, sizes)
        kept = _select(fields)
        self.layout = Layout(kept, sizes)
        self.scale = _per_entry(self.layout, {field.name: _scale(scenario, field) for field in kept})
        high = _per_entry(self.layout, {field.name: np.array(field.high) for field in kept}).astype(np.float32)
        self.space = Box(np.zeros_like(high), high, dtype=np.float32)
        self._high = high
        self._divisor = self.scale.astype(np.float32)
        columns = [np.arange(view.width)[view.slice(field.name)] for field in kept]
        self._columns = None if len(kept) == len(VIEW) else np.concatenate(columns)

    def observe(self, view: Record) -> Float32Array:
        """See `Observation.observe`; `[N, D]`."""
        rows = view.rows if self._columns is None else view.rows[:, self._columns]
        scaled: Float32Array = rows / self._divisor
        np.maximum(scaled, 0.0, out=scaled)
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
            high = float((self.scale[columns] * self._high[columns]).max())
            rows.append(ObservationRow(field.name, columns.start, columns.stop - 1, field.unit, 0.0, high, field.doc))
        return rows


def _select(names: Sequence[str] | None) -> tuple[Field, ...]:
    if names is None:
        return VIEW
    known = {field.name: field for field in VIEW}
    problems = [f"observation: unknown field {name!r}{suggest(name, known)}" for name in names if name not in known]
    if not names:
        problems.append("observation: at least one field is needed (got none)")
    if problems:
        raise SpecError(problems)
    return tuple(field for field in VIEW if field.name in set(names))


def _scale(scenario: Scenario, field: Field) -> Float64Array:
    """The scale of a field, broadcast to its shape; never zero."""
    per_first_axis = _SCALES[field.scale](scenario)
    trailing_axes = max(len(field.axis) - 1, 0)
    return per_first_axis.reshape(per_first_axis.shape + (1,) * trailing_axes)


def _per_entry(layout: Layout, values: dict[str, Float64Array]) -> Float64Array:
    flat = [np.broadcast_to(values[field.name], layout.shapes[field.name]).ravel() for field in layout]
    return np.concatenate(flat).astype(np.float64)


def _pool_batch(scenario: Scenario) -> Float64Array:
    return np.array([float(pool.max_batch * pool.replicas) for pool in scenario.pools.values()])


def _pool_budget(scenario: Scenario) -> Float64Array:
    return np.array([float(pool.token_budget * pool.replicas) for pool in scenario.pools.values()])


def _pool_replicas(scenario: Scenario) -> Float64Array:
    return np.array([float(pool.replicas) for pool in scenario.pools.values()])


def _pool_nameplate_w(scenario: Scenario) -> Float64Array:
    pools = scenario.pools.values()
    host_w = [scenario.sites[pool.site].facility.host_w_per_gpu for pool in pools]
    return np.array([pool.gpus * (pool.gpu_spec.tdp_w + host) for pool, host in zip(pools, host_w, strict=True)])


def _pool_batch_tokens(scenario: Scenario) -> Float64Array:
    return _pool_batch(scenario) * SEQUENCE_TOKENS_PER_S * scenario.tick_s


def _class_arrivals(scenario: Scenario) -> Float64Array:
    rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
    return np.maximum(rate_rps * scenario.tick_s, 1.0)


def _class_horizon_arrivals(scenario: Scenario) -> Float64Array:
    rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
    return np.maximum(rate_rps * scenario.horizon_s, 1.0)


def _class_ttft_s(scenario: Scenario) -> Float64Array:
    return np.array([cls.ttft_s or cls.deadline_s or 1.0 for cls in scenario.classes.values()])


def _site_nameplate_w(scenario: Scenario) -> Float64Array:
    return np.array([scenario.nameplate_w(name) for name in scenario.sites])


def _site_brake_s(scenario: Scenario) -> Float64Array:
    return np.array([max(site.grid.brake.delay_s, scenario.tick_s) for site in scenario.sites.values()])


def _site_restart_s(scenario: Scenario) -> Float64Array:
    return np.array([max(site.grid.breaker.restart_s, scenario.tick_s) for site in scenario.sites.values()])


_SCALES = {
    "one": lambda scenario: np.array(1.0),
    "batch": _pool_batch,
    "budget": _pool_budget,
    "replicas": _pool_replicas,
    "pool_nameplate_w": _pool_nameplate_w,
    "batch_tokens": _pool_batch_tokens,
    "arrivals": _class_arrivals,
    "horizon_arrivals": _class_horizon_arrivals,
    "ttft_s": _class_ttft_s,
    "nameplate_w": _site_nameplate_w,
    "brake_s": _site_brake_s,
    "restart_s": _site_restart_s,
    "price": lambda scenario: np.array(PRICE_SCALE_USD_PER_MWH),
    "carbon": lambda scenario: np.array(CARBON_SCALE_G_PER_KWH),
}
