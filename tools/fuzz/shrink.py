"""The smallest case that still shows the problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tools.fuzz.case import Case, lighter

MOST_TRIES = 400


class Shrinker:
    """Tries lighter cases until none of them fails any more, or it has tried often enough."""

    def __init__(self, fails: Callable[[Case], bool]) -> None:
        """`fails` says whether a case shows the problem."""
        self._fails = fails
        self._tries = 0

    def shrink(self, case: Case) -> Case:
        """The smallest failing case that was found; `case` itself must fail."""
        smaller = self._fewer_rows(self._fewer_ticks(self._lighter(case)))
        return smaller if smaller == case or self._tries >= MOST_TRIES else self.shrink(smaller)

    def _still_fails(self, case: Case) -> bool:
        self._tries += 1
        return self._tries <= MOST_TRIES and self._fails(case)

    def _lighter(self, case: Case) -> Case:
        """One fleet, and fewer features, one after the other."""
        for candidate in lighter(case):
            without = tuple(dict.fromkeys((*case.without, *candidate.without)))
            merged = replace(case, fleets=case.fleets or candidate.fleets, without=without)
            if merged != case and self._still_fails(merged):
                case = merged
        return case

    def _fewer_ticks(self, case: Case) -> Case:
        """The shortest episode, by halving."""
        low, high = 0, case.ticks or case.instances()[0].arrays.horizon_ticks
        while high - low > 1:
            middle = (low + high) // 2
            if self._still_fails(replace(case, ticks=middle)):
                high = middle
            else:
                low = middle
        return replace(case, ticks=high) if self._still_fails(replace(case, ticks=high)) else case

    def _fewer_rows(self, case: Case) -> Case:
        """Requests taken away in runs, long ones first (Zeller's delta debugging)."""
        longest = max(len(instance.episode.requests) for instance in case.instances())
        rows = tuple(range(longest)) if case.rows is None else case.rows
        run = max(len(rows) // 2, 1)
        while rows and self._tries < MOST_TRIES:
            for first in range(0, len(rows), run):
                fewer = replace(case, rows=rows[:first] + rows[first + run :])
                if self._still_fails(fewer):
                    case, rows = fewer, fewer.rows or ()
                    break
            else:
                if run == 1:
                    break
                run = max(run // 2, 1)
        return case
