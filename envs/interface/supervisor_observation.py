"""The observation `supervisor`: the default one, estimates from the same view, and the action's memory.

Backlogs in seconds, watts left under the lowest cap to come, the rest of the brake's delay, the time to the next event;
and, if the action holds set-points, the clock of its loop and the last set-points. Without these a policy would have
to learn the physics of its fleet, and could not know which decision is still in force.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.estimates.backlog import BACKLOG_FIELDS, backlog_seconds, class_backlog_seconds
from tokenfleet.envs.estimates.cap_forecast import CapForecast
from tokenfleet.envs.estimates.service_model import ServiceModel
from tokenfleet.envs.fields import VIEW, Field
from tokenfleet.envs.interface.action import Action, Supervises
from tokenfleet.envs.interface.observation import ScaledFields, kept_fields
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.rows import Layout, Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.axes import axis_sizes
from tokenfleet.envs.supervision.loop import AHEAD_S

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

ESTIMATED: tuple[Field, ...] = (
    Field("pool_backlog_s", "P", "s", "How long the pool would take for what it has.", "backlog", 10.0),
    Field("class_backlog_s", "K", "s", "The shortest backlog that a request of the class meets.", "backlog", 10.0),
    Field(
        "headroom_w",
        "S",
        "W",
        f"The lowest cap of the next {AHEAD_S:g} s, less metered power.",
        "nameplate_w",
        2.0,
        -2.0,
    ),
    Field("brake_allowance_s", "S", "s", "Time above the cap that the brake still forgives.", "brake_s", 1.0),
    Field(
        "event_in_s",
        "S",
        "s",
        "The shortest lead time for which a cap below the present one is announced; cut where none is.",
        "lead",
        2.0,
    ),
)
"""What is worked out from the view."""
REMEMBERED: tuple[Field, ...] = (
    Field("loop_clock", "S", "share", "Clock to which the inner loop has steered the site.", "one", 1.0),
    Field("last_setpoints", "A", "a in [-1, 1]", "The last set-points, as an action.", "one", 1.0, -1.0),
)
"""What the action `setpoints` remembers."""
LOWER_BY = 1e-4
"""Share of the present cap by which an announced one must lie below it to count as an event."""


class Estimates(ScaledFields):
    """Works `ESTIMATED` out from a view.

    Args:
        scenario: of the fleets.

    Attributes:
        reads: fields of a view that it needs.
    """

    reads = (*BACKLOG_FIELDS, "cap_w", "announced_cap_w", "site_power_w", "brake_timer_s")

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, ESTIMATED, axis_sizes(scenario))
        self._service, self._mask = ServiceModel(scenario), scenario.route_mask
        self._forecast = CapForecast.of_sites(scenario, np.full(len(scenario.sites), AHEAD_S))
        self._delay_s = np.array([site.grid.brake.delay_s for site in scenario.sites.values()])
        self._leads_s = np.array(scenario.announced_lead_s)

    def rows(self, view: Record) -> Float64Array:
        """The estimates in their units, `[N, D]`; the time to the next event is inf where none is announced."""
        backlog_s = backlog_seconds(self._service, view)
        cap_w, announced_w = view["cap_w"], view["announced_cap_w"]
        falls = announced_w < (1.0 - LOWER_BY) * cap_w[:, :, None]
        blocks = [
            backlog_s,
            class_backlog_seconds(backlog_s, self._mask),
            self._forecast.lowest_w(cap_w, announced_w) - view["site_power_w"],
            self._delay_s - view["brake_timer_s"],
            np.where(falls, self._leads_s, np.inf).min(axis=2, initial=np.inf),
        ]
        return np.concatenate(blocks, axis=1)

    def shown(self, view: Record) -> Record:
        """The estimates as an observation shows them: cut to their bounds, in float32."""
        return self.decode(self.scaled(self.rows(view)))


class SupervisorObservation(ScaledFields):
    """See the module; the added fields stand behind the default ones.

    Args:
        scenario: fixes sizes and scales.
        action: action of the same environment.
        fields: names to keep, in the order of the tables; all by default.

    Raises:
        SpecError: unknown or no field names.
    """

    def __init__(
        self, scenario: Scenario, action: Action | Supervises | None = None, fields: Sequence[str] | None = None
    ) -> None:
        holds = isinstance(action, SetpointAction)
        entries = action.space.shape[0] if isinstance(action, SetpointAction) else 0
        known = (*VIEW, *ESTIMATED, *(REMEMBERED if holds else ()))
        kept, sizes = kept_fields(known, fields), {**axis_sizes(scenario), "A": entries}
        super().__init__(scenario, kept, sizes)
        self._columns = Layout(known, sizes).columns(*(field.name for field in kept))
        self._holds = holds
        self._estimates = Estimates(scenario)

    def recall(self, view: Record, memory: tuple[NDArray[np.generic], ...]) -> Float32Array:
        """See `Recalls.recall`; `[N, D]`."""
        seen = Record(view.layout, view.rows.astype(np.float64))
        blocks = [seen.rows, self._estimates.rows(seen)]
        if self._holds:
            clock, *_, entries = memory
            blocks += [np.asarray(clock, np.float64), np.asarray(entries, np.float64)]
        return self.scaled(np.concatenate(blocks, axis=1).take(self._columns, axis=1))
