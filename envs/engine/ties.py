"""When two times, or two amounts of credit, count as equal.

The two engines add up the same iterations in different orders. So the times of the engines agree within 1e-8 s, but not
to the bit, and whole numbers (arrivals on seconds, whole rates, limits in whole seconds) turn such times into ties. No
decision may hang on the last bit of a time, so each comparison gives way by more than the engines differ.
"""

from __future__ import annotations

TIE_S = 1e-7
"""Times that lie no further apart are equal [s]."""


def exceeds(elapsed_s: float, limit_s: float) -> bool:
    """Whether a limit in time is exceeded.

    >>> exceeds(0.1 + 0.2, 0.3), exceeds(0.301, 0.3)
    (False, True)
    """
    return elapsed_s > limit_s + TIE_S


def credit_tie(rate_rps: float) -> float:
    """Part of a request's credit that may lack, in a bucket one second (or one request) deep, at `rate_rps`."""
    return TIE_S * max(1.0, rate_rps)
