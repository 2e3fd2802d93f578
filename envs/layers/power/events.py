"""What lowers a cap for a while: announced demand response, and emergencies without notice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, Spec, UnitFraction

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class CapEvent:
    """One event of one episode, drawn: the cap ramps down, holds and recovers.

    Attributes:
        start_s: when the ramp begins [s of the episode].
        depth_fraction: share of the contract that is taken away.
        notice_s: how long before its start an operator knows of the event [s].
        limits_rating: whether the event lowers the rating of the connection, not only the right to draw.
        enforced: whether the brake enforces the lowered cap; otherwise only money does.
        ramp_s, hold_s, recovery_s: length of its three parts [s].

    >>> event = CapEvent(start_s=0, depth_fraction=0.25, notice_s=0, ramp_s=10, hold_s=20, recovery_s=10)
    >>> event.cap_factor(np.array([0.0, 5.0, 10.0, 29.0, 35.0, 40.0])).tolist()
    [1.0, 0.875, 0.75, 0.75, 0.875, 1.0]
    """

    start_s: float
    depth_fraction: float
    notice_s: float
    ramp_s: float
    hold_s: float
    recovery_s: float
    limits_rating: bool = False
    enforced: bool = True

    @property
    def comes(self) -> bool:
        """Whether there is an event at all: one that takes nothing does not come."""
        return self.depth_fraction > 0.0

    @property
    def length_s(self) -> float:
        """From the start until the cap has recovered [s]."""
        return self.ramp_s + self.hold_s + self.recovery_s

    @property
    def end_s(self) -> float:
        """When the cap has recovered."""
        return self.start_s + self.length_s

    def is_in_force(self, time_s: Float64Array) -> NDArray[np.bool_]:
        """Whether it has begun and has not ended at `time_s`; never if it does not come."""
        return self.comes & (self.start_s <= time_s) & (time_s < self.end_s)

    def cap_factor(self, time_s: Float64Array) -> Float64Array:
        """Share of the contract that is left at `time_s` (any shape)."""
        full = self.start_s + self.ramp_s
        release = full + self.hold_s
        end = release + self.recovery_s
        depth = np.interp(time_s, [self.start_s, full, release, end], [0.0, 1.0, 1.0, 0.0], left=0.0, right=0.0)
        return 1.0 - self.depth_fraction * depth

    def is_known(self, now_s: Float64Array) -> NDArray[np.bool_]:
        """Whether an operator knows of it at `now_s`; never if it does not come."""
        return self.comes & (now_s >= self.start_s - self.notice_s)


class _WindowSpec(Spec):
    """When an event may start, and its shape in time.

    Attributes:
        earliest_start_s, latest_start_s: bounds of its start, which is uniform between them [s of the episode].
        ramp_s: from the start to its full depth [s].
        hold_s: at full depth [s].
        recovery_s: from there back [s].
    """

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


class DemandResponseSpec(_WindowSpec):
    """One announced event: the cap ramps down by `depth_fraction`, holds, and recovers.

    A field test of demand response on a GPU cluster lowered power by 25 % for three hours (256 GPUs; see
    `docs/layers.md`). Shipped scenarios shorten the hold so that it fits an episode of minutes; the depth is kept.

    Attributes:
        depth_fraction: share of the cap that is taken away.
        notice_s: how long before its start it is announced [s].
        enforced: whether the brake enforces the lowered cap. Otherwise the fleet may draw more, at the price that the
            site's `programme` states.
    """

    depth_fraction: UnitFraction = 0.25
    notice_s: NonNegativeFloat = 60.0
    enforced: bool = True

    @property
    def probability(self) -> float:
        """It comes in every episode."""
        return 1.0

    @property
    def deepest_fraction(self) -> float:
        """The most that it can take of the contract."""
        return self.depth_fraction

    def draw(self, rng: np.random.Generator) -> CapEvent:
        """The event of one episode."""
        return self.at(float(rng.uniform(self.earliest_start_s, self.latest_start_s)), True, rng)

    def at(self, start_s: float, comes: bool, rng: np.random.Generator) -> CapEvent:
        """The event that starts at `start_s`, of depth 0 if it does not come; nothing is drawn."""
        shape = self.ramp_s, self.hold_s, self.recovery_s
        return CapEvent(start_s, self.depth_fraction if comes else 0.0, self.notice_s, *shape, enforced=self.enforced)


class EmergencySpec(_WindowSpec):
    """An event without notice that may or may not come: a feeder is lost, a frequency relay acts, a UPS fails over.

    The default ramp of 1 s stands for a switching action and is an assumption, as is everything else about how often
    and how deep: that is the user's to state.

    Attributes:
        probability: that it comes in an episode.
        depth_fraction: bounds of the share of the cap that is taken away; uniform in between.
    """

    probability: UnitFraction = 1.0
    depth_fraction: tuple[UnitFraction, UnitFraction] = (0.25, 0.5)
    ramp_s: NonNegativeFloat = 1.0

    @model_validator(mode="after")
    def _depths_are_ordered(self) -> Self:
        low, high = self.depth_fraction
        if low > high:
            raise ValueError(f"depth_fraction: the lower bound {low} is above the upper {high}")
        return self

    @property
    def notice_s(self) -> float:
        """Nobody knows before it begins."""
        return 0.0

    @property
    def deepest_fraction(self) -> float:
        """The most that it can take of the contract."""
        return self.depth_fraction[1]

    def draw(self, rng: np.random.Generator) -> CapEvent:
        """The event of one episode, of depth 0 if it does not come; it takes three numbers of `rng` either way."""
        comes = rng.random() < self.probability
        return self.at(float(rng.uniform(self.earliest_start_s, self.latest_start_s)), comes, rng)

    def at(self, start_s: float, comes: bool, rng: np.random.Generator) -> CapEvent:
        """The event that starts at `start_s`, of depth 0 if it does not come; its depth is drawn either way."""
        depth = float(rng.uniform(*self.depth_fraction))
        return CapEvent(start_s, depth if comes else 0.0, 0.0, self.ramp_s, self.hold_s, self.recovery_s, True)
