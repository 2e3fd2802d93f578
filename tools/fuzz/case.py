"""A case: a seed, what of its instances is left out, and what the two engines make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

import numpy as np

from tests.engine.agreement import assert_same
from tests.engine.instances import Instance, Situation, random_instances
from tests.engine.runs import Run, run, run_batch
from tokenfleet.envs.spec import SpecError, suggest
from tools.fuzz.malformed import assert_all_refused
from tools.fuzz.omit import OMISSIONS, first_ticks, only_rows

FLAGS = tuple(field.name for field in fields(Situation) if field.default is False)
"""Features of a `Situation`, which make another instance if they are left out."""
NUMBERS = re.compile(r"-|\d+(\+\d+)*")
"""How places are written: `0+3`, or `-` for none."""


@dataclass(frozen=True)
class Case:
    """Which instances to run.

    Attributes:
        seed: decides everything that is not left out.
        without: features and parts that are left out: of `FLAGS` and `OMISSIONS`.
        fleets: places of the fleets of the batch that are kept; None for all.
        ticks: length of the episode; 0 for as many as the seed says.
        rows: rows of the request tables that are kept; None for all.
    """

    seed: int
    without: tuple[str, ...] = ()
    fleets: tuple[int, ...] | None = None
    ticks: int = 0
    rows: tuple[int, ...] | None = None

    def __str__(self) -> str:
        parts = {
            "fleets": None if self.fleets is None else _written(self.fleets),
            "ticks": self.ticks or None,
            "rows": None if self.rows is None else _written(self.rows),
            "without": "+".join(self.without) or None,
        }
        return ":".join([str(self.seed), *(f"{name}={value}" for name, value in parts.items() if value is not None)])

    @classmethod
    def parse(cls, text: str) -> Case:
        """What `str` wrote.

        Raises:
            SpecError: it is something else.

        >>> Case.parse("7:fleets=1:rows=0+3:without=warm+failures")
        Case(seed=7, without=('warm', 'failures'), fleets=(1,), ticks=0, rows=(0, 3))
        """
        seed, *parts = text.split(":")
        given = dict(part.partition("=")[::2] for part in parts)
        is_well_formed = (
            {*given} <= {"fleets", "ticks", "rows", "without"}
            and seed.isdecimal()
            and given.get("ticks", "0").isdecimal()
            and all(NUMBERS.fullmatch(given.get(name, "-")) for name in ("fleets", "rows"))
        )
        if not is_well_formed:
            raise SpecError([f"--replay: must be what the fuzz printed, as 7:fleets=1:rows=0+3 (got {text!r})"])
        without = tuple(given["without"].split("+")) if "without" in given else ()
        if unknown := [name for name in without if name not in (*FLAGS, *OMISSIONS)]:
            raise SpecError([f"--replay: unknown feature {unknown[0]!r}{suggest(unknown[0], (*FLAGS, *OMISSIONS))}"])
        fleets, rows = (_read(given[name]) if name in given else None for name in ("fleets", "rows"))
        return cls(int(seed), without, fleets, int(given.get("ticks", 0)), rows)

    @property
    def situation(self) -> Situation:
        """What its instances are like."""
        rng = np.random.default_rng([self.seed, 1])
        drawn = {name: bool(rng.random() < 0.3) for name in FLAGS}
        kept = {name: drawn[name] and name not in self.without for name in FLAGS}
        kept["long_clock"] &= not kept["huge"]
        load, cap_share = float(rng.choice([0.3, 0.5, 1.0, 1.0, 2.0, 4.0])), float(rng.choice([0.4, 0.7, 1.0, 100.0]))
        return Situation(load=load, cap_share=cap_share, **kept)

    def instances(self) -> list[Instance]:
        """One for each fleet of the batch."""
        drawn = range(int(np.random.default_rng([self.seed, 2]).choice([1, 1, 2, 3])))
        kept = [fleet for fleet in drawn if self.fleets is None or fleet in self.fleets]
        every = random_instances(self.seed, len(drawn), self.situation)
        return [self._less(every[fleet]) for fleet in kept or [0]]

    def _less(self, instance: Instance) -> Instance:
        if self.rows is not None:
            instance = only_rows(instance, self.rows)
        if self.ticks:
            instance = first_ticks(instance, self.ticks)
        for name in self.without:
            if name in OMISSIONS:
                instance = OMISSIONS[name](instance)
        return instance


def _written(places: tuple[int, ...]) -> str:
    return "+".join(map(str, places)) or "-"


def _read(places: str) -> tuple[int, ...]:
    return () if places == "-" else tuple(map(int, places.split("+")))


def check(case: Case) -> int:
    """Run a case in both engines, the native one as a batch of two threads; raises where they part.

    Returns:
        How many instances it has.
    """
    instances = case.instances()
    native = run_batch("native", instances, threads=2)
    for instance, got in zip(instances, native, strict=True):
        assert_same(_reference(instance), got)
    if "malformed" not in case.without:
        assert_all_refused(instances[0], np.random.default_rng([case.seed, 3]))
    return len(instances)


def _reference(instance: Instance) -> Run:
    return run("reference", instance.arrays, instance.episode, instance.controls)


def lighter(case: Case) -> list[Case]:
    """Cases with less in them, the boldest first, but for their requests and ticks."""
    features = [name for name in (*FLAGS, *OMISSIONS) if name not in case.without]
    fleets = range(len(case.instances())) if case.fleets is None else ()
    return [
        *(replace(case, fleets=(fleet,)) for fleet in fleets),
        *(replace(case, without=(*case.without, name)) for name in features),
    ]
