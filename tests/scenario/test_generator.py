"""Fleets are drawn from ranges: the same number is the same fleet, and what is held out is met in test fleets alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.capacity import capacity_rps
from tokenfleet.envs.scenario.generator import Ranges, draw_scenario, drawn_data, held_out_in, load_ranges
from tokenfleet.envs.scenario.generator.__main__ import main
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import SPLITS, Split

FLEETS = 24
RANGES = load_ranges("generalist")
TEXT = (SHIPPED / "generator" / "generalist.yaml").read_text(encoding="utf-8")


def ranges_with(**keys: Any) -> Ranges:
    return Ranges.parse({**yaml.safe_load(TEXT), **keys}, where="generator")


@pytest.mark.parametrize("split", SPLITS)
def test_drawn_fleets_are_scenarios(split: Split) -> None:
    """Parsing checks them as it checks a person's."""
    for index in range(FLEETS):
        scenario = draw_scenario(RANGES, split, index)
        assert scenario.name == f"generalist-{split}-{index}"
        assert len(scenario.sites) in RANGES.sites_of(split)


def test_a_fleet_is_a_function_of_its_split_and_its_number() -> None:
    first = {split: [drawn_data(RANGES, split, index) for index in (0, 1)] for split in SPLITS}
    assert first == {split: [drawn_data(RANGES, split, index) for index in (0, 1)] for split in SPLITS}
    fleets = [{**data, "name": ""} for both in first.values() for data in both]
    assert all(fleets[i] != fleets[j] for i in range(len(fleets)) for j in range(i))


def test_what_is_held_out_comes_in_test_fleets_alone() -> None:
    met = {
        split: {part for index in range(FLEETS) for part in held_out_in(RANGES, draw_scenario(RANGES, split, index))}
        for split in SPLITS
    }
    assert (met["train"], met["validation"]) == (set(), set())
    assert met["test"] == {"4 sites", "h200-sxm", "gpt-oss-120b", "qwen3-30b-a3b"}


def test_demand_is_the_share_that_was_drawn_of_what_pools_could_serve() -> None:
    steady = ranges_with(load=(0.4, 0.4), regime={**yaml.safe_load(TEXT)["regime"], "chance": 0.0})
    for index in range(6):
        scenario = draw_scenario(steady, "train", index)
        rate_rps = np.array([scenario.mean_rate_rps(name) for name in scenario.classes])
        busy = rate_rps / capacity_rps(scenario).sum(axis=1)
        models = np.array([spec.model for spec in scenario.classes.values()])
        loads = [busy[models == model].sum() for model in np.unique(models)]
        np.testing.assert_allclose(loads, 0.4, rtol=2e-3)  # rates are rounded to four digits


def test_a_drawn_fleet_is_an_environment() -> None:
    env = gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario=draw_scenario(RANGES, "test", 1))
    env.reset(seed=0)
    _, reward, *_ = env.step(np.zeros(env.action_space.shape, np.float32))
    assert np.isfinite(reward)


def test_the_command_writes_fleets_that_every_script_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["--split", "validation", "--first", "2", "--count", "2", "--out", str(tmp_path)]
    assert main(typed) == 0
    for index in (2, 3):
        found = load_scenario(f"generalist-validation-{index}", search_paths=[tmp_path])
        assert found.model_dump() == draw_scenario(RANGES, "validation", index).model_dump()
    assert main(typed) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"load": [0.6, 0.2]}, r"generator\.load: a span begins with its lower end \(got 0\.6 before 0\.2\)"),
        ({"held_out": {"gpus": ["h200"]}}, r"held_out\.gpus: no server has 'h200'; did you mean 'h200-sxm'"),
        ({"held_out": {"models": ["llama"]}}, r"held_out\.models: 'llama' is not among the models"),
        ({"models_of_fleet": [5]}, r"models_of_fleet: at most 4 are on offer in training \(got 5\)"),
        ({"kinds_of_model": [9]}, r"kinds_of_model: at most 3 are on offer"),
        ({"replica": [1]}, r"generator\.replica: unknown key; did you mean 'replicas'"),
    ],
)
def test_wrong_ranges_are_answered(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ranges_with(**keys)


def test_a_negative_number_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--first", "-1", "--out", str(tmp_path)]) == 2
    assert "fleets are numbered from 0 on (got -1)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
