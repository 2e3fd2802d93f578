"""A screen says what it measured, measures nothing twice, and does not care who measures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.screen import tuning
from tokenfleet.evaluation.screen.__main__ import main
from tokenfleet.evaluation.screen.card import card_text
from tokenfleet.evaluation.screen.features import NAMES, Scale
from tokenfleet.evaluation.screen.findings import absurd_optima, alike
from tokenfleet.evaluation.screen.planner import clearly_best
from tokenfleet.evaluation.screen.plans import Plans, stacked, supervisor_parameters
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Setting, Workers, outcomes, rule_outcome
from tokenfleet.evaluation.screen.run import Options, Screen

HEADER = {"scenario": "tiny"}
OPTIONS = Options(minutes=60.0, seed=0, generations=1, episodes=3, planner_episodes=2)


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario("tiny", {"horizon_ticks": 30})


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(1) as one:
        yield one


def screen(tiny: Scenario, path: Path, workers: Workers) -> dict[str, Any]:
    return Screen(tiny, OPTIONS, Record(path, HEADER), workers, lambda what: None).run()


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
    for heading in (
        "headroom",
        "state",
        "planner",
        "placebo",
        "saturation",
        "knobs",
        "absurd",
        "alike",
        "offered",
        "speed",
        "budget",
    ):
        assert f"\n{heading} " in text
    assert card["budget"]["done"] == {"constants": 1, "constants further": 1, "feedback": 1}
    assert {"careful_operator", "tuned constants", "tuned feedback"} <= card["values"].keys()


def test_a_screen_that_was_killed_comes_to_the_same(
    tiny: Scenario, workers: Workers, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    done = json.loads(finished[0].read_text())
    names = list(done["measured"])
    kept = names[: names.index("chosen by/constants")]
    killed = {**done, "measured": {name: done["measured"][name] for name in kept}}
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(killed))
    assert timeless(screen(tiny, path, workers)) == timeless(finished[1])


def test_a_planner_leaves_its_constants_only_for_a_clear_gain() -> None:
    unclear = [[0.0, 0.0], [3.0, -1.0], [1.0, 1.1]]
    worse = [[0.0, 0.0], [-1.0, -1.1], [5.0, -4.0]]
    assert clearly_best(np.array([unclear, worse])).tolist() == [2, 0]


def test_what_is_on_file_is_not_measured_again(tmp_path: Path) -> None:
    first = Record(tmp_path / "a.json", HEADER)
    assert first.once("number", lambda: 1) == 1
    assert Record(tmp_path / "a.json", HEADER).once("number", lambda: 2) == 1


def test_a_file_of_another_screen_is_refused(tmp_path: Path) -> None:
    Record(tmp_path / "a.json", HEADER).once("number", lambda: 1)
    with pytest.raises(SpecError, match="holds a screen with scenario 'tiny', not 'default'"):
        Record(tmp_path / "a.json", {"scenario": "default"})


def test_a_value_does_not_depend_on_the_plans_beside_it(tiny: Scenario, workers: Workers) -> None:
    rng = np.random.default_rng(0)
    plans = Plans(rng.uniform(-1, 1, (5, 9)))
    setting = Setting(tiny, "train", (1, 2, 3))
    together = outcomes(setting, plans, workers)["net_value_usd"]
    alone = outcomes(setting, plans.part(slice(3, 4)), workers)["net_value_usd"]
    np.testing.assert_array_equal(together[3:4], alone)


def test_feedback_without_gains_is_the_constant(tiny: Scenario, workers: Workers) -> None:
    rng = np.random.default_rng(0)
    constant = Plans(rng.uniform(-1, 1, (1, 9)))
    pushed = Plans(constant.base, rng.normal(size=(1, 6, len(NAMES))))
    setting = Setting(tiny, "train", (1, 2), Scale(np.zeros((1, 4)), np.ones((1, 4))))
    expected = outcomes(setting, constant, workers)["net_value_usd"][0]
    still, moved = outcomes(setting, stacked([constant, pushed]), workers)["net_value_usd"]
    np.testing.assert_array_equal(still, expected)
    assert (moved != expected).all()


def test_tuned_constants_are_a_policy_that_evaluate_takes(tiny: Scenario, workers: Workers) -> None:
    base = np.random.default_rng(0).uniform(-1, 1, (1, 9))
    tuned = outcomes(Setting(tiny, "validation", tuple(episode_seeds(0, 3))), Plans(base), workers)
    choice = {"name": "supervisor", **supervisor_parameters(tiny, base[0])}
    policy = rule_outcome(tiny, "validation", 0, 3, choice)
    assert not isinstance(policy, str)
    np.testing.assert_allclose(policy["net_value_usd"], tuned["net_value_usd"], rtol=0.02)


def test_the_search_climbs_and_is_repeated_from_its_values(tmp_path: Path) -> None:
    def hill(candidates: np.ndarray, generation: int) -> np.ndarray:
        return -((candidates - 0.5) ** 2).sum(axis=1)

    def tune(values: Any) -> list[np.ndarray]:
        record = Record(tmp_path / "a.json", HEADER)
        return tuning.tune(record, "hill", np.zeros(3), 0.3, 12, 0, values, lambda: True)

    centres = tune(hill)
    assert len(centres) == 4
    assert hill(centres[-1][None], 0) > -0.01
    np.testing.assert_array_equal(centres, tune(None))


def outcome(*values: float, **metrics: float) -> dict[str, np.ndarray]:
    found = {"net_value_usd": np.array(values), "above_cap_s": np.zeros(len(values))}
    return found | {name.replace("__", "/"): np.full(len(values), value) for name, value in metrics.items()}


def test_rules_are_alike_where_every_episode_is() -> None:
    rules = {"a": outcome(1.0, 3.0), "b": outcome(1.0, 3.001), "c": outcome(3.0, 1.0)}
    assert alike(rules) == [["a", "b"]]


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
