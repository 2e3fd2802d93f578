"""How a screen divides its minutes. The division is on file: a resumed screen does not decide again."""

from __future__ import annotations

import numpy as np

TRAIN_EPISODES = 6
"""Episodes of the candidates of a generation, and of the probes of dials."""
FEWEST_EPISODES, MOST_EPISODES = 16, 128
"""Bounds of the number of validation episodes behind findings."""
EPISODES_TIME_SHARE = 0.006
"""Share of the time that one plan may take for the episodes behind findings."""
ENDS_AT = {"constants": 0.3, "feedback": 0.5, "constants further": 0.7}
"""Share of the time at which each search ends."""


def episodes_for(minutes: float, episodes_per_s: float) -> int:
    """How many validation episodes a screen of so many minutes affords."""
    affordable = EPISODES_TIME_SHARE * 60.0 * minutes * episodes_per_s
    return int(np.clip(round(affordable), FEWEST_EPISODES, MOST_EPISODES))


def choosing(episodes: int) -> int:
    """How many validation episodes plans are chosen by, where findings are from so many others."""
    return max(FEWEST_EPISODES, episodes // 2)
