"""A folder of one's own serves every kind of entry, on every way to an environment, and only where it was named."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium.vector import AsyncVectorEnv

from tests.command_line import Run
from tokenfleet.envs import FleetEnv, FleetVectorEnv, Scenario, SpecError, load_scenario
from tokenfleet.envs.catalog import load_entry
from tokenfleet.evaluation.results import read_rows

ENV_ID = "tokenfleet:tokenfleet/Fleet-v0"
PROFILE = "my-model_my-gpu_tp1"


def write(folder: Path, kind: str, name: str, data: dict[str, Any]) -> None:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / f"{name}.yaml").write_text(yaml.safe_dump({**data, "name": name}, sort_keys=False))


def write_folder(folder: Path, host_s: float = 0.0123, price: float = 77.0) -> Path:
    """A scenario, its GPU, model, profile, trace, service level and a year of prices."""
    profile = load_entry("profile", "llama-3.1-8b_h100-sxm_tp1")
    write(folder, "gpu", "my-gpu", load_entry("gpu", "h100-sxm"))
    write(folder, "model", "my-model", load_entry("model", "llama-3.1-8b"))
    write(folder, "profile", PROFILE, {**profile, "model": "my-model", "gpu": "my-gpu", "host_s": host_s})
    write(folder, "slo", "my-slo", {**load_entry("slo", "llama2-70b-interactive"), "ttft_s": 3.25})
    columns = {"price_usd_per_mwh": {"meaning": "my tariff [USD/MWh]"}}
    write(folder, "series", "my-prices", {"file": "my-prices.csv", "columns": columns})
    (folder / "series" / "my-prices.csv").write_text("price_usd_per_mwh\n" + f"{price}\n" * 8760)
    rows = [f"{second},{100 + second},10" for second in range(1000)]
    for recording in ("trace/my-trace.csv", "scenario/beside.csv"):
        (folder / recording).parent.mkdir(exist_ok=True)
        (folder / recording).write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows))
    scenario = {
        "horizon_ticks": 10,
        "sites": {"lab": {"grid": {"cap_fraction": 0.9, "price_usd_per_mwh": {"series": "my-prices"}}}},
        "pools": {"pool": {"site": "lab", "gpu": "my-gpu", "model": "my-model", "needs_profile": True}},
        "classes": {
            "chat": {
                "model": "my-model",
                "slo": "my-slo",
                "usd_per_million_input_tokens": 1.0,
                "usd_per_million_output_tokens": 1.0,
            }
        },
        "workload": {
            "named": {"kind": "trace", "request_class": "chat", "trace": "my-trace"},
            "beside": {"kind": "trace", "request_class": "chat", "trace": "beside.csv"},
        },
    }
    write(folder, "scenario", "my-scenario", scenario)
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "mine")


def check_scenario(scenario: Scenario) -> None:
    pool, stream = scenario.pools["pool"], scenario.workload["named"]
    assert (pool.gpu_spec.name, pool.model_spec.name) == ("my-gpu", "my-model")
    assert (pool.profile.name, pool.profile.host_s) == (PROFILE, 0.0123)
    assert scenario.classes["chat"].ttft_s == 3.25
    assert stream.mean_rate_rps == pytest.approx(1.0, rel=0.01)
    price = scenario.sites["lab"].grid.price_usd_per_mwh
    assert not isinstance(price, float)
    assert price.lowest == 77.0


WAYS: dict[str, Callable[[Path], Scenario]] = {
    "FleetEnv": lambda mine: FleetEnv("my-scenario", search_paths=[mine]).scenario,
    "FleetVectorEnv": lambda mine: FleetVectorEnv("my-scenario", 2, search_paths=[mine]).scenario,
    "make": lambda mine: gymnasium.make(ENV_ID, scenario="my-scenario", search_paths=[str(mine)]).unwrapped.scenario,  # type: ignore[attr-defined]
    "make_vec": lambda mine: (
        gymnasium.make_vec(  # type: ignore[attr-defined]
            ENV_ID, num_envs=2, scenario="my-scenario", search_paths=[mine]
        ).unwrapped.scenario
    ),
    "load_scenario": lambda mine: load_scenario("my-scenario", search_paths=[mine]),
    "a scenario given on": lambda mine: FleetEnv(load_scenario("my-scenario", search_paths=[mine])).scenario,
    "a pickled scenario": lambda mine: pickle.loads(pickle.dumps(load_scenario("my-scenario", search_paths=[mine]))),
    "a pickled environment": lambda mine: (
        pickle.loads(pickle.dumps(FleetEnv("my-scenario", search_paths=[mine]))).scenario
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_entry_is_found(way: str, mine: Path) -> None:
    check_scenario(WAYS[way](mine))


def test_the_command_line_finds_a_users_entries(run: Run, mine: Path) -> None:
    outcome = run(
        "evaluate --config-dir mine scenario=my-scenario policies=random episodes=5 figures=false formats=csv"
    )
    assert outcome.code == 0, outcome.errors
    (results,) = Path("runs").rglob("episodes.csv")
    assert {row.scenario for row in read_rows(results)} == {"my-scenario"}


def test_spawned_processes_find_a_users_entries(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make = partial(gymnasium.make, ENV_ID, scenario="my-scenario", search_paths=[mine])
    batch = AsyncVectorEnv([make, make], context="spawn")
    try:
        found = batch.reset(seed=0)[0]
    finally:
        batch.close()
    here = FleetVectorEnv("my-scenario", 2, search_paths=[mine]).reset(seed=0)[0]
    np.testing.assert_array_equal(found, here)


def test_two_environments_do_not_share_their_folders(mine: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", host_s=0.5, price=5.0)
    first = FleetEnv("my-scenario", search_paths=[mine])
    second = FleetEnv("my-scenario", search_paths=[other])
    assert second.scenario.pools["pool"].profile.host_s == 0.5
    check_scenario(first.scenario)
    with pytest.raises(SpecError, match="unknown name 'my-scenario'"):
        FleetEnv("my-scenario")


def test_a_recording_stands_where_the_file_that_names_it_says(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    beside = load_scenario("my-scenario", search_paths=[mine]).workload["beside"]
    assert beside.model_dump()["trace"] == str(mine / "scenario" / "beside.csv")
    by_path = load_scenario(mine / "scenario" / "my-scenario.yaml", search_paths=[mine]).workload["beside"]
    assert by_path == beside


def test_a_recording_of_an_override_stands_in_the_working_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine / "trace")
    scenario = load_scenario("my-scenario", {"workload.beside.trace": "my-trace.csv"}, [mine])
    assert scenario.workload["beside"].model_dump()["trace"] == str(mine / "trace" / "my-trace.csv")


def test_a_missing_profile_is_no_roofline_where_one_is_needed(mine: Path) -> None:
    (mine / "profile" / f"{PROFILE}.yaml").unlink()
    with pytest.raises(SpecError, match=rf"^scenario\.pools\.pool\.needs_profile: .* has no profile '{PROFILE}'"):
        load_scenario("my-scenario", search_paths=[mine])
    roofline = load_scenario("my-scenario", {"pools.pool.needs_profile": False}, [mine])
    assert roofline.pools["pool"].profile.origin == "roofline"


def test_a_profile_under_a_wrong_name_is_not_passed_over(mine: Path) -> None:
    (mine / "profile" / f"{PROFILE}.yaml").rename(mine / "profile" / "mine.yaml")
    text = (mine / "profile" / "mine.yaml").read_text().replace(f"name: {PROFILE}", "name: mine")
    (mine / "profile" / "mine.yaml").write_text(text)
    with pytest.raises(SpecError, match=rf"profile\.mine: is of the pair {PROFILE}; name it so"):
        load_scenario("my-scenario", {"pools.pool.needs_profile": False}, [mine])


@pytest.mark.parametrize("given", ["mine", [3], [None], None, {"a": 1}, "nowhere"])
def test_folders_must_be_a_list_of_folders(given: Any) -> None:
    with pytest.raises(SpecError, match=r"^catalog\.search_paths: "):
        FleetEnv("tiny", search_paths=given if given != "nowhere" else [given])


@pytest.mark.parametrize("place", ["scenario/my-scenario.yaml", "my-scenario.yaml"])
def test_an_entry_near_the_file_of_a_scenario_is_told_with_the_folder_to_name(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "mine")
    (folder / "scenario" / "my-scenario.yaml").rename(folder / place)
    (folder / "scenario" / "beside.csv").rename(folder / Path(place).parent / "beside.csv")
    monkeypatch.chdir(tmp_path)
    way_out = "{} is found by catalog.search_paths=[mine] (Python: search_paths=['mine'])"
    of_ours = {
        "sites.lab.grid.price_usd_per_mwh": 30.0,
        "classes.chat.slo": "llama2-70b",
        "workload.named.trace": "azure-chat-2023",
    }
    for overrides, entries in (
        ({}, ["series/my-prices.yaml", "slo/my-slo.yaml", "trace/my-trace.csv"]),
        (of_ours, ["gpu/my-gpu.yaml"]),
    ):
        with pytest.raises(SpecError) as refused:
            load_scenario(Path("mine") / place, overrides)
        told = [problem.split("; ")[-1] for problem in refused.value.problems]
        assert told == [way_out.format(f"mine/{entry}") for entry in entries]
    assert load_scenario(Path("mine") / place, search_paths=["mine"]).pools["pool"].gpu == "my-gpu"
