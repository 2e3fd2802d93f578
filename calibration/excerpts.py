"""The measurements in `data/`; data/README.md says what each file holds and where it comes from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parent / "data"


@cache
def table(name: str) -> pd.DataFrame:
    """An excerpt by the name of its file, without its ending; treat it as read-only."""
    (path,) = DATA.glob(f"{name}.csv*")
    return pd.read_csv(path)
