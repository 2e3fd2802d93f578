"""Layer 1, power: what a site may draw from the grid, and what happens when it draws more.

The *cap* is the site's contract, lowered while a demand-response event holds. The site's meter averages power over one
control tick. Above the cap for longer than the brake's delay, the *power brake* forces every clock of the site far
down until the load is well below; far above it for longer than the breaker's delay, the *breaker* trips and the site
is dark until it has restarted. Breaking a cap therefore costs tokens, not an arbitrary penalty.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    Spec,
    UnitFraction,
)


class DemandResponseSpec(Spec):
    """One announced event: the cap ramps down by `depth_fraction`, holds, and recovers.

    A field test of demand response on a GPU cluster lowered power by 25 % for three hours (256 GPUs; see
    `docs/layers.md`). Shipped scenarios shorten the hold so that it fits an episode of minutes; the depth is kept.
    The start is drawn uniformly between `earliest_start_s` and `latest_start_s` for each episode.
    """

    depth_fraction: UnitFraction = 0.25
    notice_s: NonNegativeFloat = 60.0
    earliest_start_s: NonNegativeFloat
    latest_start_s: NonNegativeFloat
    ramp_s: NonNegativeFloat = 10.0
    hold_s: PositiveFloat
    recovery_s: NonNegativeFloat = 10.0

    @model_validator(mode="after")
    def _start_window_is_ordered(self) -> Self:
        if self.latest_start_s < self.earliest_start_s:
            raise ValueError(
                f"latest_start_s ({self.latest_start_s}) must not be before earliest_start_s ({self.earliest_start_s})"
            )
        return self

    def cap_factor(self, time_s: NDArray[np.float64], start_s: float) -> NDArray[np.float64]:
        """Share of the contract that is left at `time_s` (any shape) when the event starts at `start_s`.

        >>> event = DemandResponseSpec(earliest_start_s=0, latest_start_s=0, ramp_s=10, hold_s=20, recovery_s=10)
        >>> event.cap_factor(np.array([0.0, 5.0, 10.0, 29.0, 35.0, 40.0]), start_s=0.0).tolist()
        [1.0, 0.875, 0.75, 0.75, 0.875, 1.0]
        """
        full = start_s + self.ramp_s
        release = full + self.hold_s
        end = release + self.recovery_s
        depth = np.interp(time_s, [start_s, full, release, end], [0.0, 1.0, 1.0, 0.0], left=0.0, right=0.0)
        return 1.0 - self.depth_fraction * depth


class BrakeSpec(Spec):
    """Power brake: every clock of the site drops to `clock_fraction`.

    The default delay is the 10 s that a UPS tolerates, the default clock the 288 of 1410 MHz to which the hardware
    brake of an A100 drops (POLCA, arXiv 2308.12908). Below the cap the delay is earned back at `recovery_ratio` seconds
    a second, for a UPS recharges about ten times as slowly as it discharges (assumption): a site cannot live above its
    cap by dipping under it now and then. A brake that has been released has earned it all back. The release level and
    its delay are assumptions too: they give the hysteresis that an operator needs to leave the brake without bouncing.
    """

    delay_s: NonNegativeFloat = 10.0
    clock_fraction: PositiveFraction = 0.2
    recovery_ratio: UnitFraction = 0.1
    release_fraction: PositiveFraction = 0.9
    release_delay_s: NonNegativeFloat = 5.0


class BreakerSpec(Spec):
    """Breaker: the site goes dark when it stays far above its cap.

    A UPS carries 125 % of its rating for 30 s to 10 min (vendors' overload curves); the shortest is the default.
    `restart_s`, the time from the trip until servers may boot, is an assumption.
    """

    overload_ratio: PositiveFloat = 1.25
    delay_s: NonNegativeFloat = 30.0
    restart_s: NonNegativeFloat = 120.0


class GridSpec(Spec):
    """A site's grid connection.

    `cap_fraction` is the contract as a share of the site's nameplate power (every GPU at its TDP, every server on,
    times PUE); `cap_w` states it in watts instead. `price_usd_per_mwh` and `carbon_g_per_kwh` are constant in an
    episode.
    """

    cap_fraction: PositiveFloat | None = None
    cap_w: PositiveFloat | None = None
    price_usd_per_mwh: NonNegativeFloat = 60.0
    carbon_g_per_kwh: NonNegativeFloat = 400.0
    demand_response: tuple[DemandResponseSpec, ...] = ()
    brake: BrakeSpec = BrakeSpec()
    breaker: BreakerSpec = BreakerSpec()

    @model_validator(mode="after")
    def _one_way_to_state_the_cap(self) -> Self:
        if (self.cap_fraction is None) == (self.cap_w is None):
            given = f"got cap_fraction={self.cap_fraction} and cap_w={self.cap_w}"
            raise ValueError(f"give exactly one of cap_fraction (of nameplate) and cap_w [W], the other null ({given})")
        return self

    def contract_w(self, nameplate_w: float) -> float:
        """The cap outside any event [W]."""
        return self.cap_w if self.cap_w is not None else float(self.cap_fraction or 0.0) * nameplate_w


def draw_event_starts(grid: GridSpec, rng: np.random.Generator) -> list[float]:
    """One start time per demand-response event [s]."""
    return [float(rng.uniform(event.earliest_start_s, event.latest_start_s)) for event in grid.demand_response]


def cap_schedule_w(
    grid: GridSpec, contract_w: float, starts_s: list[float], time_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cap at each `time_s` [W]; overlapping events multiply."""
    factor = np.ones_like(time_s)
    for event, start_s in zip(grid.demand_response, starts_s, strict=True):
        factor = factor * event.cap_factor(time_s, start_s)
    return contract_w * factor


def announced_cap_w(
    grid: GridSpec, contract_w: float, starts_s: list[float], now_s: NDArray[np.float64], lead_s: float
) -> NDArray[np.float64]:
    """The cap at `now_s + lead_s` as an operator knows it at `now_s` [W]: an event counts from its notice on."""
    factor = np.ones_like(now_s)
    for event, start_s in zip(grid.demand_response, starts_s, strict=True):
        known = now_s >= start_s - event.notice_s
        factor = np.where(known, factor * event.cap_factor(now_s + lead_s, start_s), factor)
    return contract_w * factor
