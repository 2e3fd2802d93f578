"""Watts of boards and servers: Perseus by clock, Zeus by power limit, the fans of GreenSKU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd


def perseus(source: Path) -> pd.DataFrame:
    """Perseus: the pipeline stages of GPT-3 175B on an A100 at locked clocks; MHz, s, J."""
    return pd.read_csv(source / "gpu_power/perseus_sosp24/gpt3-175b+a100_sxm_bf16.csv").round(6)


def perseus_a40(source: Path) -> pd.DataFrame:
    """The same on an A40, whose limit of 300 W binds above 1440 of 1740 MHz; stages 1 to 6 repeat stage 0."""
    rows = pd.read_csv(source / "gpu_power/perseus_sosp24/gpt3-175b+a40_bf16.csv")
    return rows[rows.stage.isin((0, 7))].round(6)


def capping(source: Path) -> pd.DataFrame:
    """Zeus: training jobs on one V100 under power limits; s per epoch, mean W."""
    rows = pd.read_csv(source / "gpu_power/zeus_nsdi23/summary_power_v100.csv")
    return rows.round(4)


def server_fans(source: Path) -> pd.DataFrame:
    """GreenSKU: power of whole servers and of their fans, W."""
    rows = pd.read_csv(source / "gpu_power/azure_greensku_server_fan_power.csv")
    return rows[["server power", "fan power"]].set_axis(["server_w", "fan_w"], axis=1).round(2)


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "perseus.csv": perseus,
    "perseus_a40.csv": perseus_a40,
    "capping.csv": capping,
    "server_fans.csv": server_fans,
}
"""File of `data/` -> what cuts it out of the originals."""
