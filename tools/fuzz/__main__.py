"""Run random instances in both engines until they part or the time is over.

    python -m tools.fuzz --minutes 10 --first-seed 5000
    python -m tools.fuzz --replay 4711:fleets=1:ticks=3:rows=0+7:without=warm

A defect is a difference between the engines, a crash, a hang, or an input that should have been refused. The smallest
counter-example is printed with the command that replays it, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator

from tokenfleet.envs.spec import SpecError
from tools.fuzz.case import Case
from tools.fuzz.isolation import problem_of, verdicts
from tools.fuzz.shrink import Shrinker

REPORT_EVERY_S = 30.0


def main() -> int:
    """See the module; returns the exit status."""
    options = _options()
    if options.replay:
        problem = problem_of(options.replay)
        print(problem or f"{options.replay}: both engines agree")
        return 1 if problem else 0
    minutes = options.minutes if options.minutes is not None else 1.0 if options.cases is None else math.inf
    return _fuzz(options.first_seed, minutes, options.cases)


def _fuzz(first_seed: int, minutes: float, most_cases: int | None) -> int:
    begun_s = told_s = time.monotonic()
    seeds = itertools.count(first_seed) if most_cases is None else range(first_seed, first_seed + most_cases)
    cases = instances = 0
    for verdict in verdicts(_until(seeds, begun_s + 60.0 * minutes)):
        if verdict.problem:
            print(_progress(first_seed, cases, instances, begun_s), flush=True)
            _explain(verdict.case, verdict.problem)
            return 1
        cases, instances = cases + 1, instances + verdict.instances
        if time.monotonic() - told_s > REPORT_EVERY_S:
            told_s = time.monotonic()
            print(_progress(first_seed, cases, instances, begun_s), flush=True)
    print(f"{_progress(first_seed, cases, instances, begun_s)}; go on with --first-seed {first_seed + cases}")
    return 0


def _until(seeds: Iterator[int] | range, end_s: float) -> Iterator[Case]:
    for seed in seeds:
        if time.monotonic() > end_s:
            return
        yield Case(seed)


def _progress(first_seed: int, cases: int, instances: int, begun_s: float) -> str:
    rate = instances / max(time.monotonic() - begun_s, 1e-9)
    return f"seeds {first_seed} to {first_seed + cases - 1}: {instances} instances agree, {rate:.1f} a second"


def _explain(case: Case, problem: str) -> None:
    print(f"\nseed {case.seed}: {problem}\n\nlooking for a smaller counter-example ...", flush=True)
    smallest = Shrinker(lambda candidate: bool(problem_of(candidate))).shrink(case)
    print(f"\n{problem_of(smallest)}\n\nreplay it: python -m tools.fuzz --replay {smallest}")


def _case(text: str) -> Case:
    try:
        return Case.parse(text)
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, help="how long to go on (default: 1, or as long as --cases takes)")
    parser.add_argument(
        "--cases", type=int, help="how many seeds to try at most (default: as many as there is time for)"
    )
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin; a run prints where the next goes on")
    parser.add_argument("--replay", type=_case, metavar="CASE", help="run one case, as a counter-example names it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
