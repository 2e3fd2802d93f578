"""One episode of a scenario: everything that chance decides, drawn before its first tick."""

from tokenfleet.envs.episode.course import LIMITS
from tokenfleet.envs.episode.episode import (
    Episode,
    sample_episode,
)

__all__ = [
    "LIMITS",
    "Episode",
    "sample_episode",
]
