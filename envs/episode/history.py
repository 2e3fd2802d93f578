"""What was done, or seen, at every tick of the current episodes of N fleets."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

Row = TypeVar("Row", covariant=True)


class Tick(Protocol[Row]):
    """What N fleets did or saw in a tick, by the index of the fleet; never changed afterwards."""

    def __getitem__(self, index: int, /) -> Row:
        """That of one fleet."""


class Stretch(NamedTuple, Generic[Row]):
    """Ticks in which a fleet's rows are those of one column."""

    ticks: list[Tick[Row]]
    column: int


class History(Generic[Row]):
    """Remembers one row a tick for each of N fleets, from the start of that fleet's episode.

    A fleet may take over the past of another; both then share it.

    >>> history = History[str](2)
    >>> history.append(["west 0", "east 0"])
    >>> history.begin(1)
    >>> history.append(["west 1", "east 1"])
    >>> history.of(0), history.of(1)
    (['west 0', 'west 1'], ['east 1'])
    >>> history.resume(1, history.past(0))
    >>> history.append(["west 2", "east 2"])
    >>> history.of(1)
    ['west 0', 'west 1', 'east 2']
    """

    def __init__(self, num_envs: int) -> None:
        self._ticks: list[Tick[Row]] = []
        self._first = [0] * num_envs
        self._before: list[tuple[Stretch[Row], ...]] = [()] * num_envs

    def append(self, tick: Tick[Row]) -> None:
        """Add a tick."""
        self._ticks.append(tick)

    def begin(self, index: int) -> None:
        """Forget what fleet `index` did: its next row is its first."""
        self.resume(index, ())

    def past(self, index: int) -> tuple[Stretch[Row], ...]:
        """What fleet `index` did so far, for `resume`."""
        return (*self._before[index], Stretch(self._ticks[self._first[index] :], index))

    def resume(self, index: int, past: tuple[Stretch[Row], ...]) -> None:
        """Give fleet `index` a past: its next row follows on that."""
        self._before[index] = tuple(stretch for stretch in past if stretch.ticks)
        self._first[index] = len(self._ticks)
        unused = min(self._first)
        if unused:
            del self._ticks[:unused]
            self._first = [first - unused for first in self._first]

    def of(self, index: int) -> list[Row]:
        """Fleet `index`'s rows, T of them."""
        return [tick[column] for ticks, column in self.past(index) for tick in ticks]
