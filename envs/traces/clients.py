"""What each client of a service sends: rates and burstiness by window, and token counts."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError, suggest


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


def write_clients(table: ClientTable, path: Path | str) -> None:
    """Write the compact `.npz` form, as the catalogue ships it."""
    np.savez_compressed(path, **{column.name: getattr(table, column.name) for column in fields(ClientTable)})


def read_clients(path: Path | str) -> ClientTable:
    """Read what `write_clients` wrote; the same unchanged file is read once per process.

    Raises:
        SpecError: the file is not such an archive.
    """
    path = Path(path)
    try:
        status = path.stat()
        return _read_version(path, status.st_mtime_ns, status.st_size)
    except SpecError:
        raise
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise SpecError([f"{path}: not an archive of clients: {error}"]) from None


@lru_cache(maxsize=8)
def _read_version(path: Path, modified_ns: int, size_bytes: int) -> ClientTable:
    """Read once for each version of the file; time and size are the key of that version."""
    with np.load(path, allow_pickle=False) as archive:
        stored: dict[str, Any] = {key: archive[key] for key in archive.files}
    missing = [column.name for column in fields(ClientTable) if column.name not in stored]
    if missing:
        raise SpecError([f"{path}: holds no clients: column {missing[0]!r} is missing{suggest(missing[0], stored)}"])
    return ClientTable(**{column.name: stored[column.name] for column in fields(ClientTable)})
