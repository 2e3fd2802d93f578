"""Claims of layer 7: what records say beside what streams draw.

A process fitted to the one recorded hour of Azure chat is judged on that hour; the invented agent is judged on the
validation split, which took no part in its fit.
"""

from __future__ import annotations

import numpy as np

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.demand import arrivals
from calibration.fit.demand.agents import generated
from calibration.fit.demand.sessions import Statistics, prefill_overstatement, statistics
from tokenfleet.envs.catalog import load_sessions, load_trace
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.agents import HawkesStream, TokenLengthSpec

QUARTILES = (0.25, 0.5, 0.75)
QUANTITIES = ("calls_per_session", "prompt_tokens", "new_tokens", "output_tokens", "tool_wait_s")
SHARES = ("reusable_share", "busy_share", "calls_per_turn", "resets_per_call")
PUBLISHED_OVERSTATEMENT = 27.0


def chat_burstiness() -> Comparison:
    """Fano factors of an hour of Azure chat, and the median of those of 60 hours of the fitted process."""
    recorded = arrivals.recorded_fano_factors()
    length = TokenLengthSpec(median_tokens=1, sigma=0)
    rate_rps = load_trace("azure-chat-2023").mean_rate_rps
    stream = HawkesStream(request_class="chat", rate_rps=rate_rps, prompt=length, output=length)
    drawn = arrivals.generated_fano_factors(stream, 60, 3500.0)
    medians = np.array([np.median(drawn[window_s]) for window_s in recorded])
    return Comparison(np.array(list(recorded.values())), medians, tuple(f"{window_s:g} s" for window_s in recorded))


def week_burstiness() -> Comparison:
    """Fano factors in windows of ten minutes of the recorded clients' week, and of draws of it."""
    drawn = arrivals.drawn_servegen_fano_factors(3.0, 4)
    recorded = np.full(len(drawn), arrivals.servegen_fano_factor(3.0))
    return Comparison(recorded, drawn, tuple(f"draw {number}" for number in range(len(drawn))))


def invented_sessions() -> Comparison:
    """Quartiles of the invented agent's sessions, and of the validation split."""

    def quartiles(found: Statistics) -> Array:
        return np.concatenate([np.quantile(getattr(found, name), QUARTILES) for name in QUANTITIES])

    names = tuple(f"{name} {p:.0%}" for name in QUANTITIES for p in QUARTILES)
    return Comparison(quartiles(_recorded()), quartiles(_invented()), names)


def invented_shares() -> Comparison:
    """Shares and odds of the invented agent, and of the validation split."""

    def shares(found: Statistics) -> Array:
        return np.array([getattr(found, name) for name in SHARES])

    return Comparison(shares(_recorded()), shares(_invented()), SHARES)


def prefix_reuse() -> Comparison:
    """How many times as many tokens are prefilled without reuse: as published, recorded and invented."""
    record, invented = load_sessions("coding-agents"), generated()
    calls = (record, np.flatnonzero(record.conversation == 0)), (invented, invented.calls_of("train"))
    found = np.array([prefill_overstatement(*each) for each in calls])
    return Comparison(np.full(2, PUBLISHED_OVERSTATEMENT), found, ("recorded", "invented"))


CLAIMS = (
    Claim(
        "chat burstiness", chat_burstiness, 0.2, of_each=True,
        judged_by="stream hawkes is as bursty as the hour of chat that its two parameters are fitted to",
    ),
    Claim(
        "week burstiness", week_burstiness, 0.2, of_each=True,
        judged_by="stream servegen is as bursty over ten minutes as the recorded rates and gaps make it; nothing is "
        "fitted here",
    ),
    Claim(
        "invented sessions", invented_sessions, 0.2, of_each=True,
        judged_by="stream agent_generator, fitted to the training split, has the quartiles of the validation split",
    ),
    Claim(
        "invented shares", invented_shares, 0.15, of_each=True,
        judged_by="stream agent_generator, fitted to the training split, reuses, waits and begins anew as the "
        "validation split",
    ),
    Claim(
        "prefix reuse", prefix_reuse, 0.1, of_each=True,
        judged_by="ignoring prefix reuse overstates what coding agents prefill 27 times",
    ),
)  # fmt: skip


def _recorded() -> Statistics:
    return statistics(load_sessions("coding-agents"), "validation")


def _invented() -> Statistics:
    return statistics(generated(), "train")
