"""How much a training may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Of one training seed in one scenario.

    Attributes:
        generations: of the search of feedback; see `screen.run.Options`.
        correction_episodes: of training, of corrections of a rule.
        episodes: of validation, by which searches, methods and rules are chosen.
    """

    generations: int
    correction_episodes: int
    episodes: int
