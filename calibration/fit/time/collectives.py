"""Latency and rate of collectives by interconnect, number of boards and size of the message (aiconfigurator).

Each series of measured sizes is cut into at most three stretches, where a straight line through each leaves the least
squares of relative error: libraries change their algorithm there.

Lines that nobody timed follow from all timed ones, by three numbers of each collective (`fit_lines`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from calibration.excerpts import table
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.fitting.least_squares import minimise
from tokenfleet.envs.layers.gpu import LINE_LAWS, Collective, LineLaw, load_interconnect

MEASURED_ON = {
    "nvlink-3": "a100-sxm-80gb",
    "nvlink-4": "h100-sxm",
    "nvlink-5": "b200-sxm",
    "pcie-4": "l40s",
    "pcie-5": "rtx-pro-6000-blackwell-server",
}
"""Interconnect -> the board whose collectives it is fitted to; the H200's judge those of the H100 (`claims`)."""
NCCL_ALONE = {"pcie-4-nccl": "pcie-4", "pcie-5-nccl": "pcie-5"}
"""Interconnect with NCCL's all-reduces between two boards -> the one that is alike in all else."""
COLLECTIVES: tuple[Collective, ...] = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
PIECES = 3
SHORTEST = 4  # measured sizes of a stretch
BOARDS_OF_A_SOCKET = 2  # over PCIe, of the hosts that were timed
SERVED = (2**13, 2**26)  # bytes: an all-reduce of one token of a small model, and of 4096 tokens of a large one
LINE_START = (6.0, 1.2, 0.6)  # latency [us], growth, share
LINE_BOUNDS = ((0.1, 0.5, 0.05), (100.0, 4.0, 1.0))
Piece = tuple[float, float, float]  # from so many bytes on: latency [s], rate [bytes/s]


@cache
def fit_interconnect(name: str) -> dict[str, dict[int, list[Piece]]]:
    """Collective -> number of boards -> its pieces, as the catalogue has them."""
    if name in NCCL_ALONE:
        like = fit_interconnect(NCCL_ALONE[name])
        rows = table("nccl_all_reduces").query("gpu == @MEASURED_ON[@NCCL_ALONE[@name]]")
        between_two = fit_pieces(rows.bytes.to_numpy(float), 1e-6 * rows.time_us.to_numpy())
        return {**like, "all_reduce": {**like["all_reduce"], 2: between_two}}
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


def is_across_sockets(interconnect: str, boards: int) -> bool:
    """Whether so many boards of a measured host exchange between its sockets."""
    return interconnect.startswith("pcie") and boards > BOARDS_OF_A_SOCKET


def timed_on_lines() -> pd.DataFrame:
    """Collectives of the sizes in serving, over boards that reach each other without crossing their host's sockets.

    With `interconnect` and its `link_bytes_per_s`; treat it as read-only.
    """
    names = {gpu: name for name, gpu in MEASURED_ON.items()}
    rows = table("collectives")
    rows = rows[rows.gpu.isin(names) & rows.bytes.between(*SERVED)]
    rows = rows.assign(interconnect=rows.gpu.map(names))
    crossing = [is_across_sockets(*pair) for pair in zip(rows.interconnect, rows.boards, strict=True)]
    rows = rows[~np.array(crossing)]
    rates = {name: load_interconnect(name).link_bytes_per_s for name in MEASURED_ON}
    return rows.assign(link_bytes_per_s=rows.interconnect.map(rates))


@cache
def fit_lines(collective: Collective, without: str = "") -> LineLaw:
    """Three numbers of a collective from every interconnect but one, by least squares of logarithms."""
    rows = timed_on_lines()
    rows = rows[(rows.collective == collective) & (rows.interconnect != without)]
    passes, measured_s = LINE_LAWS[collective].passes, 1e-6 * rows.time_us.to_numpy()

    def error(x: Array) -> Array:
        law = LineLaw(1e-6 * float(x[0]), float(x[1]), float(x[2]), passes)
        return np.asarray(np.log(lines_s(law, rows) / measured_s))

    latency_us, growth, share = minimise(error, [list(LINE_START)], bounds=LINE_BOUNDS, soft=0.1).values.tolist()
    return LineLaw(1e-6 * latency_us, growth, share, passes)


def lines_s(law: LineLaw, rows: pd.DataFrame) -> Array:
    """What a collective takes by a law of lines [s]."""
    time_s = np.empty(len(rows))
    for (boards, rate), own in rows.reset_index(drop=True).groupby(["boards", "link_bytes_per_s"]):
        [(_, latency_s, bytes_per_s)] = law.pieces(int(boards), float(rate))
        time_s[own.index] = latency_s + own.bytes / bytes_per_s
    return time_s


@cache
def _line(size_bytes: tuple[float, ...], time_s: tuple[float, ...]) -> tuple[float, float, float]:
    """Sum of squared relative errors, latency [s] and rate [bytes/s] of one straight line, to three digits."""
    sizes, times = np.array(size_bytes), np.array(time_s)
    columns = np.column_stack([1.0 / times, sizes / times])
    scale = columns.max(axis=0)
    latency_s, byte_s = nnls(columns / scale, np.ones_like(times))[0] / scale
    latency_s, rate = float(f"{latency_s:.3g}"), float(f"{1.0 / max(byte_s, 1e-15):.3g}")
    return float((relative_errors(latency_s + sizes / rate, times) ** 2).sum()), latency_s, rate
