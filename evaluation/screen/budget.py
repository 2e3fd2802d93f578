"""How many generations and episodes fit the minutes; fixed once and kept on file, so that the rest is deterministic."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tokenfleet.evaluation.screen.tuning import POPULATION

TRAIN_EPISODES = 8
"""Episodes that the candidates of a generation meet."""
FEWEST_EPISODES, MOST_EPISODES = 16, 64
"""Bounds of the validation episodes that plans are chosen by, and of those that findings are from."""
EPISODES_TIME_SHARE = 0.01
"""Share of the time that one plan may take for the episodes that findings are from."""
FEEDBACK_COST = 2.5
"""Time of an episode with feedback, over that of one with constants."""
KEPT_BACK = 0.15
"""Share of the time that is left unplanned."""
ENDS_AT = {"constants": 0.35, "feedback": 0.65, "constants further": 0.8}
"""Share of the time at which a search ends in any case."""


@dataclass(frozen=True)
class Budget:
    """What a screen does.

    Attributes:
        episodes: validation episodes that plans are chosen by, and as many others that findings are from.
        generations: of each of three searches: constants, constants further on, feedback.
    """

    episodes: int
    generations: int

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def episodes_for(minutes: float, episodes_per_s: float) -> int:
    """How many validation episodes a screen of so many minutes affords."""
    affordable = EPISODES_TIME_SHARE * 60.0 * minutes * episodes_per_s
    return int(np.clip(round(affordable), FEWEST_EPISODES, MOST_EPISODES))


def generations_for(left_s: float, episodes_per_s: float, last_episodes: int) -> int:
    """How many generations each search gets; at least 2.

    Args:
        left_s: time left for all [s].
        episodes_per_s: speed of constants.
        last_episodes: that come after the searches.
    """
    episodes = (1.0 - KEPT_BACK) * left_s * episodes_per_s - last_episodes
    each = POPULATION * TRAIN_EPISODES * (2.0 + FEEDBACK_COST)
    return max(2, int(episodes / each))
