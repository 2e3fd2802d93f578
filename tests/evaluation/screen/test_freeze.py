"""A reference is frozen once, from a whole screen of the scenario as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.evaluation.screen.freeze import main
from tokenfleet.policies.heuristics.linear.features import NAMES

CARD = {
    "best_known": "feedback_capping",
    "plans": {},
    "elapsed_s": 90.0,
    "criteria": {"headroom": {"passed": True, "measured": "+9.0 % of the span"}},
    "budget": {"done": {"constants": 3, "feedback": 1, "constants further": 1}},
}


@pytest.fixture
def screen(tmp_path: Path) -> Path:
    """The file of a screen of `tiny` in which a rule was best."""
    path = tmp_path / "tiny.json"
    header = {"scenario": "tiny", "config_hash": scenario_hash(load_scenario("tiny")), "features": list(NAMES)}
    record = {"header": header, "elapsed_s": 90.0, "measured": {"scale": [[], []]}, "card": CARD}
    path.write_text(json.dumps(record))
    return path


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    """A protocol of few episodes without references; what it scores 0 is the worst rule."""
    path = tmp_path / "mine-1.yaml"
    shipped = load_protocol().model_dump(mode="json")
    path.write_text(
        yaml.safe_dump({**shipped, "name": "mine-1", "episodes": 2, "careful_operator": "max_clock", "references": {}})
    )
    return path


def test_a_screen_adds_the_reference_of_its_scenario(screen: Path, protocol: Path) -> None:
    assert main([str(screen), "--out", str(protocol)]) == 0
    frozen = load_protocol(protocol).references["tiny"]
    assert (frozen.best, frozen.policy) == ("feedback_capping", "feedback_capping")
    assert frozen.found_by == "screen of 1.5 minutes, 5 generations in all"
    assert frozen.config_hash == scenario_hash(load_scenario("tiny"))
    assert frozen.best_usd > frozen.careful_usd
    assert load_protocol(protocol).benchmarks == ["tiny"]


def test_a_reference_is_never_replaced(screen: Path, protocol: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(screen), "--out", str(protocol)]) == 0
    before = protocol.read_bytes()
    assert main([str(screen), "--out", str(protocol)]) == 2
    assert "mine-1 has a reference of tiny; give another --out" in capsys.readouterr().err
    assert protocol.read_bytes() == before


def test_a_protocol_is_frozen_anew_on_demand(screen: Path, protocol: Path) -> None:
    record = json.loads(screen.read_text())
    record["card"]["criteria"]["headroom"]["passed"] = False
    assert main([str(screen), "--out", str(protocol)]) == 0
    screen.write_text(json.dumps(record))
    assert main([str(screen), "--out", str(protocol), "--anew"]) == 0
    assert load_protocol(protocol).benchmarks == []


def test_a_screen_of_another_scenario_is_refused(
    screen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(screen.read_text())
    record["header"]["config_hash"] = "0"
    screen.write_text(json.dumps(record))
    check_refused(screen, tmp_path, "the scenario tiny is another one now; screen it again", capsys)


def test_a_screen_whose_feedback_had_other_features_is_refused(
    screen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(screen.read_text())
    record["header"]["features"] = record["header"]["features"][:-1]
    screen.write_text(json.dumps(record))
    check_refused(screen, tmp_path, "feedback had other features when tiny was screened; screen it again", capsys)


def test_a_screen_that_is_not_at_its_end_is_refused(
    screen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(screen.read_text())
    del record["card"]
    screen.write_text(json.dumps(record))
    check_refused(screen, tmp_path, "the screen is not at its end; run it again", capsys)


def check_refused(screen: Path, tmp_path: Path, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.yaml"
    assert main([str(screen), "--out", str(out)]) == 2
    assert problem in capsys.readouterr().err
    assert not out.exists()
