"""One episode of a scenario: everything that chance decides, drawn before its first tick.

| module | subject |
|---|---|
| `episode` | what an episode holds, and how it is drawn: begin here |
| `demand`, `warm_caches` | its requests, and what caches hold before the first |
| `course`, `signals`, `regimes` | sites and rows from tick to tick: caps, prices, weather, hidden regimes |
| `future`, `joined_requests` | another future of an episode under way, and its requests in one table with those made |
| `batch`, `history`, `replay` | the episodes of N fleets, what was done in them, and doing it again |
"""

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
