"""The numbers of linear feedback by name of set-point, entry and feature, as a person writes them, and as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import PositiveFloat, Spec, SpecError, suggest
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale, followed_rows, row_names

Float64Array = NDArray[np.float64]
Gains = Mapping[str, Mapping[str, Mapping[str, FiniteFloat]]]
"""By set-point, entry and feature."""
Entries = Mapping[str, Mapping[str, FiniteFloat]]
"""By set-point and entry."""


class Moments(Spec):
    """Mean and spread of a feature, in its unit.

    Attributes:
        mean: the mean.
        deviation: standard deviation.
    """

    mean: FiniteFloat
    deviation: PositiveFloat


Scales = Mapping[str, Mapping[str, Moments]]
"""By feature and row (`features.row_names`)."""


class Numbers:
    """From names to arrays and back.

    Args:
        scenario: of the fleets.
        table: of the action `setpoints`.
        where: dotted prefix of every message.
    """

    def __init__(self, scenario: Scenario, table: tuple[Segment, ...], where: str) -> None:
        self.follows = followed_rows(scenario, table)
        self._where, self._rows = where, row_names(scenario)
        self._columns = {
            segment.control: dict(zip(segment.labels, range(segment.first, segment.columns.stop), strict=True))
            for segment in table
            if segment.labels
        }

    def read(
        self, constants: Float64Array, gains: Gains, entries: Entries, scale: Scales
    ) -> tuple[Float64Array, Float64Array, FeatureScale]:
        """Base `[A]`, gains `[A, F]`, and the scale, with a deviation of 0 where none is given.

        Args:
            constants: entries of the action where `entries` gives none, `[A]`.
            gains: by name.
            entries: of the base, by name.
            scale: by name.

        Raises:
            SpecError: one line per unknown name, entry outside [-1, 1], and gain on a feature without a scale.
        """
        problems: list[str] = []
        base, gain_rows = constants.copy(), np.zeros((len(constants), len(NAMES)))
        for at, entry, column in self._found(entries, "entries", problems):
            base[column] = entry
            if not -1.0 <= entry <= 1.0:
                problems.append(f"{at}: must be -1 to 1, as an entry of the action setpoints is (got {entry:g})")
        for at, by_feature, column in self._found(gains, "gains", problems):
            for name, gain in by_feature.items():
                if name not in NAMES:
                    problems.append(f"{at}: unknown feature {name!r}{suggest(name, NAMES)}")
                    continue
                gain_rows[column, NAMES.index(name)] = gain
                row = self._rows[self.follows[column]]
                if row not in scale.get(name, {}):
                    hint = f"give {self._where}.scale.{name}.{row} a mean and a deviation"
                    problems.append(f"{at}.{name}: follows a feature without a scale; {hint}")
        found = self._scale(scale, problems)
        if problems:
            raise SpecError(problems)
        return base, gain_rows, found

    def written(self, base: Float64Array, gains: Float64Array, scale: FeatureScale) -> dict[str, Any]:
        """The parameters `gains`, `entries` and `scale`, only of the entries that move.

        A gain on a feature that never moves does nothing, and is left out.
        """
        acts = (gains != 0.0) & scale.moves[self.follows]
        found: dict[str, Any] = {"gains": {}, "entries": {}, "scale": {}}
        for control, columns in self._columns.items():
            for name, column in columns.items():
                features, row = np.flatnonzero(acts[column]).tolist(), self.follows[column]
                if not features:
                    continue
                by_feature = {NAMES[feature]: float(gains[column, feature]) for feature in features}
                found["gains"].setdefault(control, {})[name] = by_feature
                found["entries"].setdefault(control, {})[name] = float(np.clip(base[column], -1.0, 1.0))
                for feature in features:
                    found["scale"].setdefault(NAMES[feature], {})[self._rows[row]] = {
                        "mean": float(scale.mean[row, feature]),
                        "deviation": float(scale.deviation[row, feature]),
                    }
        return found

    def _scale(self, given: Scales, problems: list[str]) -> FeatureScale:
        mean, deviation = np.zeros((2, len(self._rows), len(NAMES)))
        for name, by_row in given.items():
            if name not in NAMES:
                problems.append(f"{self._where}.scale: unknown feature {name!r}{suggest(name, NAMES)}")
                continue
            for row, moments in by_row.items():
                if row not in self._rows:
                    problems.append(f"{self._where}.scale.{name}: unknown row {row!r}{suggest(row, self._rows)}")
                    continue
                at = self._rows.index(row), NAMES.index(name)
                mean[at], deviation[at] = moments.mean, moments.deviation
        return FeatureScale(mean, deviation)

    def _found(
        self, given: Mapping[str, Mapping[str, Any]], key: str, problems: list[str]
    ) -> Iterator[tuple[str, Any, int]]:
        """For each known entry: the path of its number, the number, and the entry's column."""
        where = f"{self._where}.{key}"
        for control, by_entry in given.items():
            if control not in self._columns:
                problems.append(f"{where}: unknown set-point {control!r}{suggest(control, self._columns)}")
                continue
            for name, value in by_entry.items():
                if name in self._columns[control]:
                    yield f"{where}.{control}.{name}", value, self._columns[control][name]
                else:
                    known = self._columns[control]
                    problems.append(f"{where}.{control}: unknown entry {name!r}{suggest(name, known)}")
