"""Rows of one action, written segment by segment."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenfleet.envs.interface.segments import Segment


def decoded(action: Any, **segments: object) -> Any:
    """What one row stands for: the given entries by name of segment, and 0 elsewhere."""
    row = np.zeros((1, *action.space.shape))
    for segment in action.table:
        row[0, segment.columns] = segments.pop(segment.name, 0.0)
    assert not segments
    return action.decode(row)


def segment_of(action: Any, name: str) -> Segment:
    return next(segment for segment in action.table if segment.name == name)
