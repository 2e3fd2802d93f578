"""docs/workloads.md says what the specs say, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.agents import STREAM_KINDS, StreamSpec
from tokenfleet.envs.scenario import load_scenario

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("kind", "stream"), STREAM_KINDS.items())
def test_every_kind_leads_to_its_keys(kind, stream):
    assert f"[`{kind}`](scenario-keys.md#{stream.__name__.lower()})" in PAGE


def test_the_splits_of_every_shipped_scenario_are_compared():
    rows = re.findall(r"(?m)^\| ([a-z][\w-]*) \|(?: [+-]\d+\.\d(?: / [+-]\d+\.\d){2} \|){5}$", PAGE)
    assert sorted(rows) == sorted(catalog_names("scenario"))


def test_every_service_level_is_named():
    assert all(f"`{name}`" in PAGE for name in catalog_names("slo"))


def test_the_worked_example_draws_an_episode():
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL).group(1))
    scenario = load_scenario("default", {"classes": example["classes"], "workload": example["workload"]})
    requests = sample_episode(scenario, 0).requests
    assert requests.is_closed_loop
    assert set(requests.class_id.tolist()) == {0, 1}
    assert scenario.classes["chat-8b"].ttft_s == 0.5


def test_the_stream_of_ones_own_draws(monkeypatch):
    namespace: dict[str, object] = {"__name__": "mine"}
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL).group(1), namespace)
    metronome = namespace["MetronomeStream"]
    assert isinstance(metronome, type)
    assert issubclass(metronome, StreamSpec)
    demand = metronome(request_class="chat").sample(np.random.default_rng(0), 60.0, "train")
    assert len(demand) == 60
