"""A screen says what it measured, measures nothing twice, and does not care who measures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.screen import tuning
from tokenfleet.evaluation.screen.__main__ import main
from tokenfleet.evaluation.screen.card import card_text
from tokenfleet.evaluation.screen.criteria import criteria
from tokenfleet.evaluation.screen.findings import absurd_optima, alike
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.plans import Plans, stacked
from tokenfleet.evaluation.screen.probes import awake_by_cap
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, outcomes, rule_outcome
from tokenfleet.evaluation.screen.run import Screen
from tokenfleet.evaluation.screen.space import (
    MOST_DIALS,
    Dial,
    Probe,
    Space,
    best_by_dial,
    narrowed,
    numbers_of,
    probes,
)
from tokenfleet.evaluation.screen.table import table
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale, followed_rows
from tokenfleet.policies.heuristics.supervisor import supervisor_parameters
from tokenfleet.policies.planning.rollout import clearly_best

HEADER = {"scenario": "tiny"}
CRITERIA = ("headroom", "state matters", "not saturated", "knobs matter", "no absurd optimum", "rules differ")
OPTIONS = Options(minutes=60.0, seed=0, generations=1, episodes=3, planner_episodes=2)


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario("tiny", {"horizon_ticks": 30})


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as one:
        yield one


def screen(tiny: Scenario, path: Path, workers: Workers) -> dict[str, Any]:
    return Screen(tiny, OPTIONS, MeasurementFile(path, HEADER), workers, lambda what: None).run()


@pytest.fixture(scope="module")
def finished(tiny: Scenario, workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("screen") / "tiny.json"
    return path, screen(tiny, path, workers)


def timeless(card: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name not in {"speed", "elapsed_s"}}


def test_a_card_has_every_finding(finished: tuple[Path, dict[str, Any]]) -> None:
    path, card = finished
    assert json.loads(path.read_text())["card"] == json.loads(json.dumps(card))
    text = card_text(card)
    for heading in (*CRITERIA, "kept", "planner", "placebo", "knobs", "features", "offered", "speed", "budget"):
        assert f"\n{heading} " in text.replace("pass  ", "").replace("FAIL  ", "")
    done = card["budget"]["done"]
    probed = len(json.loads(path.read_text())["measured"]["dials"]) + MOST_DIALS
    as_many = 1 + -(-probed // tuning.POPULATION)
    assert done == {"constants": 2, "feedback": 1, "constants further": as_many}
    assert {"careful_operator", "tuned constants", "tuned feedback"} <= card["values"].keys()


def test_a_table_has_a_row_for_each_card(finished: tuple[Path, dict[str, Any]]) -> None:
    path, card = finished
    head, rule, row = table([path]).splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| `tiny` | ")
    assert f"{card['values']['tuned feedback']['estimate']:.2f}" in row


def test_a_screen_that_was_killed_comes_to_the_same(
    tiny: Scenario, workers: Workers, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    done = json.loads(finished[0].read_text())
    names = list(done["measured"])
    kept = names[: next(index for index, name in enumerate(names) if name.startswith("chosen by/constants/"))]
    killed = {**done, "measured": {name: done["measured"][name] for name in kept}}
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(killed))
    assert timeless(screen(tiny, path, workers)) == timeless(finished[1])


def test_a_planner_leaves_its_constants_only_for_a_clear_gain() -> None:
    unclear = [[0.0, 0.0], [3.0, -1.0], [1.0, 1.1]]
    worse = [[0.0, 0.0], [-1.0, -1.1], [5.0, -4.0]]
    assert clearly_best(np.array([unclear, worse])).tolist() == [2, 0]


def test_a_scenario_that_its_careful_operator_cannot_keep_is_refused(workers: Workers, tmp_path: Path) -> None:
    outage = {"earliest_start_s": 5.0, "latest_start_s": 9.0, "hold_s": 9.0, "depth_fraction": [0.99, 0.99]}
    dark = load_scenario("tiny", {"horizon_ticks": 60, "sites.lab.grid.emergencies": [outage]})
    with pytest.raises(SpecError, match=r"shares are counted from careful_operator.* more than its deepest cap"):
        screen(dark, tmp_path / "dark.json", workers)


def test_what_is_on_file_is_not_measured_again(tmp_path: Path) -> None:
    first = MeasurementFile(tmp_path / "a.json", HEADER)
    assert first.once("number", lambda: 1) == 1
    assert MeasurementFile(tmp_path / "a.json", HEADER).once("number", lambda: 2) == 1


def test_a_file_of_another_screen_is_refused(tmp_path: Path) -> None:
    MeasurementFile(tmp_path / "a.json", HEADER).once("number", lambda: 1)
    with pytest.raises(SpecError, match="holds a screen with scenario 'tiny', not 'default'"):
        MeasurementFile(tmp_path / "a.json", {"scenario": "default"})


def test_a_value_does_not_depend_on_the_plans_beside_it(tiny: Scenario, workers: Workers) -> None:
    rng = np.random.default_rng(0)
    plans = Plans(rng.uniform(-1, 1, (5, 9)))
    setting = RolloutSetting(tiny, "train", (1, 2, 3))
    together = outcomes(setting, plans, workers)["net_value_usd"]
    alone = outcomes(setting, plans.part(slice(3, 4)), workers)["net_value_usd"]
    np.testing.assert_array_equal(together[3:4], alone)


def test_feedback_without_gains_is_the_constant(tiny: Scenario, workers: Workers) -> None:
    rng = np.random.default_rng(0)
    constant = Plans(rng.uniform(-1, 1, (1, 9)))
    pushed = Plans(constant.base, rng.normal(size=(1, 9, len(NAMES))))
    rows = (len(tiny.sites) + len(tiny.classes), len(NAMES))
    setting = RolloutSetting(tiny, "train", (1, 2), FeatureScale(np.zeros(rows), np.ones(rows)))
    expected = outcomes(setting, constant, workers)["net_value_usd"][0]
    still, moved = outcomes(setting, stacked([constant, pushed]), workers)["net_value_usd"]
    np.testing.assert_array_equal(still, expected)
    assert (moved != expected).all()


def test_tuned_constants_are_a_policy_that_evaluate_takes(tiny: Scenario, workers: Workers) -> None:
    base = np.random.default_rng(0).uniform(-1, 1, (1, 9))
    tuned = outcomes(RolloutSetting(tiny, "validation", tuple(episode_seeds(0, 3))), Plans(base), workers)
    choice = {"name": "supervisor", **supervisor_parameters(tiny, base[0])}
    policy = rule_outcome(tiny, "validation", 0, 3, choice)
    assert not isinstance(policy, str)
    np.testing.assert_allclose(policy["net_value_usd"], tuned["net_value_usd"], rtol=0.02)


def test_the_search_climbs_and_is_repeated_from_its_values(tmp_path: Path) -> None:
    def hill(candidates: np.ndarray, generation: int) -> np.ndarray:
        return -((candidates - 0.5) ** 2).sum(axis=1)

    def tune(values: Any) -> list[np.ndarray]:
        record = MeasurementFile(tmp_path / "a.json", HEADER)
        return tuning.tune(record, "hill", np.zeros(3), 0.3, 12, 0, values, lambda: True)

    centres = tune(hill)
    assert len(centres) == 13
    assert hill(centres[-1][None], 0) > -0.01
    np.testing.assert_array_equal(centres, tune(None))


def outcome(*values: float, **metrics: float) -> dict[str, np.ndarray]:
    found = {"net_value_usd": np.array(values), "above_cap_s": np.zeros(len(values))}
    return found | {name.replace("__", "/"): np.full(len(values), value) for name, value in metrics.items()}


def test_rules_act_identically_where_no_episode_differs() -> None:
    rules = {"a": outcome(1.0, 3.0), "b": outcome(1.0, 3.0), "c": outcome(1.0, 3.001), "d": outcome(3.0, 1.0)}
    assert alike(rules) == [["a", "b"]]


def finding(**changes: Any) -> dict[str, Any]:
    """What criteria are told of a scenario that passes them all."""
    knob = {"share": 0.01, "low": 0.001}
    return {
        "headroom": {"of_span": 0.08, "low_of_span": 0.01, "high_of_span": 0.2, "low": 0.01},
        "state": {"of_span": 0.05, "low_of_span": 0.01, "high_of_span": 0.2, "low": 0.01},
        "untuned": {"slo_attainment": 0.99, "value_over_offered": 0.96},
        "knobs": dict.fromkeys(("awake", "price", "power", "backlog"), knob),
        "absurd": [],
        "alike": [],
        "best_known": "tuned feedback",
        "best_rule": "least_work",
        **changes,
    }


@pytest.mark.parametrize(
    ("criterion", "changes"),
    [
        ("headroom", {"headroom": {"of_span": 0.079, "low_of_span": 0.01, "high_of_span": 0.2, "low": 0.01}}),
        ("headroom", {"headroom": {"of_span": 0.2, "low_of_span": -0.01, "high_of_span": 0.5, "low": -0.01}}),
        ("state matters", {"state": {"of_span": 0.049, "low_of_span": 0.01, "high_of_span": 0.2, "low": 0.01}}),
        ("not saturated", {"untuned": {"slo_attainment": 0.98, "value_over_offered": 0.97}}),
        ("knobs matter", {"knobs": {name: {"share": 0.5, "low": 0.1} for name in ("awake", "price", "power")}}),
        ("no absurd optimum", {"absurd": ["a constant action: 1 USD"]}),
        ("rules differ", {"alike": [["round_robin", "least_work"]]}),
    ],
)
def test_each_criterion_has_its_threshold(criterion: str, changes: dict[str, Any]) -> None:
    assert [name for name, judged in criteria(finding()).items() if not judged["passed"]] == []
    assert [name for name, judged in criteria(finding(**changes)).items() if not judged["passed"]] == [criterion]


def test_a_space_turns_the_dials_that_gain_most_and_moves_the_base_of_a_group_once() -> None:
    dials = (Dial("awake", "cap", (0, 1)), Dial("awake", "price", (0, 1)), Dial("limit", "demand", (2,)))
    space = Space(np.zeros(3), np.eye(3), dials)
    every = probes(space, 0.5)
    gained = [{Probe(0, 0.5, 0.5): 3.0, Probe(1, -0.5, -0.5): 2.0, Probe(2, 0.5, 0.0): 1.0}.get(p, 0.0) for p in every]
    best = best_by_dial(every, gained, 2)
    assert best == [Probe(0, 0.5, 0.5), Probe(1, -0.5, -0.5)]
    near, numbers = narrowed(space, numbers_of(space, best), [0, 1])
    assert (near.start.tolist(), numbers.tolist()) == ([0.5, 0.5, 0.0], [0.0, 0.0, 0.5, -0.5])
    (plan,) = near.plans(numbers[None]).gains
    assert plan[:, NAMES.index("cap")].tolist() == [0.5, 0.5, 0.0]


def test_a_class_follows_its_own_demand_and_a_pool_its_site(tiny: Scenario) -> None:
    table = tuple(SetpointAction(tiny).table)
    rows = dict(zip([label for segment in table for label in segment.labels], followed_rows(tiny, table), strict=True))
    assert rows == {"lab": 0, "lab-8b": 0, "lab-70b": 0, "chat-8b": 1, "chat-70b": 2, "batch-8b": 3}


def test_awake_replicas_in_proportion_to_the_cap_follow_it(tiny: Scenario) -> None:
    table, contract_w = tuple(SetpointAction(tiny).table), tiny.contract_w("lab")
    rows = (len(tiny.sites) + len(tiny.classes), len(NAMES))
    plan = awake_by_cap(tiny, table, FeatureScale(np.full(rows, 0.9 * contract_w), np.full(rows, 0.1 * contract_w)))
    gains = plan.gains
    assert gains is not None
    entry = table[[segment.name for segment in table].index("awake_replicas")].first
    at_half = plan.base[0, entry] - 4.0 * gains[0, entry, NAMES.index("cap")]
    awake = SetpointAction(tiny).decode(np.full((1, 9), at_half)).awake_replicas[0]
    assert awake == pytest.approx([0.5, 1.0])  # half of the usual numbers


def test_an_absurd_plan_counts_where_it_is_near_the_best_and_does_what_it_says() -> None:
    probes = {
        "east is switched off": outcome(0.99),
        "west is switched off": outcome(0.9),
        "chat is given up": outcome(1.0, slo_attainment__chat=0.5),
        "batch is given up": outcome(1.0, slo_attainment__batch=0.0),
        "power stands above the cap": outcome(1.0, above_cap_s=90.0),
    }
    found = absurd_optima(np.array([1.0]), probes, 100.0, outcome(1.0, slo_attainment__agent=0.0))
    assert [line.partition(":")[0] for line in found] == [
        "east is switched off",
        "batch is given up",
        "power stands above the cap",
        "the best plan",
    ]


def test_a_file_whose_feedback_had_other_features_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.json"
    words = ["--scenario", "tiny", "--minutes", "5", "--out", str(out)]
    asked = {"seed": 0, "generations": None, "episodes": None, "minutes": 5.0, "planner_episodes": 0}
    header = {"scenario": "tiny", "config_hash": scenario_hash(load_scenario("tiny")), **asked, "features": ["cap"]}
    out.write_text(json.dumps({"header": header, "elapsed_s": 1.0, "measured": {}}))
    assert main(words) == 2
    assert "holds a screen with features ['cap'], not ['cap', " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--scenario", "tiny", "--minutes", "0"], "--minutes: must be above 0 (got 0)"),
        (["--scenario", "tiny", "--workers", "0"], "--workers: must be at least 1 (got 0)"),
        (["--scenario", "tinny"], "tiny"),
    ],
)
def test_a_wrong_word_is_answered_in_a_line(words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert problem in capsys.readouterr().err
