"""Policies are compared on the episodes that all of them met, and on no others."""

from __future__ import annotations

import pytest

from tests.evaluation.synthetic import fleet_rows, row, rows_of
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.pairing import make_study
from tokenfleet.evaluation.results import EpisodeRow, merge_rows


def test_training_seeds_of_one_algorithm_form_one_method() -> None:
    study = make_study(fleet_rows(6))
    shapes = {method.name: method.scores["net_value_usd"].shape for method in study.methods}
    assert shapes == {
        "least_work": (1, 6),
        "careful_operator": (1, 6),
        "max_clock": (1, 6),
        "random": (1, 6),
        "ppo": (3, 6),
    }
    assert [method.name for method in make_study(fleet_rows(6), by_policy=True).methods][-3:] == [
        "ppo-seed0",
        "ppo-seed1",
        "ppo-seed2",
    ]


def test_a_second_checkpoint_of_a_training_seed_is_a_method_by_itself() -> None:
    trained = {"algorithm": "ppo", "learned": True}
    rows = [
        *rows_of("ppo-seed0", [1.0], training_seed=0, **trained),
        *rows_of("ppo-seed0-2", [2.0], training_seed=0, **trained),
        *rows_of("ppo-seed1", [3.0], training_seed=1, **trained),
    ]
    study = make_study(rows)
    assert {method.name: method.policies for method in study.methods} == {
        "ppo": ("ppo-seed0", "ppo-seed1"),
        "ppo-seed0-2": ("ppo-seed0-2",),
    }


def test_rows_of_two_policies_under_one_label_are_neither_merged_nor_compared() -> None:
    monday, tuesday = rows_of("ppo-seed0", [1.0], policy_hash="aa"), rows_of("ppo-seed0", [2.0], policy_hash="bb")
    merged = merge_rows(monday, tuesday)
    assert merged == [*monday, *tuesday]
    with pytest.raises(SpecError, match=r"ppo-seed0 is the label of policies \['aa', 'bb'\]; evaluate them together"):
        make_study(merged)


def test_only_episodes_that_everyone_met_are_compared() -> None:
    rows = [*rows_of("a", [1.0, 2.0, 3.0]), *reversed(rows_of("b", [4.0, 5.0]))]
    study = make_study(rows)
    assert (study.seeds, study.left_out) == ((100, 101), 1)
    assert study.methods[1].scores["net_value_usd"].tolist() == [[4.0, 5.0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([row("a", 100), row("b", 101)], "no episode was met by all of a, b"),
        ([row("a", 100), row("b", 100, config_hash="other")], "several environments"),
        ([row("a", 100), row("b", 100, split="train")], "several environments"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: list[EpisodeRow], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_study(rows)
