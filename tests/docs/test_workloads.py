"""docs/workloads.md says what the specs say, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.agents import STREAM_KINDS, RequestClassSpec, StreamSpec
from tokenfleet.envs.scenario import load_scenario

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
SHARED = {"kind", "request_class", "region"}


def section(title: str) -> str:
    return PAGE.split(f"{title}\n", 1)[1].split("\n#", 1)[0]


def keys_of(text: str) -> set[str]:
    """Names in the first column of a page's tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row)}


@pytest.mark.parametrize("kind", STREAM_KINDS)
def test_every_key_of_every_kind_is_documented_and_no_other(kind):
    assert keys_of(section(f"### {kind}")) == set(STREAM_KINDS[kind].model_fields) - SHARED


def test_every_key_of_a_class_is_documented_and_no_other():
    assert keys_of(section("## Classes")) == set(RequestClassSpec.model_fields)


def test_every_service_level_is_named():
    assert all(f"`{name}`" in PAGE for name in catalog_names("slo"))


def test_defaults_are_those_of_the_specs():
    hawkes = STREAM_KINDS["hawkes"].model_fields
    assert f"| `branching_ratio` | {hawkes['branching_ratio'].default} |" in PAGE
    assert f"| `decay_s` | {hawkes['decay_s'].default} |" in PAGE
    library = STREAM_KINDS["agent_generator"].model_fields["library_sessions"].default
    assert f"| `library_sessions` | {library} |" in PAGE


def test_every_picture_is_there():
    names = re.findall(r"\]\((images/[^)]*)\)", PAGE)
    assert names
    assert all((Path(__file__).parents[2] / "docs" / name).is_file() for name in names)


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
