"""How much a training may cost."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.evaluation.screen.budget import TRAIN_EPISODES
from tokenfleet.evaluation.screen.tuning import POPULATION

VALIDATION_EPISODES = 40
"""By which searches and rules are chosen, unless somebody asks for more or fewer."""


@dataclass(frozen=True)
class Budget:
    """Of one training seed in one scenario.

    Attributes:
        generations: of the search of feedback; see `screen.options.Options`.
        correction_episodes: of training, of the longer of the corrections of a rule.
        episodes: of validation, by which searches and rules are chosen; a method is chosen by more.
    """

    generations: int
    correction_episodes: int
    episodes: int

    @property
    def correction_generations(self) -> int:
        """Generations of a search that have as many training episodes as the longer of the corrections."""
        return -(-self.correction_episodes // (POPULATION * TRAIN_EPISODES))
