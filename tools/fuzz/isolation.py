"""Cases in a process of their own: an engine that crashes or hangs must not take the fuzz with it."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

from tools.fuzz.case import Case, check

CPU_LIMIT_S = 60.0
"""Of computing, after which a case is ended; an ordinary one takes a tenth of a second."""
WAIT_LIMIT_S = 1800.0
"""After this time a case that does not compute counts as hanging, even on a busy machine."""
_FORK = multiprocessing.get_context("fork")


class Verdict(NamedTuple):
    """What a case came to: how many instances agree, or else what is wrong."""

    case: Case
    instances: int
    problem: str


def verdicts(cases: Iterator[Case]) -> Iterator[Verdict]:
    """One verdict after the other, all from one child process, up to the first verdict that is a problem."""
    receiver, sender = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=_report, args=(sender, cases), daemon=True)
    child.start()
    sender.close()
    try:
        while True:
            case: Case = receiver.recv()
            verdict = _wait(receiver, case)
            yield verdict
            if verdict.problem:
                return
    except EOFError:  # the cases have come to their end
        return
    finally:
        child.kill()
        child.join()


def problem_of(case: Case) -> str:
    """What is wrong with one case, in a process of its own; empty if nothing is."""
    return next(verdicts(iter([case]))).problem


def _wait(receiver: Connection, case: Case) -> Verdict:
    if not receiver.poll(WAIT_LIMIT_S):
        return Verdict(case, 0, f"does not end within {WAIT_LIMIT_S:.0f} s")
    try:
        verdict: Verdict = receiver.recv()
    except EOFError:
        return Verdict(case, 0, f"ends the process, or computes for more than {CPU_LIMIT_S:.0f} s")
    return verdict


def _report(sender: Connection, cases: Iterator[Case]) -> None:
    for case in cases:
        sender.send(case)
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)  # SIGPROF ends a process that does not expect it
        verdict = _judge(case)
        sender.send(verdict)
        if verdict.problem:
            return


def _judge(case: Case) -> Verdict:
    try:
        return Verdict(case, check(case), "")
    except AssertionError as error:
        return Verdict(case, 0, str(error).strip() or "an assertion failed")
    except Exception:
        return Verdict(case, 0, traceback.format_exc().strip())
