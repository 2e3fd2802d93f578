"""A run parses its scenario once, however many environments it makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.command_line import QUICK, Run
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Spec


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the scenarios that have been parsed."""
    names: list[str] = []
    original = Spec.parse.__func__  # type: ignore[attr-defined]

    def parse(cls: type[Spec], data: Any, where: str = "") -> Spec:
        names.append(data["name"])
        scenario: Spec = original(cls, data, where)
        return scenario

    monkeypatch.setattr(Scenario, "parse", classmethod(parse))
    return names


def test_a_training_run_parses_its_scenario_once(run: Run, parsed: list[str]) -> None:
    validated = "validation.every=32 validation.episodes=4 validation.n_envs=2"
    outcome = run(f"train {QUICK} scenario=tiny scenario.horizon_ticks=20 {validated} hydra.run.dir=run")
    assert outcome.code == 0, outcome.errors
    assert parsed == ["tiny"]


def test_an_evaluation_parses_its_scenario_once(run: Run, parsed: list[str]) -> None:
    typed = "scenario=tiny scenario.horizon_ticks=20 policies=[random,max_clock] episodes=4 n_envs=2 figures=false"
    outcome = run(f"evaluate {typed} hydra.run.dir=run")
    assert outcome.code == 0, outcome.errors
    assert parsed == ["tiny"]


def test_a_run_that_goes_on_parses_the_scenario_that_it_began_with(
    run: Run, parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tokenfleet.evaluate.save_study", interrupt)
        assert run("evaluate scenario=tiny policies=random episodes=2 figures=false hydra.run.dir=run").code == 130
    parsed.clear()
    assert run("evaluate resume=run").code == 0
    assert parsed == ["tiny"]


def test_every_job_of_a_sweep_parses_its_own(run: Run, parsed: list[str]) -> None:
    outcome = run("evaluate -m scenario=tiny seed=0,1 policies=random episodes=2 figures=false")
    assert outcome.code == 0, outcome.errors
    assert parsed == ["tiny", "tiny"]


def interrupt(*arguments: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt
