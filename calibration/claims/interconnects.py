"""Claims of collectives: the pieces of an interconnect on boards, and of interconnects, that they never saw."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.excerpts import table
from calibration.fit.kernels import scaled
from calibration.fit.time.collectives import (
    MEASURED_ON,
    SERVED,
    fit_lines,
    is_across_sockets,
    lines_s,
    timed_on_lines,
)
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.gpu import InterconnectSpec, load_interconnect

UNSEEN_BOARD = ("nvlink-4", "h200-sxm")
LEFT_OUT = {"nvlink-4": "nvlink-3", "nvlink-5": "nvlink-4", "pcie-5": "pcie-4", "pcie-4": "pcie-5"}
"""Interconnect -> the older or newer one of its kind that it is predicted from."""


def collectives_as_fitted() -> Comparison:
    """All collectives by interconnect, boards and bytes, as fitted: three pieces for each series."""
    return _compared([(load_interconnect(name), gpu) for name, gpu in MEASURED_ON.items()])


def collectives_of_another_board() -> Comparison:
    """NVLink 4 fitted on H100, judged on H200: a board of another memory on the same lines, timed on its own."""
    name, gpu = UNSEEN_BOARD
    return _compared([(load_interconnect(name), gpu)])


def all_reduces_of_an_interconnect_left_out(across_sockets: bool) -> Comparison:
    """All-reduces of an interconnect from another of its kind: its latencies, rates by the ratio of lines."""
    pairs = []
    for name, like in LEFT_OUT.items():
        numbers = {"name": name, "link_bytes_per_s": load_interconnect(name).link_bytes_per_s}
        pairs.append((InterconnectSpec.parse({**numbers, **scaled(name, like)}), MEASURED_ON[name]))
    return _compared(pairs, "all_reduce", lambda name, boards: is_across_sockets(name, boards) == across_sockets)


def collectives_by_lines() -> Comparison:
    """Collectives of an interconnect by the rate of its lines alone, three numbers of each from all other ones."""
    frames = []
    for (name, collective), own in timed_on_lines().groupby(["interconnect", "collective"]):
        frames.append(own.assign(predicted=lines_s(fit_lines(collective, str(name)), own)))
    rows = pd.concat(frames)
    group = tuple(rows.interconnect + " " + rows.collective)
    return Comparison(1e-6 * rows.time_us.to_numpy(), rows.predicted.to_numpy(), group)


CLAIMS = (
    Claim("collectives, as fitted", collectives_as_fitted, 0.05),
    Claim("collectives, board left out", collectives_of_another_board, 0.08),
    Claim(
        "all-reduce, interconnect left out", partial(all_reduces_of_an_interconnect_left_out, across_sockets=False),
        judged_by="All-reduces of an interconnect from another of its kind: its latencies, its rates by the ratio of "
        "lines; NVLink, and two boards over PCIe",
    ),
    Claim(
        "all-reduce across sockets, interconnect left out",
        partial(all_reduces_of_an_interconnect_left_out, across_sockets=True),
        judged_by="The same of four and eight boards over PCIe: on twice as fast lines, one of two hosts exchanges "
        "eight times as fast as the other; how a host joins its sockets decides, so measure it",
    ),
    Claim("collectives, interconnect known by its lines alone", collectives_by_lines),
)  # fmt: skip


def _compared(
    pairs: list[tuple[InterconnectSpec, str]],
    only: str = "",
    chosen: Callable[[str, int], bool] = lambda name, boards: True,
) -> Comparison:
    measured: list[Array] = []
    predicted: list[Array] = []
    groups: list[str] = []
    for spec, gpu in pairs:
        rows = table("collectives")
        rows = rows[(rows.gpu == gpu) & rows.bytes.between(*SERVED)]
        for (collective, boards), own in rows[rows.collective.str.startswith(only)].groupby(["collective", "boards"]):
            if not chosen(spec.name, int(boards)):
                continue
            measured.append(1e-6 * own.time_us.to_numpy())
            predicted.append(spec.collective_s(collective, int(boards), own.bytes.to_numpy(float)))
            groups += [f"{gpu} {collective} over {boards}"] * len(own)
    return Comparison(np.concatenate(measured), np.concatenate(predicted), tuple(groups))
