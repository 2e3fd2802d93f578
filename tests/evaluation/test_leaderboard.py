"""The leaderboard: resumable, paired, honest about who wins, and what it ships plays as it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.leaderboard import __main__ as leaderboard
from tokenfleet.evaluation.leaderboard import cells, rivals
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.commands import run_once
from tokenfleet.evaluation.leaderboard.filing import StandingFiles
from tokenfleet.evaluation.leaderboard.learning import (
    METHODS,
    Learned,
    Validated,
    fewest_seconds,
    limiting,
    strongest_of,
)
from tokenfleet.evaluation.leaderboard.meeting import Meeting
from tokenfleet.evaluation.leaderboard.page import page
from tokenfleet.evaluation.leaderboard.rivals import ShippedRule, shipped_numbers
from tokenfleet.evaluation.leaderboard.standings import standing
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.protocol import Protocol, load_protocol
from tokenfleet.evaluation.screen.record import read_record
from tokenfleet.policies.learned.hashed_folder import write_hashed_folder
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.learned.layout import BEST, META_FILE, WEIGHTS_FILE, checkpoint_of
from tokenfleet.policies.registry import POLICIES

EPISODES = 6
CONSTANTS, FEEDBACK, CORRECTION, _ = METHODS
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
        patch.setattr(rivals, "contenders", lambda chosen: RULES)
        assert _run(folder) == 0
    return folder


def _run(folder: Path) -> int:
    sizes = ["--seeds", "2", "--generations", "1", "--corrections", "128", "--validation", "2", "--workers", "1"]
    out = ["--out", str(folder), "--docs", str(folder / "docs"), "--ship", str(folder / "shipped")]
    return leaderboard.main(["--scenario", "tiny", *sizes, *out])


def _measured(path: Path) -> dict[str, Any]:
    """Cells by name, whatever the hashes of their policies."""
    return {name.partition("@")[0]: cell for name, cell in read_record(path)["measured"].items()}


def _learned(seeds: int) -> list[Learned]:
    return [_validated(feedback=(1.0, 0.0), correction=(float(seed), 0.0)) for seed in range(seeds)]


def _validated(feedback: tuple[float, float], correction: tuple[float, float]) -> Learned:
    """With values and seconds above a cap in validation episodes, under a limit of 5 s."""
    validation = {FEEDBACK: Validated(*feedback), CORRECTION: Validated(*correction), CONSTANTS: Validated(9.0, 5.0)}
    return Learned({}, validation, limit_s=5.0, minutes=1.0, episodes=72, curves={})


def _met(ahead_of_rule: float, ahead_of_constants: float, learned: list[Learned]) -> Meeting:
    noise = np.random.default_rng(0).normal(size=EPISODES)
    ours = 10.0 + noise
    usd = {"careful_operator": noise, "operator, tuned": ours - ahead_of_rule, "polca": noise + 1.0}
    rules = [ShippedRule(name, name) for name in ("careful_operator", "polca")] + [
        ShippedRule("operator", "operator", Path("tuned.yaml"))
    ]
    seed = {FEEDBACK: ours, CONSTANTS: ours - ahead_of_constants, CORRECTION: ours}
    above_s = {f"{method}/{seed}": 0.0 for method in METHODS for seed in range(2)} | dict.fromkeys(usd, 0.0)
    return Meeting(rules, usd, [seed, seed], [one.best for one in learned], above_s)


@pytest.mark.parametrize("name", ["tuned/tiny/constants", "pretrained/tiny"])
def test_a_policy_that_ships_earns_on_the_test_episodes_what_was_measured(
    board: Path, protocol: Protocol, name: str
) -> None:
    shipped = yaml.safe_load((board / "shipped" / f"{name}.yaml").read_text())
    policy, found = shipped["policy"], shipped["found"]
    if "folder" in policy:
        policy |= {"folder": str(board / "shipped" / "pretrained" / policy["folder"])}
    cell = measure_cell(load_scenario("tiny"), policy, EPISODES, protocol.seed, protocol.split)
    measured = _measured(board / "tiny.json")[f"{found['method']}/{found['seed']}"]
    assert cell["net_value_usd"] == measured["net_value_usd"]
    assert found["test"]["usd"] == pytest.approx(np.mean(cell["net_value_usd"]), rel=1e-12)
    assert (found["test"]["episodes"], found["test"]["above_cap_s"]) == (EPISODES, cell["above_cap_s"])


def test_a_checkpoint_acts_by_its_name_as_by_its_folder(board: Path, protocol: Protocol) -> None:
    choice = {"name": "checkpoint", "folder": str(board / "training" / "tiny-1-correction")}
    cell = measure_cell(load_scenario("tiny"), choice, EPISODES, protocol.seed, protocol.split)
    assert cell["net_value_usd"] == _measured(board / "tiny.json")[f"{CORRECTION}/1"]["net_value_usd"]


def test_the_seed_that_ships_is_chosen_by_validation(board: Path) -> None:
    record = _measured(board / "tiny.json")
    values = [float(np.mean(record[f"choice/{CONSTANTS}/{seed}"]["net_value_usd"])) for seed in (0, 1)]
    shipped = yaml.safe_load((board / "shipped" / "tuned" / "tiny" / "constants.yaml").read_text())["found"]
    assert shipped["seed"] == int(np.argmax(values))
    assert shipped["validation"]["usd"] == max(values)


def test_numbers_that_ship_are_rivals_of_just_their_scenario() -> None:
    assert [file.name for file in shipped_numbers(load_scenario("tiny"), "operator")] == ["operator.yaml"]
    assert shipped_numbers(load_scenario("tiny", {"horizon_ticks": 20}), "operator") == []
    assert shipped_numbers(load_scenario("tiny"), "least_work") == []


def test_the_best_rule_and_the_best_published_controller_meet_the_test_episodes_tuned_too(board: Path) -> None:
    met = _measured(board / "tiny.json")
    tuned = [name.partition(", ")[0] for name in met if name.endswith(", tuned") and "/" not in name]
    assert sorted(POLICIES[name].group == "published" for name in tuned) == [False, True]


def test_feedback_is_searched_within_the_seconds_of_the_strongest_rule(board: Path) -> None:
    rules = {name: cell for name, cell in _measured(board / "tiny.json").items() if name.startswith("validation/")}
    measured = _measured(board / "training" / "tiny-0.json")
    limit_s = rules[strongest_of(rules)][SECONDS]
    constants = measured[f"validation/{CONSTANTS}"]
    assert np.mean(constants[VALUE]) < np.mean(rules[strongest_of(rules)][VALUE])
    more_s = limit_s - measured["validation/constants before"][SECONDS]
    assert f"feedback within {more_s:+.3f} s/0" in measured


@pytest.mark.parametrize(
    ("earn_more", "clearly_ahead", "limit_s"), [(False, False, 5.0), (True, False, 3.0), (True, True, 9.0)]
)
def test_constants_raise_the_limit_only_where_they_are_clearly_ahead_of_the_strongest_rule(
    earn_more: bool, clearly_ahead: bool, limit_s: float
) -> None:
    constants_s = 9.0 if clearly_ahead else 3.0
    cells = {"rule": {VALUE: [1.0], SECONDS: 5.0}, CONSTANTS: {VALUE: [2.0], SECONDS: constants_s}}
    assert fewest_seconds(cells, limiting("rule", CONSTANTS, earn_more, clearly_ahead)) == limit_s


def test_both_learning_curves_begin_at_the_same_plan_and_end_with_the_episodes_of_their_search(
    board: Path, protocol: Protocol
) -> None:
    (row,) = StandingFiles(board / "docs", Budget(1, 128, 2), protocol).rows([load_scenario("tiny")])
    for curves in row.curves:
        assert set(curves) == {FEEDBACK, CONSTANTS}
        assert curves[FEEDBACK][0] == curves[CONSTANTS][0]
        assert curves[FEEDBACK][0][0] == 0
        assert curves[FEEDBACK][-1][0] < curves[CONSTANTS][-1][0] == row.episodes
    assert (board / "docs" / "images" / "learning-curves.png").stat().st_size > 0


def test_a_second_run_measures_nothing_again(board: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (board / "docs" / "leaderboard.md").read_text()
    monkeypatch.setattr(leaderboard, "load_protocol", lambda: protocol)
    monkeypatch.setattr(rivals, "contenders", lambda chosen: RULES)
    monkeypatch.setattr(cells, "measure_cell", lambda *arguments: pytest.fail("measured again"))
    assert _run(board) == 0
    assert (board / "docs" / "leaderboard.md").read_text() == before


def test_a_folder_of_another_training_is_refused(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--seeds", "1", "--generations", "2", "--corrections", "128", "--validation", "2", "--workers", "1"]
    assert leaderboard.main(["--scenario", "tiny", *sizes, "--out", str(board)]) == 2
    assert "holds a screen with generations 1, not 2" in capsys.readouterr().err


def test_a_run_of_another_command_is_refused_and_the_difference_named(board: Path) -> None:
    run = next((board / "tuning").glob("tiny-*/"))
    command = ["tune.py", f"policy={run.name.removeprefix('tiny-')}", "scenario=tiny", "validation.episodes=3"]
    with pytest.raises(SpecError, match=r"holds a run of validation\.episodes '2', not '3'; delete the folder"):
        run_once([*command, "workers=2", f"hydra.run.dir={run}"], load_scenario("tiny"), run)


def test_a_checkpoint_that_was_trained_anew_is_measured_anew(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path, BEST)
    write_hashed_folder(checkpoint, {META_FILE: b"{}", WEIGHTS_FILE: b"before"})
    before = policy_hash(tmp_path)
    write_hashed_folder(checkpoint, {META_FILE: b"{}", WEIGHTS_FILE: b"after"})
    assert policy_hash(tmp_path) != before


@pytest.mark.parametrize(
    ("ahead_of_rule", "ahead_of_constants", "wins"), [(1.0, 1.0, True), (0.0, 1.0, False), (1.0, -1.0, False)]
)
def test_it_wins_who_is_ahead_of_every_rival(
    protocol: Protocol, ahead_of_rule: float, ahead_of_constants: float, wins: bool
) -> None:
    one = standing("tiny", _met(ahead_of_rule, ahead_of_constants, _learned(2)), _learned(2), protocol)
    assert one.rule.name == "operator, tuned"
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


def test_a_standing_on_file_is_read_as_it_was_and_only_for_what_it_was_measured_with(
    tmp_path: Path, protocol: Protocol
) -> None:
    row, budget, tiny = (
        standing("tiny", _met(1.0, 1.0, _learned(2)), _learned(2), protocol),
        Budget(1, 128, 2),
        load_scenario("tiny"),
    )
    StandingFiles(tmp_path, budget, protocol).keep(row, tiny)
    assert StandingFiles(tmp_path, budget, protocol).rows([tiny]) == [row]
    changed = load_scenario("tiny", {"tick_s": 2.0})
    assert StandingFiles(tmp_path, budget, protocol).rows([changed]) == []
    assert StandingFiles(tmp_path, Budget(2, 128, 2), protocol).rows([tiny]) == []


def test_a_file_that_is_no_standing_is_named(tmp_path: Path, protocol: Protocol) -> None:
    (tmp_path / "standings").mkdir()
    (tmp_path / "standings" / "tiny.json").write_text('[{}, {"scenario": "tiny"}]')
    with pytest.raises(SpecError, match=r"tiny\.json: is no standing \(1\.learned: .*delete it"):
        StandingFiles(tmp_path, Budget(1, 128, 2), protocol).rows([load_scenario("tiny")])


@pytest.mark.parametrize(
    ("feedback", "correction", "chosen"),
    [
        ((2.0, 0.0), (1.0, 0.0), FEEDBACK),
        ((1.0, 0.0), (2.0, 5.0), CORRECTION),
        ((1.0, 0.0), (2.0, 6.0), CORRECTION),
        ((1.0, 0.0), (2.0, 6.1), FEEDBACK),
        ((1.0, 7.0), (2.0, 8.0), FEEDBACK),
    ],
)
def test_validation_chooses_the_best_within_the_limit_or_the_nearest_to_it(
    feedback: tuple[float, float], correction: tuple[float, float], chosen: str
) -> None:
    """Constants are a rival, however good."""
    assert _validated(feedback, correction).best == chosen


def test_the_limit_is_kept_by_whom_the_strongest_rival_stands_above_a_cap_as_long(protocol: Protocol) -> None:
    met = _met(1.0, 2.0, _learned(2))
    longer = Meeting(met.rules, met.usd, met.seeds, met.best, {**met.above_cap_s, f"{FEEDBACK}/0": 3.0})
    assert standing("tiny", met, _learned(2), protocol).keeps_limit
    assert not standing("tiny", longer, _learned(2), protocol).keeps_limit
