"""A shipped policy becomes the best known where it is better in validation episodes, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tokenfleet.envs.scenario import load_scenario
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import Protocol, load_protocol
from tokenfleet.evaluation.screen import surpass
from tokenfleet.evaluation.screen.surpass import main


@pytest.fixture(autouse=True)
def nothing_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ships for `tiny`, the policies here meet each other alone."""
    monkeypatch.setattr(surpass, "shipped_for", lambda scenario: [])


def frozen(path: Path, best: str, **changes: object) -> Protocol:
    """A protocol in a file, in which a rule is the best known on `tiny`."""
    reference = {
        "config_hash": scenario_hash(load_scenario("tiny")),
        "careful_usd": -1.0,
        "best_usd": 9.0,
        "best": best,
        "policy": best,
        "found_by": "a screen",
        "version": "0",
        "criteria": {"headroom": {"passed": True, "measured": "+9.0 % of the span"}},
    }
    shipped = load_protocol().model_dump(mode="json")
    references = {"tiny": {**reference, **changes}}
    path.write_text(yaml.safe_dump({**shipped, "name": "mine-1", "episodes": 3, "references": references}))
    return load_protocol(path)


def surpassed(path: Path, rule: str) -> int:
    """Exit status, when a rule meets the best known of `tiny`."""
    return main(["tiny", "--rule", rule, "--episodes", "3", "--out", str(path)])


def test_a_better_policy_becomes_the_best_known(tmp_path: Path) -> None:
    path = tmp_path / "mine-1.yaml"
    before = frozen(path, "max_clock").references["tiny"]
    assert surpassed(path, "operator") == 0
    after = load_protocol(path).references["tiny"]
    assert (after.best, after.policy) == ("operator", "operator")
    assert after.found_by == "the best of 2 policies in 3 validation episodes"
    assert before.careful_usd < after.best_usd < before.best_usd, "measured in the protocol's own episodes"
    assert (after.careful_usd, after.criteria) == (before.careful_usd, before.criteria)


def test_a_worse_policy_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine-1.yaml"
    before = frozen(path, "operator")
    assert surpassed(path, "max_clock") == 0
    assert load_protocol(path) == before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"config_hash": "0"}, "tiny is not the scenario that mine-1 has frozen; freeze a screen first"),
        ({"policy": None}, "tiny: mine-1 has no best known policy of it; freeze a screen first"),
    ],
)
def test_a_reference_that_cannot_be_met_is_refused(
    changes: dict[str, object], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine-1.yaml"
    frozen(path, "operator", **changes)
    before = path.read_bytes()
    assert surpassed(path, "max_clock") == 2
    assert problem in capsys.readouterr().err
    assert path.read_bytes() == before
