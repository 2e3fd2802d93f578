"""Learned policies and rules on the test episodes of a scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.scenario import Scenario
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.leaderboard.learning import METHODS, Learned
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.policies.registry import Choice

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Meeting:
    """Everyone on the same test episodes.

    Attributes:
        rules: net value of each rule, `[E]` [USD]; those that refused the scenario are left out.
        methods: net value of each method, `[T, E]` of T training seeds [USD].
        above_cap_s: mean seconds above a cap, by rule or method.
    """

    rules: Mapping[str, Float64Array]
    methods: Mapping[str, Float64Array]
    above_cap_s: Mapping[str, float]


def meet(
    scenario: Scenario,
    rules: Sequence[str],
    learned: Sequence[Learned],
    protocol: Protocol,
    record: Record,
    workers: Workers,
    say: Callable[[str], None],
) -> Meeting:
    """Measure what is not on file yet.

    Args:
        scenario: where all act, by direct actions.
        rules: names of shipped policies.
        learned: what each training seed came to.
        protocol: whose test episodes they are.
        record: of this scenario.
        workers: that run episodes.
        say: told what begins.
    """
    choices: dict[str, Choice] = {name: name for name in rules}
    choices |= {f"{method}/{seed}": one.choice[method] for method in METHODS for seed, one in enumerate(learned)}
    names = [name for name in choices if name not in record.names()]
    measure = partial(_cell, scenario, protocol)
    for first in range(0, len(names), workers.count):
        some = names[first : first + workers.count]
        say(", ".join(some))
        for name, cell in zip(some, workers.map(measure, [choices[name] for name in some]), strict=True):
            record.once(name, partial(_same, cell))
    cells = {name: record.measured(name) for name in choices}
    played = {name: cell for name, cell in cells.items() if "refused" not in cell}
    of_methods = {method: [played[f"{method}/{seed}"] for seed in range(len(learned))] for method in METHODS}
    usd = "net_value_usd"
    return Meeting(
        rules={name: np.array(played[name][usd]) for name in rules if name in played},
        methods={method: np.array([cell[usd] for cell in found]) for method, found in of_methods.items()},
        above_cap_s={name: float(played[name]["above_cap_s"]) for name in rules if name in played}
        | {method: float(np.mean([cell["above_cap_s"] for cell in found])) for method, found in of_methods.items()},
    )


def _cell(scenario: Scenario, protocol: Protocol, choice: Choice) -> dict[str, Any]:
    return measure_cell(scenario, choice, protocol.episodes, protocol.seed, protocol.split)


def _same(cell: dict[str, Any]) -> dict[str, Any]:
    return cell
