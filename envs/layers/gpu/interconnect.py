"""Layer 3, interconnects: how long boards of one server take to exchange what each of them holds.

A collective of s bytes over g boards takes

    time = latency + s / rate

with latency and rate of the piece that s falls into. Libraries change their algorithm with the size of a message, from
a quick algorithm to one that fills the lines, so time may step where a piece begins. A board holds s bytes before an
all-reduce or a reduce-scatter, after an all-gather, and before an all-to-all. In an all-to-all a board keeps 1/g of
them. Between measured numbers of boards and beyond the most, times go straight with the logarithm of the number. Fewer
boards than were measured take as long as the fewest. Where one number was measured alone, any other takes as long
(assumption).

A collective that an entry leaves out follows from the lines alone,

    latency = latency_s * growth^(log2 g - 1),    rate = share * link_bytes_per_s * s / traffic
    traffic = s (g - 1) / g, twice that in an all-reduce: what a ring sends from each board

with three numbers of each collective, fitted to five interconnects whose boards all reach each other (`LINE_LAWS`).
All-reduces of an interconnect that took no part in the fit are 7 to 31 % off. Lines across two sockets of a host are
not of that kind: their times depend on the host, not on the rate of the lines.

Every number is data: `tokenfleet/envs/catalog/interconnect/<name>.yaml`, with its sources. Those of all-reduces are
what vLLM picks by size: a kernel of its own that reads the other boards' memory (up to 8 MiB on the A100, and over PCIe
between two boards only), multicast memory on H100 and newer, NCCL beyond.

References:
    P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", JPDC 2009,
    doi:10.1016/j.jpdc.2008.09.002.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.layers.gpu.power_law import Number
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, SpecError

LARGE_BYTES = 64e6  # a board's part of the KV cache of a few thousand tokens of a large model
Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]
Piece = tuple[NonNegativeFloat, NonNegativeFloat, PositiveFloat]  # from so many bytes on: latency [s], rate [bytes/s]
Pieces = Annotated[tuple[Piece, ...], Field(min_length=1)]
ByBoards = Annotated[dict[PositiveInt, Pieces], Field(min_length=1)]
BY_LINES: Any = Field(json_schema_extra={"left_out": "from the lines"})
BOARDS_BY_LINES = (2, 4, 8)  # numbers of boards that an entry without a collective gets pieces for


class LineLaw(NamedTuple):
    """Time of a collective over lines without measurements.

    Attributes:
        latency_s: between two boards [s].
        growth: factor on the latency with each doubling of the boards.
        share: share of a line's rate that is reached.
        passes: how often a ring sends a message's (g - 1) / g from each board.
    """

    latency_s: float
    growth: float
    share: float
    passes: float

    def pieces(self, boards: int, link_bytes_per_s: float) -> list[tuple[float, float, float]]:
        """One piece: from 0 bytes on, latency [s] and rate [bytes/s].

        >>> LineLaw(5e-6, 1.25, 0.5, 2.0).pieces(2, 64e9)
        [(0.0, 5e-06, 32000000000.0)]
        """
        latency_s = self.latency_s * self.growth ** (math.log2(boards) - 1.0)
        traffic = self.passes * (boards - 1.0) / boards
        return [(0.0, latency_s, self.share * link_bytes_per_s / traffic)]


# `calibration/fit/time/collectives.py`; a test holds them to it.
LINE_LAWS: dict[Collective, LineLaw] = {
    "all_reduce": LineLaw(5.12e-06, 1.25, 0.567, 2.0),
    "all_gather": LineLaw(9.62e-06, 1.34, 0.457, 1.0),
    "reduce_scatter": LineLaw(9.25e-06, 1.31, 0.46, 1.0),
    "all_to_all": LineLaw(1.22e-05, 1.07, 0.485, 1.0),
}


class InterconnectSpec(Spec):
    """How the boards of a server are wired, and what their collectives take.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        link_bytes_per_s: rate of a board's lines in one direction, by their data sheet [bytes/s].
        all_reduce: number of boards -> pieces, each `[from so many bytes on, latency in s, rate in bytes/s]`; the first
            begins at 0. A collective that is left out follows from the lines (`LINE_LAWS`).
        all_gather: the same of all-gathers.
        reduce_scatter: the same of reduce-scatters.
        all_to_all: the same of all-to-alls.
        sources: where each number comes from, assumptions marked as such.
    """

    name: Name
    description: str = ""
    link_bytes_per_s: PositiveFloat
    all_reduce: ByBoards = BY_LINES
    all_gather: ByBoards = BY_LINES
    reduce_scatter: ByBoards = BY_LINES
    all_to_all: ByBoards = BY_LINES
    sources: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _by_lines(cls, values: Any) -> Any:
        link = values.get("link_bytes_per_s") if isinstance(values, dict) else None
        if isinstance(link, bool) or not isinstance(link, int | float) or not link > 0.0:
            return values
        lacking = {name: law for name, law in LINE_LAWS.items() if name not in values}
        drawn = {name: {g: law.pieces(g, float(link)) for g in BOARDS_BY_LINES} for name, law in lacking.items()}
        return {**values, **drawn}

    @model_validator(mode="after")
    def _check_pieces(self) -> Self:
        problems = []
        for name in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"):
            for boards, pieces in self._pieces(name).items():
                starts = [start for start, _, _ in pieces]
                if boards < 2:
                    problems.append(f"{name}: a collective takes two boards or more (got {boards})")
                if starts[0] != 0.0 or starts != sorted(set(starts)):
                    problems.append(f"{name}.{boards}: pieces must begin at 0 bytes and go up (got {starts})")
        if problems:
            raise SpecError(problems)
        return self

    def collective_s(self, collective: Collective, boards: int, size_bytes: Number) -> Number:
        """Time of a collective [s]; none on a single board.

        Args:
            collective: which.
            boards: g.
            size_bytes: s, a number or an array [bytes].

        >>> link = load_interconnect("nvlink-4")
        >>> 4e-6 < link.collective_s("all_reduce", 2, 8192.0) < 6e-6
        True
        >>> link.collective_s("all_reduce", 1, 8192.0)
        0.0
        """
        sizes = np.asarray(size_bytes, np.float64)
        time_s = np.zeros_like(sizes) if boards < 2 else self._between(self._pieces(collective), boards, sizes)
        return time_s if isinstance(size_bytes, np.ndarray) else float(time_s)

    def send_s(self, size_bytes: Number) -> Number:
        """Time to send bytes from one board to another [s]: an all-to-all of two boards that hold twice as many.

        >>> 1e9 / load_interconnect("nvlink-4").send_s(1e9) > 2e11
        True
        """
        return self.collective_s("all_to_all", 2, size_bytes * 2.0)

    @property
    def send_bytes_per_s(self) -> float:
        """Rate at which a board sends `LARGE_BYTES` to another [bytes/s].

        >>> [round(load_interconnect(name).send_bytes_per_s / 1e9) for name in ("nvlink-4", "pcie-5")]
        [259, 26]
        """
        return LARGE_BYTES / self.send_s(LARGE_BYTES)

    def _pieces(self, collective: str) -> dict[int, tuple[Piece, ...]]:
        pieces: dict[int, tuple[Piece, ...]] = getattr(self, collective)
        return pieces

    def _between(
        self, by_boards: dict[int, tuple[Piece, ...]], boards: int, sizes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        measured = sorted(by_boards)
        if boards in by_boards or boards < measured[0] or len(measured) == 1:
            return _pieces_s(by_boards[boards if boards in by_boards else measured[0]], sizes)
        above = min((index for index, known in enumerate(measured) if known > boards), default=len(measured) - 1)
        low, high = measured[max(above, 1) - 1], measured[max(above, 1)]
        low_s, high_s = (_pieces_s(by_boards[known], sizes) for known in (low, high))
        return np.asarray(low_s + (high_s - low_s) * (math.log(boards / low) / math.log(high / low)))


def load_interconnect(name: str, search_paths: Sequence[PathLike] = ()) -> InterconnectSpec:
    """An interconnect of the catalogue.

    Args:
        name: for example `nvlink-4`.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name or an invalid file.
    """
    return InterconnectSpec.parse(load_entry("interconnect", name, search_paths), f"interconnect.{name}")


def _pieces_s(pieces: Sequence[Piece], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    starts, latency_s, bytes_per_s = (np.array(column) for column in zip(*pieces, strict=True))
    piece = np.searchsorted(starts, sizes, side="right") - 1
    return np.asarray(latency_s[piece] + sizes / bytes_per_s[piece])
