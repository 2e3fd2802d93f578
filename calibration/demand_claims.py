"""Layer 7's claims, what records say beside what streams draw: `python -m calibration.demand_claims`.

Every claim says what was fitted and what was judged. A process fitted to the one recorded hour of Azure chat is judged
on that hour; the invented agent is judged on the validation split, which took no part in its fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration import agents, arrivals
from tokenfleet.envs.catalog import load_sessions, load_trace
from tokenfleet.envs.layers.agents import HawkesStream, TokenLengthSpec

Array = NDArray[np.float64]
QUARTILES = (0.25, 0.5, 0.75)
QUANTITIES = ("calls_per_session", "prompt_tokens", "new_tokens", "output_tokens", "tool_wait_s")


@dataclass(frozen=True)
class Claim:
    """Recorded against drawn, element by element.

    Attributes:
        statement: what is claimed, fit and judge included.
        labels: of the elements.
        recorded, drawn: `[M]`, in one unit.
        tolerance: largest relative difference that the claim allows.
    """

    statement: str
    labels: tuple[str, ...]
    recorded: Array
    drawn: Array
    tolerance: float

    @property
    def errors(self) -> Array:
        """Relative differences."""
        return np.asarray(self.drawn / self.recorded - 1.0)

    @property
    def holds(self) -> bool:
        """Whether no difference is larger than the tolerance."""
        return bool((np.abs(self.errors) <= self.tolerance).all())


def chat_burstiness() -> Claim:
    """Fano factors of an hour of Azure chat, and the median of those of 60 hours of the fitted process."""
    recorded = arrivals.recorded_fano_factors()
    length = TokenLengthSpec(median_tokens=1, sigma=0)
    rate_rps = load_trace("azure-chat-2023").mean_rate_rps
    stream = HawkesStream(request_class="chat", rate_rps=rate_rps, prompt=length, output=length)
    drawn = arrivals.generated_fano_factors(stream, 60, 3500.0)
    return Claim(
        "stream hawkes is as bursty as the hour of chat that its two parameters are fitted to",
        tuple(f"{window_s:g} s" for window_s in recorded),
        np.array(list(recorded.values())),
        np.array([np.median(drawn[window_s]) for window_s in recorded]),
        0.2,
    )


def week_burstiness() -> Claim:
    """Fano factors in windows of ten minutes of the recorded clients' week, and of draws of it."""
    drawn = arrivals.drawn_servegen_fano_factors(3.0, 4)
    return Claim(
        "stream servegen is as bursty over ten minutes as the recorded rates and gaps make it; nothing is fitted here",
        tuple(f"draw {number}" for number in range(len(drawn))),
        np.full(len(drawn), arrivals.servegen_fano_factor(3.0)),
        drawn,
        0.2,
    )


def invented_sessions() -> Claim:
    """Quartiles of the invented agent's sessions, and of the validation split."""
    recorded = agents.statistics(load_sessions("coding-agents"), "validation")
    drawn = agents.statistics(agents.generated(), "train")
    return Claim(
        "stream agent_generator, fitted to the training split, has the quartiles of the validation split",
        tuple(f"{name} {p:.0%}" for name in QUANTITIES for p in QUARTILES),
        np.concatenate([np.quantile(getattr(recorded, name), QUARTILES) for name in QUANTITIES]),
        np.concatenate([np.quantile(getattr(drawn, name), QUARTILES) for name in QUANTITIES]),
        0.2,
    )


def invented_shares() -> Claim:
    """Shares and odds of the invented agent, and of the validation split."""
    recorded = agents.statistics(load_sessions("coding-agents"), "validation")
    drawn = agents.statistics(agents.generated(), "train")
    names = ("reusable_share", "busy_share", "calls_per_turn", "resets_per_call")
    return Claim(
        "stream agent_generator, fitted to the training split, reuses, waits and begins anew as the validation split",
        names,
        np.array([getattr(recorded, name) for name in names]),
        np.array([getattr(drawn, name) for name in names]),
        0.15,
    )


def prefix_reuse() -> Claim:
    """How many times as many tokens are prefilled without reuse: as published, recorded and invented."""
    record, invented = load_sessions("coding-agents"), agents.generated()
    main = np.flatnonzero(record.conversation == 0)
    return Claim(
        "ignoring prefix reuse overstates what coding agents prefill 27 times",
        ("recorded", "invented"),
        np.full(2, 27.0),
        np.array([
            agents.prefill_overstatement(record, main),
            agents.prefill_overstatement(invented, invented.calls_of("train")),
        ]),
        0.1,
    )  # fmt: skip


CLAIMS: dict[str, Callable[[], Claim]] = {
    "chat_burstiness": chat_burstiness,
    "week_burstiness": week_burstiness,
    "invented_sessions": invented_sessions,
    "invented_shares": invented_shares,
    "prefix_reuse": prefix_reuse,
}


def report() -> str:
    """Every claim with its numbers."""
    lines = []
    for name, build in CLAIMS.items():
        claim = build()
        lines.append(f"{name}: {claim.statement} ({'holds' if claim.holds else 'FAILS'} within {claim.tolerance:.0%})")
        for label, recorded, drawn, error in zip(claim.labels, claim.recorded, claim.drawn, claim.errors, strict=True):
            lines.append(f"  {label:24} {recorded:12,.3f} {drawn:12,.3f} {error:+8.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(report())
