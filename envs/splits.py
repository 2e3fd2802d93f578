"""The parts of recordings, weeks and random streams: no policy is judged by the part that it learned from."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
