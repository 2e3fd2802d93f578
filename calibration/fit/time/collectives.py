"""Latency and rate of collectives by interconnect, number of boards and size of the message (aiconfigurator).

Each series of measured sizes is cut into at most three stretches, where a straight line through each leaves the least
squares of relative error: libraries change their algorithm there.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import nnls

from calibration.excerpts import table
from tokenfleet.envs.fitting.errors import Array, relative_errors

MEASURED_ON = {
    "nvlink-3": "a100-sxm-80gb",
    "nvlink-4": "h100-sxm",
    "nvlink-5": "b200-sxm",
    "pcie-4": "l40s",
    "pcie-5": "rtx-pro-6000-blackwell-server",
}
"""Interconnect -> the board whose collectives it is fitted to; the H200's judge those of the H100 (`claims`)."""
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
PIECES = 3
SHORTEST = 4  # measured sizes of a stretch
Piece = tuple[float, float, float]  # from so many bytes on: latency [s], rate [bytes/s]


@cache
def fit_interconnect(name: str) -> dict[str, dict[int, list[Piece]]]:
    """Collective -> number of boards -> its pieces, as the catalogue has them."""
    rows = table("collectives").query("gpu == @MEASURED_ON[@name]")
    return {
        collective: {
            int(boards): fit_pieces(own.bytes.to_numpy(float), 1e-6 * own.time_us.to_numpy())
            for boards, own in rows[rows.collective == collective].groupby("boards")
        }
        for collective in COLLECTIVES
    }


def fit_pieces(size_bytes: Array, time_s: Array) -> list[Piece]:
    """The straight lines that come nearest to times at ascending sizes, and where each begins.

    >>> sizes = 2.0 ** np.arange(10, 20)
    >>> [piece] = fit_pieces(sizes, 1e-6 + sizes / 1e9)
    >>> piece == (0.0, 1e-6, 1e9)
    True
    """
    best: dict[tuple[int, int], tuple[float, list[Piece]]] = {(0, 0): (0.0, [])}
    for pieces in range(1, PIECES + 1):
        for end in range(SHORTEST, len(size_bytes) + 1):
            for start in range(end - SHORTEST + 1):
                if (pieces - 1, start) not in best:
                    continue
                before, lines = best[pieces - 1, start]
                cost, latency_s, rate = _line(tuple(size_bytes[start:end]), tuple(time_s[start:end]))
                if before + cost < best.get((pieces, end), (np.inf, []))[0]:
                    begins = float(size_bytes[start]) if start else 0.0
                    best[pieces, end] = (before + cost, [*lines, (begins, latency_s, rate)])
    whole = [best[pieces, len(size_bytes)] for pieces in range(1, PIECES + 1) if (pieces, len(size_bytes)) in best]
    enough = min(cost for cost, _ in whole) + 1e-4 * len(size_bytes)
    return next(lines for cost, lines in whole if cost <= enough)


@cache
def _line(size_bytes: tuple[float, ...], time_s: tuple[float, ...]) -> tuple[float, float, float]:
    """Sum of squared relative errors, latency [s] and rate [bytes/s] of one straight line, to three digits."""
    sizes, times = np.array(size_bytes), np.array(time_s)
    columns = np.column_stack([1.0 / times, sizes / times])
    scale = columns.max(axis=0)
    latency_s, byte_s = nnls(columns / scale, np.ones_like(times))[0] / scale
    latency_s, rate = float(f"{latency_s:.3g}"), float(f"{1.0 / max(byte_s, 1e-15):.3g}")
    return float((relative_errors(latency_s + sizes / rate, times) ** 2).sum()), latency_s, rate
