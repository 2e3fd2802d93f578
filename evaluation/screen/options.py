"""A person's options for a screen, and for the searches in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What a person may set.

    Attributes:
        minutes: for the whole screen.
        seed: of searches and episodes.
        generations: of the search of feedback; the first search of constants takes twice as many, and the one that
            goes on as long as feedback and its probes took. None for as many as fit the minutes.
        episodes: validation episodes; None for as many as fit the minutes.
        planner_episodes: validation episodes that a planner and its placebo meet; 0 for no planner.
        control_generations: of the control's constants, beyond those that feedback and its probes took.
    """

    minutes: float = 15.0
    seed: int = 0
    generations: int | None = None
    episodes: int | None = None
    planner_episodes: int = 0
    control_generations: int = 0
