"""What is not known of two boards without NVLink, in numbers: one server's requests by ways of wiring and planning.

No measurement judges this. It says by how much a prediction moves with two things that a user knows of his server and
the catalogue does not: how its boards reach each other, and whether it plans an iteration ahead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calibration.claims.replay import replay
from calibration.excerpts import table

BOARD = "rtx-pro-6000-blackwell-server"
SERVER: dict[str, object] = {
    "model": "qwen3-32b",
    "gpu": BOARD,
    "tensor_parallel": 2,
    "max_batch": 128,
    "token_budget": 2048,
    "kv_policy": "grow",
    "prefix_cache": True,
}
WIRINGS = {
    "PCIe 5.0, peer access": "pcie-5",
    "PCIe 5.0, NCCL": "pcie-5-nccl",
    "PCIe 4.0, as eight lanes of 5.0 are, peer access": "pcie-4",
    "PCIe 4.0, NCCL": "pcie-4-nccl",
    "NVLink 4": "nvlink-4",
}


class Served(NamedTuple):
    """Means over the requests [s]."""

    tpot_s: float
    e2e_s: float


def served(interconnect: str, planned_ahead: bool) -> Served:
    """The 300 requests of the real server with one such board, which ran an 8B model, by a roofline."""
    rows = table("vllm_requests").query("gpu == @BOARD")
    pool = {**SERVER, "interconnect": interconnect, "async_scheduling": planned_ahead}
    found = replay(pool, rows, profiled=False)
    return Served(float(np.nanmean(found.tpot_s)), float(found.e2e_s.mean()))


def wiring_rows() -> list[str]:
    """Rows of the page."""
    rows = []
    for words, name in WIRINGS.items():
        ahead, in_turn = served(name, True), served(name, False)
        rows.append(f"| {words} | {1e3 * ahead.tpot_s:.1f} ms | {ahead.e2e_s:.1f} s | {in_turn.e2e_s:.1f} s |")
    return rows
