"""What a policy sees: the engine's view, scaled by the scenario, flat for a network and named for a person.

Every entry is `clip(value / scale, low, high)`. Scales (`scales.SCALES`) come from the scenario alone, so that an
observation means the same in every episode, batch and process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from tokenfleet.envs.fields import VIEW, Field
from tokenfleet.envs.interface.scales import SCALES
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.spec import SpecError, suggest

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class Observation(Protocol):
    """What the environments ask of an observation; bring your own to show a policy something else."""

    @property
    def space(self) -> Box:
        """The space of one environment's observation."""

    def observe(self, view: Record) -> NDArray[np.generic]:
        """Rows `[N, ...]` in arrays of their own, from the view of N fleets; must not keep `view`."""


@runtime_checkable
class Recalls(Protocol):
    """An observation that also shows the memory of the environment's action."""

    @property
    def space(self) -> Box:
        """The space of one environment's observation."""

    def recall(self, view: Record, memory: tuple[NDArray[np.generic], ...]) -> NDArray[np.generic]:
        """Rows `[N, ...]` in arrays of their own; see `interface.action.Supervises` for `memory`."""


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

        Raises:
            ValueError: the observation is of another scenario.
        """
        rows = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        if rows.shape[1] != len(self.scale):
            raise ValueError(
                f"observations must have the {len(self.scale)} numbers of the scenario that they are decoded for (got "
                f"{rows.shape[1]}); a policy is made for one scenario, by PolicyContext.from_env of its environment"
            )
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
    """The scale of a field, which broadcasts to its shape; never zero."""
    per_first_axis = np.array(SCALES[field.scale].values(scenario), dtype=np.float64)
    trailing_axes = max(len(field.axis) - 1, 0)
    return per_first_axis.reshape(per_first_axis.shape + (1,) * trailing_axes)


def _per_entry(layout: Layout, values: dict[str, Float64Array]) -> Float64Array:
    flat = [np.broadcast_to(values[field.name], layout.shapes[field.name]).ravel() for field in layout]
    return np.concatenate(flat).astype(np.float64)
