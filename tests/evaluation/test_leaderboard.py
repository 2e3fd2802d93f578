"""The leaderboard: resumable, paired, honest about who wins, and what it ships plays as it was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.leaderboard import __main__ as leaderboard
from tokenfleet.evaluation.leaderboard import meeting
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.learning import CORRECTION, METHODS, Learned
from tokenfleet.evaluation.leaderboard.meeting import Meeting
from tokenfleet.evaluation.leaderboard.page import page
from tokenfleet.evaluation.leaderboard.standings import standing
from tokenfleet.evaluation.protocol import Protocol, load_protocol
from tokenfleet.evaluation.screen.record import read_record

EPISODES = 6
CONSTANTS, FEEDBACK, _ = METHODS
RULES = ["careful_operator", "operator", "polca"]


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return load_protocol().model_copy(update={"episodes": EPISODES})


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, protocol: Protocol) -> Path:
    """Of `tiny`, two training seeds of one generation, and three rules."""
    folder = tmp_path_factory.mktemp("leaderboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaderboard, "load_protocol", lambda: protocol)
        patch.setattr(leaderboard, "contenders", lambda chosen: RULES)
        assert _run(folder) == 0
    return folder


def _run(folder: Path) -> int:
    sizes = ["--seeds", "2", "--generations", "1", "--corrections", "128", "--validation", "2", "--workers", "1"]
    out = ["--out", str(folder), "--docs", str(folder / "docs"), "--ship", str(folder / "shipped")]
    return leaderboard.main(["--scenario", "tiny", *sizes, *out])


def _learned(seeds: int) -> list[Learned]:
    return [Learned({}, {FEEDBACK: 1.0, CORRECTION: float(seed), CONSTANTS: 9.0}, 1.0, 72) for seed in range(seeds)]


def _met(ahead_of_rule: float, ahead_of_constants: float, learned: list[Learned]) -> Meeting:
    noise = np.random.default_rng(0).normal(size=EPISODES)
    ours = 10.0 + noise
    rules = {"careful_operator": noise, "operator": ours - ahead_of_rule, "polca": noise + 1.0}
    methods = {FEEDBACK: np.array([ours, ours]), CONSTANTS: np.array([ours, ours]) - ahead_of_constants}
    methods[CORRECTION] = methods[FEEDBACK]
    above_s = {f"{method}/{seed}": 0.0 for method in METHODS for seed in range(2)} | dict.fromkeys(rules, 0.0)
    return Meeting(rules, methods, [one.best for one in learned], above_s)


def test_a_policy_that_ships_earns_on_the_test_episodes_what_was_measured(board: Path, protocol: Protocol) -> None:
    shipped = yaml.safe_load((board / "shipped" / "tuned" / "tiny" / "constants.yaml").read_text())
    cell = measure_cell(load_scenario("tiny"), shipped["policy"], EPISODES, protocol.seed, protocol.split)
    measured = read_record(board / "tiny.json")["measured"][f"{CONSTANTS}/{shipped['found']['seed']}"]
    assert cell["net_value_usd"] == measured["net_value_usd"]


def test_the_seed_that_ships_is_chosen_by_validation(board: Path) -> None:
    records = [read_record(board / "training" / f"tiny-{seed}.json")["measured"] for seed in (0, 1)]
    values = [record["validation"][CONSTANTS] for record in records]
    shipped = yaml.safe_load((board / "shipped" / "tuned" / "tiny" / "constants.yaml").read_text())["found"]
    assert shipped["seed"] == int(np.argmax(values))
    assert shipped["validation"]["value"] == max(values)


def test_feedback_ships_where_validation_chose_it(board: Path) -> None:
    records = [read_record(board / "training" / f"tiny-{seed}.json")["measured"] for seed in (0, 1)]
    chosen = any(record["validation"][FEEDBACK] >= record["validation"][CORRECTION] for record in records)
    assert (board / "shipped" / "pretrained" / "tiny.yaml").exists() is chosen


def test_a_second_run_measures_nothing_again(board: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (board / "docs" / "leaderboard.md").read_text()
    monkeypatch.setattr(leaderboard, "load_protocol", lambda: protocol)
    monkeypatch.setattr(leaderboard, "contenders", lambda chosen: RULES)
    monkeypatch.setattr(meeting, "measure_cell", lambda *arguments: pytest.fail("measured again"))
    assert _run(board) == 0
    assert (board / "docs" / "leaderboard.md").read_text() == before


def test_a_folder_of_another_training_is_refused(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--seeds", "1", "--generations", "2", "--corrections", "128", "--validation", "2", "--workers", "1"]
    assert leaderboard.main(["--scenario", "tiny", *sizes, "--out", str(board)]) == 2
    assert "holds a screen with generations 1, not 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ahead_of_rule", "ahead_of_constants", "wins"), [(1.0, 1.0, True), (0.0, 1.0, False), (1.0, -1.0, False)]
)
def test_it_wins_who_is_ahead_of_every_rival(
    protocol: Protocol, ahead_of_rule: float, ahead_of_constants: float, wins: bool
) -> None:
    one = standing("tiny", _met(ahead_of_rule, ahead_of_constants, _learned(2)), _learned(2), protocol)
    assert one.rule.name == "operator"
    assert one.published.name == "polca"
    assert one.rule.ahead.estimate == pytest.approx(ahead_of_rule)
    assert one.tuned.ahead.estimate == pytest.approx(ahead_of_constants)
    assert one.wins is wins


def test_the_page_names_the_scenarios_that_are_not_won(protocol: Protocol) -> None:
    rows = [
        standing("tiny", _met(1.0, 1.0, _learned(2)), _learned(2), protocol),
        standing("burst", _met(1.0, -1.0, _learned(2)), _learned(2), protocol),
    ]
    text = page(rows, protocol, Budget(1, 128, 2))
    assert "on 1 of 2\nscenarios.** Not on `burst`." in text


def test_validation_chooses_what_goes_into_service() -> None:
    """Constants are a rival, however good."""
    feedback, correction = Learned({}, {FEEDBACK: 2.0, CORRECTION: 1.0, CONSTANTS: 9.0}, 1.0, 72), _learned(3)[2]
    assert (feedback.best, correction.best) == (FEEDBACK, CORRECTION)
