"""Run an engine over an instance and keep everything it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.engine.instances import Instance
from tokenfleet.envs.engine import RequestLog, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record

ENGINES = ("reference", "native")


@dataclass(frozen=True)
class Run:
    """H ticks of one fleet: outcomes `[H, O]`, views `[H + 1, V]`, and the log of every request."""

    outcomes: Record
    views: Record
    log: RequestLog

    def site_it_energy_j(self, arrays: FleetArrays, s: int) -> np.ndarray:
        """IT energy of a site's pools and training jobs in every tick, `[H]`."""
        energy_j: np.ndarray = self.outcomes["it_energy_j"][:, arrays.site == s].sum(axis=1)
        training = int(arrays.training[s])
        return energy_j if training < 0 else energy_j + self.outcomes["training_energy_j"][:, training]

    def total(self, name: str) -> float:
        """Sum of an outcome over the whole run."""
        return float(self.outcomes[name].sum())


def run(engine: str, arrays: FleetArrays, episode: Episode, controls: list[Controls] | None = None) -> Run:
    """One episode; by default at full clocks with everything awake and admitted."""
    fleet = make_engine(engine, arrays, 1)
    fleet.reset(0, episode)
    tape = controls or [neutral(arrays)] * arrays.horizon_ticks
    outcomes, views = [], [fleet.view.rows[0].copy()]
    for tick in tape:
        fleet.step(tick)
        outcomes.append(fleet.outcome.rows[0].copy())
        views.append(fleet.view.rows[0].copy())
    return Run(Record(arrays.outcome, np.array(outcomes)), Record(arrays.view, np.array(views)), fleet.request_log(0))


def neutral(arrays: FleetArrays) -> Controls:
    """Full clocks, everything awake and admitted, equal shares."""
    return Controls.neutral(1, arrays.route_mask.astype(float))


def run_batch(engine: str, instances: Sequence[Instance], threads: int = 1) -> list[Run]:
    """Instances of the same arrays side by side, one fleet each."""
    arrays = instances[0].arrays
    fleets = make_engine(engine, arrays, len(instances), threads)
    for index, instance in enumerate(instances):
        fleets.reset(index, instance.episode)
    outcomes, views = [], [fleets.view.rows.copy()]
    for tick in zip(*(instance.controls for instance in instances), strict=True):
        fleets.step(Controls.stack(tick))
        outcomes.append(fleets.outcome.rows.copy())
        views.append(fleets.view.rows.copy())
    return [
        Run(
            Record(arrays.outcome, np.array([rows[index] for rows in outcomes])),
            Record(arrays.view, np.array([rows[index] for rows in views])),
            fleets.request_log(index),
        )
        for index in range(len(instances))
    ]
