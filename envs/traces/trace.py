"""A recorded stream of requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.traces.columns import FloatColumn, IntColumn, check_columns


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded stream of requests on its own clock, before anyone gives it a class. All arrays are [R].

    Attributes:
        name: what to call it in a report.
        arrival_s: [R] float64, seconds since the first request of the record, not decreasing.
        prompt_tokens: [R] int32, at least 1.
        output_tokens: [R] int32, at least 1.
    """

    name: str
    arrival_s: FloatColumn  # [R] s
    prompt_tokens: IntColumn  # [R] tokens
    output_tokens: IntColumn  # [R] tokens

    def __post_init__(self) -> None:
        check_columns(vars(self), {"arrival_s": np.float64, "prompt_tokens": np.int32, "output_tokens": np.int32})

    def __len__(self) -> int:
        return int(self.arrival_s.shape[0])

    @property
    def duration_s(self) -> float:
        """Seconds from the first request to the last."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self) else 0.0

    @property
    def mean_rate_rps(self) -> float:
        """Requests per second over the whole record."""
        return (len(self) - 1) / self.duration_s if self.duration_s > 0 else 0.0
