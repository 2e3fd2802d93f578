"""The ledgers of a study: means by policy and entry, and a verdict."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tokenfleet.envs.layers.ledger import Check, Entry, Ledger, LedgerError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.ledgers import LedgerBook
from tokenfleet.evaluation.study import run_study
from tokenfleet.policies import PolicyContext, make_policy

MAKE_ENV = partial(FleetVectorEnv, "tiny", overrides={"horizon_ticks": 20}, split="test")


def ledger(usd: float, value: float = 1.0) -> Ledger:
    entries = (Entry("power", "grid", usd=usd, joules=2.0), Entry("gpu", "rent of all boards", "beyond", usd=-1.0))
    return Ledger(entries, (Check("agents", "sums", "USD", value, 1.0, 1.0, 1e-9),))


def test_lines_are_means_over_episodes() -> None:
    book = LedgerBook()
    for usd in (-1.0, -2.0):
        book.add("mine", ledger(usd))
    book.add("other", ledger(5.0))
    assert book.csv().splitlines() == [
        "policy,layer,item,account,usd,joules,grams,tokens",
        "mine,power,grid,net,-1.5,2.0,0.0,0.0",
        "mine,gpu,rent of all boards,beyond,-1.0,0.0,0.0,0.0",
        "other,power,grid,net,5.0,2.0,0.0,0.0",
        "other,gpu,rent of all boards,beyond,-1.0,0.0,0.0,0.0",
    ]


def test_an_audit_counts_checks_or_says_for_whom_which_layer_and_sums_do_not_agree() -> None:
    book = LedgerBook()
    book.add("mine", ledger(1.0))
    assert book.audit().startswith("The ledger balances: all 1 checks")
    for value in (1.5, 1.0, 1.25):
        book.add("other", ledger(1.0, value=value))
    with pytest.raises(LedgerError) as raised:
        book.audit()
    assert str(raised.value).splitlines()[1:] == ["other: agents: sums: 1.5 USD, must be 1 (2 episodes)"]


def study(batch_size: int) -> tuple[LedgerBook, float]:
    book = LedgerBook()
    env = MAKE_ENV(1)
    names = ("least_work", "max_clock")
    candidates = [Candidate(make_policy(name, PolicyContext.from_env(env)), name) for name in names]
    rows = run_study(MAKE_ENV, candidates, 5, 0, batch_size=batch_size, on_ledger=book.add)
    return book, float(np.mean([row.metrics["net_value_usd"] for row in rows if row.policy == "least_work"]))


def test_a_study_sums_to_its_net_value_however_many_episodes_run_side_by_side() -> None:
    book, net_value_usd = study(batch_size=2)
    lines = list(csv.DictReader(book.csv().splitlines()))
    earned = sum(float(line["usd"]) for line in lines if (line["policy"], line["account"]) == ("least_work", "net"))
    assert earned == pytest.approx(net_value_usd, rel=1e-12)
    assert study(batch_size=5)[0].csv() == book.csv()


def test_a_check_of_nothing_known_does_not_hold() -> None:
    assert not replace(ledger(1.0).checks[0], value=float("nan")).holds
