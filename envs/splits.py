"""What recordings, weeks and random streams are divided into, so that no policy is judged by what it learned from."""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
