"""A fit to a log of requests as text."""

from __future__ import annotations

from tokenfleet.envs.fitting.report import estimate_lines, origin_of
from tokenfleet.envs.fitting.request_fit import FITTED_SHARE, RequestFit


def request_report(fit: RequestFit) -> str:
    """What a person is shown."""
    return "\n".join(
        [
            f"{fit.profile.name}: {len(fit.log)} requests; starts from {origin_of(fit.start)}",
            "",
            *estimate_lines(fit.estimates),
            "",
            f"judged by the last {1.0 - FITTED_SHARE:.0%} of the requests, of a fit to those before:",
            f"{'mean':24} {'measured':>12} {'start':>9} {'fitted':>9} {'each request':>13}",
            *(
                f"{one.title:24} {1e3 * one.measured:>9.4g} ms {one.start:>+9.1%} {one.fitted:>+9.1%} {one.each:>13.1%}"
                for one in fit.held_out
            ),
            *[f"note: {note}" for note in fit.log.notes],
        ]
    )
