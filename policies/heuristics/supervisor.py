"""A supervisor that decides once: constant set-points, held by the inner loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.clock_limits import usual_replicas
from tokenfleet.envs.estimates.power_model import PowerModel
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.layers.power.series import PriceSignal
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import entry_names
from tokenfleet.envs.spec import SpecError, suggest
from tokenfleet.envs.supervision.loop import InnerLoop, LoopState
from tokenfleet.envs.supervision.setpoints import Setpoints
from tokenfleet.policies.base import ControlPolicy, PolicyContext, State
from tokenfleet.policies.heuristics.admission import backlog_limits_s
from tokenfleet.policies.heuristics.awake import awake_by_value
from tokenfleet.policies.heuristics.economy import WorthClock
from tokenfleet.policies.heuristics.routing import spreads_s

SPREAD_S, CONTEXT_SPREAD_S = 2.5, 10.0
BRAKE_SHARE = 0.3
BATTERY_CHARGE = 0.1
SERIES_USD_PER_MWH = 200.0
WORTH, DEEPEST_BIAS = 0.1, -0.35
DIGITS = 6

Amount = float | dict[str, float] | None
"""One number for all, numbers by name, or None to leave the set-point to `rest`."""


class Supervisor(ControlPolicy):
    """Holds set-points that never change; a person or a tuner chooses these constants.

    Where the environment's action is `setpoints` it answers with set-points. Elsewhere its own inner loop holds them
    tick by tick, and it answers with controls: the same but for the float32 of observations. Every parameter is a
    number, or numbers by name of site, pool or class (a route is named `class to pool`).

    Set-points that are left out are made by hand. Replicas are awake by value (`awake.ByValue`); behind rows, as many
    as fit the contracts, because the loop bounds a row's clocks as if so many were awake. Deferrable work is released
    up to a backlog of 3 s; interactive work is refused if it would run out of patience (`admission.BacklogGate`). The
    routing spread is 10 s where contexts are kept, else 2.5 s. Clocks are no faster than the usual price of energy
    justifies (`economy.WorthClock`). While work waits, 0.3 of the brake's delay is spent. Batteries keep a tenth of
    their capacity, for what a constant holds back is never used. Everything else stays in the middle of the box, and
    with `rest="middle"` all of it does.

    Args:
        context: the environment.
        power_share: see `Setpoints`; by site.
        brake_share: likewise.
        clock_bias: by pool.
        route_bias_s: by route [s].
        route_spread_s: by class [s].
        awake_replicas: by pool.
        backlog_limit_s: by class [s].
        battery_charge: by site with a battery.
        prefix_affinity: by class.
        token_price_factor: by class.
        training_share: by site that trains.
        standby_fraction: by pool whose replicas can stand by.
        variant_fraction: by pool with a variant.
        rest: whether set-points that are left out are `hand_made` or in the `middle` of the box.

    Raises:
        SpecError: a name that the scenario does not have, or a number outside its bounds.
    """

    def __init__(
        self,
        context: PolicyContext,
        power_share: Amount = None,
        brake_share: Amount = None,
        clock_bias: Amount = None,
        route_bias_s: Amount = None,
        route_spread_s: Amount = None,
        awake_replicas: Amount = None,
        backlog_limit_s: Amount = None,
        battery_charge: Amount = None,
        prefix_affinity: Amount = None,
        token_price_factor: Amount = None,
        standby_fraction: Amount = None,
        variant_fraction: Amount = None,
        training_share: Amount = None,
        rest: Literal["hand_made", "middle"] = "hand_made",
    ) -> None:
        super().__init__(context)
        given = {
            "power_share": power_share,
            "brake_share": brake_share,
            "clock_bias": clock_bias,
            "route_bias_s": route_bias_s,
            "route_spread_s": route_spread_s,
            "awake_replicas": awake_replicas,
            "backlog_limit_s": backlog_limit_s,
            "battery_charge": battery_charge,
            "prefix_affinity": prefix_affinity,
            "token_price_factor": token_price_factor,
            "standby_fraction": standby_fraction,
            "variant_fraction": variant_fraction,
            "training_share": training_share,
        }
        self._answers_setpoints = isinstance(context.action, SetpointAction)
        self._box = context.action if isinstance(context.action, SetpointAction) else SetpointAction(self.scenario)
        if not self._answers_setpoints:
            self.require(InnerLoop.fields)
        left_out = self._box.decode(np.zeros((1, *self._box.space.shape)))
        if rest == "hand_made":
            left_out = hand_made(self.scenario, left_out)
        self.setpoints = constant_setpoints(self.scenario, left_out, given, f"policy.{self.name}")
        self._box.check(self.setpoints)

    def tuned_from(self) -> NDArray[np.float64]:
        """Where a tuner begins: the set-points as entries of the action `setpoints`, `[A]`."""
        entries: NDArray[np.float64] = self._box.encode(self.setpoints)[0].astype(np.float64)
        return entries

    def tuned_to(self, numbers: NDArray[np.float64]) -> dict[str, Any]:
        """The parameters that entries `[A]` stand for; an entry outside [-1, 1] counts as the nearer bound."""
        return supervisor_parameters(self.scenario, numbers)

    def initial_state(self, num_envs: int) -> State:
        """See `LoopState`; empty where the environment holds set-points by itself."""
        return () if self._answers_setpoints else self._box.loop.initial_state(num_envs)

    def controls(self, view: Record, state: State) -> tuple[Controls, State]:
        """See `ControlPolicy.controls`."""
        return self._box.loop.controls(self._repeated(len(view.rows)), view, LoopState(*state))

    def decide(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
    ) -> tuple[Any, State | None]:
        """Set-points for a batch `[N, D]` where the environment takes them, else controls."""
        if self._answers_setpoints:
            return self._repeated(len(observation)), None
        return super().decide(observation, state, episode_start)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """See `Policy.predict`."""
        if not self._answers_setpoints:
            return super().predict(observation, state, episode_start, deterministic)
        entries, after = self._entries(np.atleast_2d(observation), state, episode_start)
        return (entries[0] if np.ndim(observation) == 1 else entries), after

    def _entries(
        self, observation: NDArray[np.float32], state: State | None, episode_start: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], State | None]:
        """Entries of the action `setpoints`, `[N, A]`, and the state for the next tick."""
        return self._box.encode(self._repeated(len(observation))), None

    def _repeated(self, num_envs: int) -> Setpoints:
        rows = {name: np.repeat(row, num_envs, axis=0) for name, row in vars(self.setpoints).items() if row is not None}
        return Setpoints(**rows)


def supervisor_parameters(
    scenario: Scenario, entries: NDArray[np.floating[Any]], digits: int = DIGITS
) -> dict[str, Any]:
    """Entries `[A]` of the action `setpoints` as parameters of `Supervisor`: numbers by name, in physical units.

    Args:
        scenario: of the fleets.
        entries: of the action.
        digits: significant digits of each number.
    """
    box = SetpointAction(scenario)
    setpoints = box.decode(entries[None])
    used = {segment.control for segment in box.table if segment.labels}
    parameters: dict[str, Any] = {}
    for declared in quantities_of(Setpoints):
        row = getattr(setpoints, declared.name)
        if row is None or declared.name not in used:
            continue
        numbers = (float(f"{value:.{digits}g}") for value in row.ravel())
        parameters[declared.name] = dict(zip(entry_names(scenario, declared.axis[1:]), numbers, strict=True))
    return parameters


def hand_made(scenario: Scenario, middle: Setpoints) -> Setpoints:
    """Set-points of one fleet as a good operator who knows the scenario would choose them; see `Supervisor`."""
    usual_price = np.array([[_usual_usd_per_mwh(site.grid.price_usd_per_mwh) for site in scenario.sites.values()]])
    behind_row = PowerModel(scenario).is_behind_row.any(axis=1)
    return replace(
        middle,
        awake_replicas=np.where(behind_row, usual_replicas(scenario), awake_by_value(scenario))[None],
        backlog_limit_s=backlog_limits_s(scenario)[None],
        route_spread_s=spreads_s(scenario, SPREAD_S, CONTEXT_SPREAD_S)[None],
        brake_share=np.full_like(middle.brake_share, BRAKE_SHARE),
        battery_charge=None if middle.battery_charge is None else np.full_like(middle.battery_charge, BATTERY_CHARGE),
        clock_bias=np.maximum(WorthClock(scenario, WORTH).clocks_at(usual_price) - 1.0, DEEPEST_BIAS),
    )


def _usual_usd_per_mwh(signal: PriceSignal) -> float:
    """The price that an operator assumes [USD/MWh]: a fixed price, or 200 plus the offset of a series."""
    if isinstance(signal, (int, float)):
        return float(signal)
    return SERIES_USD_PER_MWH + float(getattr(signal, "offset", 0.0))


def constant_setpoints(scenario: Scenario, middle: Setpoints, given: dict[str, Amount], where: str) -> Setpoints:
    """Set-points of one fleet: those of `middle`, overridden by the `given` ones.

    Raises:
        SpecError: one line per name or set-point that the scenario does not have.
    """
    problems, rows = [], dict(vars(middle))
    for declared in quantities_of(Setpoints):
        amount, row = given[declared.name], rows[declared.name]
        if amount is None:
            continue
        if row is None:
            problems.append(f"{where}.{declared.name}: this scenario has nothing to set by it")
            continue
        names = entry_names(scenario, declared.axis[1:])
        row = rows[declared.name] = np.array(row)
        for name, value in amount.items() if isinstance(amount, dict) else ((name, amount) for name in names):
            if name in names:
                row.reshape(-1)[names.index(name)] = value
            else:
                problems.append(f"{where}.{declared.name}.{name}: unknown name{suggest(name, names)}")
    if problems:
        raise SpecError(problems)
    return Setpoints(**rows)
