"""The ablation: its runs are runs of train.py, and each is told against the first of its family."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from benchmarks.ablation import RUNS_FILE, Runs, findings, keys_of
from tests.command_line import Run
from tokenfleet import train as train_script
from tokenfleet.configs.schema import TrainConfig
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.scenario import load_scenario

RUNS = Runs.parse(read_yaml(RUNS_FILE), RUNS_FILE.stem)


def test_every_run_is_one_of_train_with_as_many_episodes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    short = load_scenario("default", {"horizon_ticks": 240})
    wanted = [(family, one) for family in RUNS.families.values() for one in family.runs]
    for family, one in wanted:
        keys = [*keys_of(short, family, one, RUNS.common, 3, 640), "scenario.horizon_ticks=240"]
        outcome = run(shlex.join(["train", *keys]))
        assert outcome.code == 0, outcome.errors
        setpoints = seen[-1].env.kwargs.get("action") == "setpoints"
        assert seen[-1].env.kwargs.get("decide_every", 1) == one.decide_every, one.name
        assert setpoints or one.decide_every == 1
        assert seen[-1].total_timesteps == 640 * 240 // one.decide_every
    assert len({str(config.kept()) for config in seen}) == len(wanted)


def test_a_run_is_told_against_the_first_of_its_family() -> None:
    noise = np.random.default_rng(0).normal(size=12)
    names = [one.name for family in RUNS.families.values() for one in family.runs]
    values = {name: np.array([noise + place, noise + place]) for place, name in enumerate(names)}
    found = findings("tiny", RUNS, values, dict.fromkeys(RUNS.families, noise))
    first, second = found[:2]
    assert (first.run, first.lost) == (names[0], None)
    assert second.gain.estimate == pytest.approx(1.0)
    assert second.lost is not None
    assert second.lost.estimate == pytest.approx(1.0)
    assert sum(one.lost is None for one in found) == len(RUNS.families)
