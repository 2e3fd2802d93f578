"""A score is told of the protocol's episodes alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.synthetic import rows_of
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.protocol import Protocol, load_protocol, suite_score
from tokenfleet.evaluation.results import EpisodeRow
from tokenfleet.evaluation.suite import main, suite_scores
from tokenfleet.evaluation.summary import summarise
from tokenfleet.evaluation.table import print_table

REFERENCE = {
    "config_hash": "0123456789ab",
    "careful_usd": 1.0,
    "best_usd": 3.0,
    "best": "x",
    "found_by": "y",
    "version": "0",
}
PLAIN = {
    "name": "example-1",
    "split": "test",
    "seed": 0,
    "episodes": 4,
    "careful_operator": "careful_operator",
    "references": {"tiny": REFERENCE},
}
PROTOCOL = Protocol.parse(PLAIN)


def rows(episodes: int = 4, **identity: object) -> list[EpisodeRow]:
    both = [*rows_of("careful", [1.0] * episodes, **identity), *rows_of("better", [2.5] * episodes, **identity)]
    return scored(both)


def scored(found: list[EpisodeRow]) -> list[EpisodeRow]:
    """The rows with the seeds of the protocol's episodes."""
    seeds = episode_seeds(0, len(found))
    return [EpisodeRow(**{**vars(row), "seed": seeds[row.episode]}) for row in found]


def printed(rows: list[EpisodeRow], capsys: pytest.CaptureFixture[str]) -> str:
    print_table(summarise(rows), protocol=PROTOCOL)
    return capsys.readouterr().out


def test_the_table_has_the_score_beside_dollars(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: line for line in printed(rows(), capsys).splitlines() if line.strip()}
    assert "example-1" in printed(rows(), capsys)
    assert "75 [75, 75] *" in lines["better"]
    assert " 0 [0, 0]" in lines["careful"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (rows(episodes=3), "No score: example-1 is about split=test seed=0 episodes=4."),
        (rows(split="validation"), "No score: example-1 is about split=test seed=0 episodes=4."),
        (rows(config_hash="ba9876543210"), "No score: tiny is not the scenario that example-1 has frozen."),
    ],
)
def test_other_episodes_get_no_score(other: list[EpisodeRow], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(other, capsys)
    assert why in text
    assert "score" not in text.replace(why, "")


def test_a_scenario_without_a_reference_gets_neither_score_nor_complaint(capsys: pytest.CaptureFixture[str]) -> None:
    assert "core" not in printed(rows(scenario="mine"), capsys)


def test_a_reference_must_leave_something_to_win() -> None:
    wrong = {**PLAIN, "references": {"tiny": {**REFERENCE, "best_usd": 1.0}}}
    with pytest.raises(SpecError, match="best_usd: must be above careful_usd"):
        Protocol.parse(wrong)


def test_the_shipped_protocol_is_about_shipped_scenarios() -> None:
    protocol = load_protocol()
    assert protocol.name == "tokenfleet-1"
    assert protocol.references.keys() <= set(catalog_names("scenario"))


def test_a_protocol_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml"):
        load_protocol(tmp_path / "none.yaml")


def test_the_score_of_a_suite_is_the_interquartile_mean_over_its_scenarios() -> None:
    references = {name: REFERENCE for name in ("a", "b", "c", "d")}
    protocol = Protocol.parse({**PLAIN, "references": references})
    levels = {"a": [1.0] * 4, "b": [2.0] * 4, "c": [2.5] * 4, "d": [-9.0] * 4}
    studies = [summarise(scored(rows_of("rule", values, scenario=name))) for name, values in levels.items()]
    found = suite_scores(studies, protocol)
    assert found == {"rule": {"a": 0.0, "b": 50.0, "c": 75.0, "d": -500.0}}
    assert suite_score(found["rule"].values()) == 25.0


def test_a_study_that_is_not_scored_is_named() -> None:
    with pytest.raises(SpecError, match="mine: example-1 has no reference for it"):
        suite_scores([summarise(rows(scenario="mine"))], PROTOCOL)


def test_a_folder_without_results_is_answered_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
