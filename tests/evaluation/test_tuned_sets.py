"""Rules with numbers tuned for a scenario are written as files that ship, and play as their files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.shipping import checked
from tokenfleet.evaluation.leaderboard.tuned_sets import main


def test_a_tuned_rule_ships_with_its_command_and_plays_as_its_file_says(tmp_path: Path) -> None:
    arguments = ["--scenario", "tiny", "--rule", "feedback_capping", "--out", str(tmp_path / "runs")]
    assert main([*arguments, "--ship", str(tmp_path)]) == 0
    path = tmp_path / "tuned" / "tiny" / "feedback_capping.yaml"
    found = read_yaml(path)["found"]
    assert found["command"] == "python tune.py policy=feedback_capping scenario=tiny validation.episodes=40"
    assert found["config_hash"] == scenario_hash(tiny := load_scenario("tiny"))
    assert found["check"] == checked(tiny, str(path))


def test_a_scenario_that_is_not_there_is_answered_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scenario", "tinny", "--ship", str(tmp_path)]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
