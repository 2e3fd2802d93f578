"""What each client of a service sends: rates and burstiness by window, and token counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.files import Version, version_of
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces.archive import stored_columns


@dataclass(frozen=True, eq=False)
class ClientTable:
    """C clients over W windows of equal length.

    Attributes:
        window_s: `[1]` float64, length of a window [s].
        rate_rps: `[C, W]` float32, 0 where a client is silent.
        shape: `[C, W]` float32, shape of the distribution of inter-arrival times; its mean is 1 / rate.
        weibull: `[C, W]` bool, Weibull where true, else Gamma.
        prompt_tokens, output_tokens: `[C, Q]` float32, quantiles of token counts; rows of clients of which none are
            known hold those of all.
        probabilities: `[Q]` float64, of the quantiles.
    """

    window_s: NDArray[np.float64]
    rate_rps: NDArray[np.float32]
    shape: NDArray[np.float32]
    weibull: NDArray[np.bool_]
    prompt_tokens: NDArray[np.float32]
    output_tokens: NDArray[np.float32]
    probabilities: NDArray[np.float64]

    @property
    def mean_rate_rps(self) -> float:
        """Requests per second of all clients, over all windows."""
        return float(self.rate_rps.sum(axis=0, dtype=np.float64).mean())

    @property
    def span_s(self) -> float:
        """Length of the record [s]."""
        return float(self.window_s[0] * self.rate_rps.shape[1])


def write_clients(table: ClientTable, path: Path | str | BinaryIO) -> None:
    """Write the compact `.npz` form, as the catalogue ships it."""
    np.savez_compressed(path, **{column.name: getattr(table, column.name) for column in fields(ClientTable)})


def read_clients(path: Path | str) -> ClientTable:
    """Read what `write_clients` wrote; the same unchanged file is read once per process.

    Raises:
        SpecError: the file is not such an archive.
    """
    path = Path(path)
    return _read_version(path, version_of(path))


@lru_cache(maxsize=8)
def _read_version(path: Path, version: Version) -> ClientTable:
    """Read once for each version of the file."""
    table = ClientTable(**stored_columns(path, ClientTable, "clients"))
    if problem := _problem(table):
        raise SpecError([f"{path}: {problem}; write it with tokenfleet.envs.traces.write_clients"])
    return table


def _problem(table: ClientTable) -> str:
    """What keeps a record from being drawn from; empty if nothing does."""
    if table.rate_rps.ndim != 2 or not table.rate_rps.size:
        return "rate_rps: must hold a row a client and a column a window"
    clients, quantiles = len(table.rate_rps), np.shape(table.probabilities)
    shapes = {
        "window_s": (1,),
        "shape": table.rate_rps.shape,
        "weibull": table.rate_rps.shape,
        "prompt_tokens": (clients, *quantiles),
        "output_tokens": (clients, *quantiles),
    }
    for name, wanted in shapes.items():
        if getattr(table, name).shape != wanted:
            return f"{name}: must have shape {list(wanted)} (got {list(getattr(table, name).shape)})"
    sent = table.rate_rps > 0
    bad = {
        "window_s": not 0.0 < float(table.window_s[0]) < np.inf,
        "rate_rps": not (np.isfinite(table.rate_rps).all() and (table.rate_rps >= 0).all() and sent.any()),
        "shape": not (np.isfinite(table.shape[sent]).all() and (table.shape[sent] > 0).all()),
        "weibull": table.weibull.dtype != np.bool_,
        "probabilities": len(quantiles) != 1 or quantiles[0] < 2 or not _rises_inside_0_and_1(table.probabilities),
        **{name: not np.isfinite(getattr(table, name)).all() for name in ("prompt_tokens", "output_tokens")},
    }
    return next((f"{name}: holds a number that is out of range" for name, is_bad in bad.items() if is_bad), "")


def _rises_inside_0_and_1(probabilities: NDArray[np.float64]) -> bool:
    inside = bool((probabilities > 0).all() and (probabilities < 1).all())
    return inside and bool((np.diff(probabilities) > 0).all())
