"""The machines around the boards: their fans work harder the more the boards draw."""

from __future__ import annotations

FAN_W_PER_W = 0.217
"""Watts of fans for each further watt of all else in an air-cooled server.

The slope of the line through the eight servers of GreenSKU (Azure Public Dataset, CC-BY-4.0), 0.3 to 0.8 kW without
their fans: within 6 W of each (`calibration/data/server_fans.csv`).
"""

FAN_OFFSET_W = -29.0
"""Value of that line at zero load; the line holds from 300 W up."""


def fan_w(rest_w: float) -> float:
    """Fans of an air-cooled server whose other parts draw `rest_w` [W].

    >>> fan_w(700.0)
    122.9
    """
    return max(FAN_OFFSET_W + FAN_W_PER_W * rest_w, 0.0)
