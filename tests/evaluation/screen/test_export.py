"""What a screen has tuned is a policy that acts as its plan does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tokenfleet.envs import FleetVectorEnv, catalog
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.screen.export import main
from tokenfleet.evaluation.screen.found import FinishedScreen
from tokenfleet.evaluation.screen.freeze import main as freeze
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, measured_scale, outcomes
from tokenfleet.evaluation.screen.run import Screen
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.heuristics.linear.features import NAMES, FeatureScale

VALUE = "net_value_usd"
EPISODES = 3
HELD = {"action": "setpoints", "observation": "supervisor"}


@pytest.fixture(scope="module")
def short_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` with short episodes, as a file of a user."""
    path = tmp_path_factory.mktemp("export") / "short.yaml"
    tiny = yaml.safe_load((Path(catalog.__file__).parent / "scenario" / "tiny.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**tiny, "name": "short", "horizon_ticks": 30}))
    return path


@pytest.fixture(scope="module")
def short(short_file: Path) -> Scenario:
    return load_scenario(str(short_file))


def header(scenario: Scenario) -> dict[str, Any]:
    options = {"seed": 0, "generations": 1, "episodes": EPISODES, "minutes": 60.0}
    of = {"scenario": scenario.name, "config_hash": scenario_hash(scenario), "features": list(NAMES)}
    return {**of, **options}


@pytest.fixture(scope="module")
def screen(short: Scenario, short_file: Path) -> Path:
    """The file of a whole screen."""
    path = short_file.with_suffix(".json")
    options = Options(minutes=60.0, seed=0, generations=1, episodes=EPISODES)
    with Workers(1) as workers:
        Screen(short, options, MeasurementFile(path, header(short)), workers, lambda what: None).run()
    return path


def exported(screen: Path, short_file: Path, plan: str) -> str:
    out = screen.parent / f"{plan}.yaml"
    assert main([str(screen), "--plan", plan, "--scenario", str(short_file), "--out", str(out)]) == 0
    return str(out)


def earned(scenario: Scenario, choice: Any, **kwargs: Any) -> list[float]:
    """Net value in the validation episodes of seed 0, in an environment of some kind [USD]."""

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split="validation", **kwargs)

    policy = make_policy(choice, PolicyContext.from_env(make_env(1)))
    rows = evaluate_policy(make_env, Candidate(policy, "policy"), EPISODES, 0)
    return [row.metrics[VALUE] for row in rows]


def planned(scenario: Scenario, plan: Plans, scale: FeatureScale) -> np.ndarray:
    """The same of a plan, as a screen measures it [USD]."""
    setting = RolloutSetting(scenario, "validation", tuple(episode_seeds(0, EPISODES)), scale)
    with Workers(1) as workers:
        return outcomes(setting, plan, workers)[VALUE][0]


def of_screen(screen: Path, short_file: Path, name: str) -> np.ndarray:
    found = FinishedScreen.of_file(screen, str(short_file))
    return planned(found.scenario, found.plan(name), found.scale)


def test_exported_feedback_earns_what_its_plan_does_to_the_bit(short: Scenario, screen: Path, short_file: Path) -> None:
    choice = exported(screen, short_file, "feedback")
    np.testing.assert_array_equal(earned(short, choice, **HELD), of_screen(screen, short_file, "tuned feedback"))


def test_exported_feedback_decides_alike_however_often_it_is_asked_and_whoever_holds_its_set_points(
    short: Scenario, screen: Path, short_file: Path
) -> None:
    choice = exported(screen, short_file, "feedback")
    expected = of_screen(screen, short_file, "tuned feedback")
    np.testing.assert_array_equal(earned(short, choice, **HELD, decide_every=1), expected)
    np.testing.assert_allclose(earned(short, choice), expected, rtol=0.02)


def test_exported_constants_earn_what_their_plan_does_but_for_their_six_digits(
    short: Scenario, screen: Path, short_file: Path
) -> None:
    choice = exported(screen, short_file, "constants")
    expected = of_screen(screen, short_file, "tuned constants")
    np.testing.assert_allclose(earned(short, choice, **HELD), expected, rtol=0.02)


def test_a_file_says_how_it_was_found_and_holds_no_gain_of_zero(screen: Path, short_file: Path) -> None:
    data = yaml.safe_load(Path(exported(screen, short_file, "feedback")).read_text())
    assert data["found"]["command"] == (
        "python -m tokenfleet.evaluation.screen --scenario short --minutes 60.0 --generations 1 --episodes 3"
    )
    assert data["found"]["generations"]["feedback"] == 1
    gains = [gain for names in data["policy"]["gains"].values() for row in names.values() for gain in row.values()]
    assert gains
    assert all(gains)


def test_entries_that_mean_the_same_are_told_apart(short: Scenario) -> None:
    """Replicas stand at their usual number from -0.1 to 0.1; a gain begins from where in there the base stands."""
    (awake,) = (segment for segment in SetpointAction(short).table if segment.name == "awake_replicas")
    base, gains = np.zeros((1, 9)), np.zeros((1, 9, len(NAMES)))
    base[:, awake.columns], gains[:, awake.columns, NAMES.index("demand")] = -0.09, 0.2
    scale = measured_scale(RolloutSetting(short, "train", tuple(episode_seeds(1, EPISODES))))
    plan = {"base": base[0].tolist(), "gains": gains[0].tolist()}
    choice = FinishedScreen(short, {}, {"plans": {"mine": plan}}, scale).choice("mine")
    np.testing.assert_array_equal(earned(short, choice, **HELD), planned(short, Plans(base, gains), scale))


def test_a_frozen_reference_names_feedback_as_a_policy_that_earns_its_value(tmp_path: Path) -> None:
    tiny = load_scenario("tiny")
    rows, gains = len(tiny.sites) + len(tiny.classes), np.zeros((9, len(NAMES)))
    gains[:, NAMES.index("backlog")] = 0.1
    card = {
        "best_known": "tuned feedback",
        "plans": {"tuned feedback": {"base": [0.0] * 9, "gains": gains.tolist()}},
        "elapsed_s": 60.0,
        "criteria": {},
        "budget": {"done": {"feedback": 1}},
    }
    scale = [np.zeros((rows, len(NAMES))).tolist(), np.ones((rows, len(NAMES))).tolist()]
    record = {"header": header(tiny), "elapsed_s": 60.0, "measured": {"scale": scale}, "card": card}
    (tmp_path / "tiny.json").write_text(json.dumps(record))
    mine = {"name": "mine-1", "split": "validation", "seed": 0, "episodes": EPISODES, "careful_operator": "max_clock"}
    (tmp_path / "mine-1.yaml").write_text(yaml.safe_dump({**mine, "references": {}}))
    assert freeze([str(tmp_path / "tiny.json"), "--out", str(tmp_path / "mine-1.yaml")]) == 0
    reference = load_protocol(tmp_path / "mine-1.yaml").references["tiny"]
    assert np.mean(earned(tiny, reference.policy, **HELD)) == pytest.approx(reference.best_usd, abs=1e-6)


def test_a_file_that_no_policy_can_be_read_from_is_not_written(
    screen: Path, short_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = screen.parent / "feedback.txt"
    assert main([str(screen), "--scenario", str(short_file), "--out", str(out)]) == 2
    assert "--out: must end in .yaml" in capsys.readouterr().err
    assert not out.exists()
