"""A case: a seed, what of its worlds is left out, and what the two engines make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

import numpy as np

from tests.engine.agreement import assert_same
from tests.engine.runs import Run, run, run_batch
from tests.engine.worlds import Situation, World, random_worlds
from tokenfleet.envs.spec import SpecError
from tools.fuzz.malformed import assert_all_refused
from tools.fuzz.omit import OMISSIONS, first_ticks, only_rows

FLAGS = tuple(field.name for field in fields(Situation) if field.default is False)
"""Features of a `Situation`, which make another world if they are left out."""
PART = re.compile(r"(?P<key>fleets|ticks|rows|without)=(?P<value>[\w.+-]+)")


@dataclass(frozen=True)
class Case:
    """Which worlds to run.

    Attributes:
        seed: decides everything that is not left out.
        without: features and parts that are left out: of `FLAGS` and `OMISSIONS`.
        fleets: fleets in the batch; 0 for as many as the seed says.
        ticks: length of the episode; 0 for as many as the seed says.
        rows: rows of the first fleet's request table that are kept; None for all.
    """

    seed: int
    without: tuple[str, ...] = ()
    fleets: int = 0
    ticks: int = 0
    rows: tuple[int, ...] | None = None

    def __str__(self) -> str:
        parts = [
            f"fleets={self.fleets}" if self.fleets else "",
            f"ticks={self.ticks}" if self.ticks else "",
            "" if self.rows is None else f"rows={'+'.join(map(str, self.rows)) or '-'}",
            f"without={'+'.join(self.without)}" if self.without else "",
        ]
        return ":".join([str(self.seed), *filter(None, parts)])

    @classmethod
    def parse(cls, text: str) -> Case:
        """What `str` wrote.

        >>> Case.parse("7:fleets=1:rows=0+3:without=warm+failures")
        Case(seed=7, without=('warm', 'failures'), fleets=1, ticks=0, rows=(0, 3))
        >>> str(Case.parse("7:fleets=1:rows=0+3"))
        '7:fleets=1:rows=0+3'
        """
        seed, *parts = text.split(":")
        found = [PART.fullmatch(part) for part in parts]
        if not seed.isdigit() or not all(found):
            raise SpecError([f"--replay: must be what the fuzz printed, as 7:fleets=1:rows=0+3 (got {text!r})"])
        given = {match["key"]: match["value"] for match in found if match}
        without = tuple(given["without"].split("+")) if "without" in given else ()
        if unknown := [name for name in without if name not in (*FLAGS, *OMISSIONS)]:
            raise SpecError(
                [f"--replay: unknown feature {unknown[0]!r} (choose from {', '.join((*FLAGS, *OMISSIONS))})"]
            )
        rows = None
        if "rows" in given:
            rows = tuple(int(row) for row in given["rows"].split("+") if row != "-")
        return cls(int(seed), without, int(given.get("fleets", 0)), int(given.get("ticks", 0)), rows)

    @property
    def situation(self) -> Situation:
        """What its worlds are like."""
        rng = np.random.default_rng([self.seed, 1])
        drawn = {name: bool(rng.random() < 0.3) for name in FLAGS}
        kept = {name: drawn[name] and name not in self.without for name in FLAGS}
        kept["long_clock"] &= not kept["huge"]
        load, cap_share = float(rng.choice([0.3, 0.5, 1.0, 1.0, 2.0, 4.0])), float(rng.choice([0.4, 0.7, 1.0, 100.0]))
        return Situation(load=load, cap_share=cap_share, **kept)

    def worlds(self) -> list[World]:
        """One for each fleet of the batch."""
        drawn = int(np.random.default_rng([self.seed, 2]).choice([1, 1, 2, 3]))
        worlds = random_worlds(self.seed, self.fleets or drawn, self.situation)
        if self.rows is not None:
            worlds[0] = only_rows(worlds[0], self.rows)
        if self.ticks:
            worlds = [first_ticks(world, self.ticks) for world in worlds]
        for name in self.without:
            if name in OMISSIONS:
                worlds = [OMISSIONS[name](world) for world in worlds]
        return worlds


def check(case: Case) -> int:
    """Run a case in both engines, the native one as a batch of two threads; raises where they part.

    Returns:
        How many worlds it has.
    """
    worlds = case.worlds()
    native = run_batch("native", worlds, threads=2)
    for world, got in zip(worlds, native, strict=True):
        assert_same(_reference(world), got)
    if "malformed" not in case.without:
        assert_all_refused(worlds[0], np.random.default_rng([case.seed, 3]))
    return len(worlds)


def _reference(world: World) -> Run:
    return run("reference", world.arrays, world.episode, world.controls)


def lighter(case: Case) -> list[Case]:
    """Cases with less in them, the boldest first, but for their requests and ticks."""
    features = [name for name in (*FLAGS, *OMISSIONS) if name not in case.without]
    fewer = [replace(case, fleets=1)] if case.fleets != 1 else []
    return [*fewer, *(replace(case, without=(*case.without, name)) for name in features)]
