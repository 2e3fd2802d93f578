"""What a user brings reaches training and evaluation without a change of this project's code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.command_line import QUICK, ROOT, Run, check_refusal
from tokenfleet.envs import catalog
from tokenfleet.evaluation.results import EpisodeRow, read_rows
from tokenfleet.policies.learned.checkpoint import load_policy

TINY = "scenario=tiny scenario.horizon_ticks=20"
PARTS = '''
import numpy as np

from tokenfleet.envs import FleetObservation
from tokenfleet.envs.layers.agents import Demand, StreamSpec


class EnergyOnly:
    """The reward is what the electricity costs."""

    def __init__(self, scenario):
        self.scenario = scenario

    def __call__(self, outcome, price_usd_per_mwh):
        return {"energy_kwh": -outcome["energy_j"].sum(axis=1) / 3.6e6}


def caps(scenario):
    return FleetObservation(scenario, ["cap_w"])


class Steady(StreamSpec):
    """A request of 100 and 50 tokens every `interval_s`."""

    interval_s: float

    @property
    def mean_rate_rps(self):
        return 1 / self.interval_s

    @property
    def mean_prompt_tokens(self):
        return 100.0

    @property
    def mean_output_tokens(self):
        return 50.0

    def sample(self, rng, horizon_s, split):
        arrival_s = np.arange(0.0, horizon_s, self.interval_s)
        tokens = np.full(len(arrival_s), 50, np.int32)
        return Demand(arrival_s, 2 * tokens, tokens)
'''


def evaluated(run: Run, typed: str) -> list[EpisodeRow]:
    """The episodes of an evaluation that must succeed."""
    folder = Path(f"results{sum(1 for _ in Path().glob('results*'))}")
    outcome = run(f"evaluate {typed} episodes=5 formats=csv figures=false hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.errors
    return read_rows(folder / "episodes.csv")


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own in the folder from which the scripts are started."""
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.delitem(sys.modules, "my_parts", raising=False)
    return "my_parts"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a GPU that draws nothing while it idles or sleeps, and a scenario that has it everywhere."""
    gpu = yaml.safe_load(catalog.find("gpu", "h100-sxm").read_text())
    scenario = yaml.safe_load(catalog.find("scenario", "tiny").read_text())
    pools = {name: {**pool, "gpu": "my-gpu"} for name, pool in scenario["pools"].items()}
    frugal = {**gpu, "name": "my-gpu", "idle_w": 1.0, "asleep_w": 1.0, "static_w": 1.0}
    for kind, data in {"gpu": frugal, "scenario": {**scenario, "name": "my-scenario", "pools": pools}}.items():
        (tmp_path / "mine" / kind).mkdir(parents=True)
        (tmp_path / "mine" / kind / f"{data['name']}.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return tmp_path / "mine"


BATTERY_TICKS = 192.0


@pytest.mark.parametrize(
    ("env_id", "length"),
    [
        ("CartPole-v1", None),
        ("examples.custom_env.battery:BatteryEnv", BATTERY_TICKS),
        ("examples.custom_env.battery:battery/Battery-v0", BATTERY_TICKS),
    ],
)
def test_any_gymnasium_environment_is_trained_in_and_evaluated(
    env_id: str, length: float | None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    trained = run(f"train {QUICK} env.id={env_id} hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    rows = evaluated(run, f"env.id={env_id} policies=random checkpoint=run")
    assert {row.policy for row in rows} == {"random", "ppo-seed0"}
    for row in rows:  # CartPole pays 1 for every step
        assert row.metrics["length_steps"] == (row.metrics["return"] if length is None else length)


def test_a_policy_of_ones_own_is_evaluated_beside_the_shipped_ones(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    night_shift = '{name: "examples.custom_policy.night_shift:NightShift", cheap_usd_per_mwh: 0, slow_clock: 0.6}'
    rows = evaluated(run, f"{TINY} 'policies=[max_clock,{night_shift}]'")
    energy_kwh = {(row.policy, row.episode): row.metrics["energy_kwh"] for row in rows}
    for episode in range(5):  # electricity is never that cheap
        assert energy_kwh["NightShift", episode] < energy_kwh["max_clock", episode]


def test_a_reward_and_an_observation_of_ones_own_are_trained_on(run: Run, parts: str) -> None:
    chosen = f"{TINY} env.kwargs.reward={parts}:EnergyOnly env.kwargs.observation={parts}:caps"
    trained = run(f"train {QUICK} {chosen} hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    assert load_policy(Path("run")).observation_space.shape == (1,)  # one site, one cap
    rows = evaluated(run, f"{chosen} policies=max_clock checkpoint=run")
    assert len(rows) == 10
    usd_per_kwh = {row.metrics["return"] / row.metrics["energy_kwh"] for row in rows}
    assert max(usd_per_kwh) < 0
    assert max(usd_per_kwh) == pytest.approx(min(usd_per_kwh), rel=1e-6)


OWN_ALGORITHM = "examples.custom_algorithm.settling_ppo"
OWN_TRAINING = (
    f"{TINY} total_timesteps=128 n_envs=2 validation.every=null tracking=none algo={OWN_ALGORITHM}:SettlingPPO "
    "algo.kwargs.n_steps=32 algo.kwargs.batch_size=32 algo.kwargs.ent_coef=0.01 "
    f"algo.policy_kwargs.features_extractor_class={OWN_ALGORITHM}:ResidualExtractor"
)


def test_an_algorithm_of_ones_own_is_trained_and_once_trusted_evaluated(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    trained = run(f"train {OWN_TRAINING} hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    refused = run(f"evaluate {TINY} policies=max_clock checkpoint=run episodes=5")
    named = rf"{re.escape(OWN_ALGORITHM)}:SettlingPPO"
    check_refusal(refused, [rf"^checkpoint run/.*names code that would run \({named}.*trust=\[{OWN_ALGORITHM}\]$"])
    rows = evaluated(run, f"{TINY} policies=max_clock checkpoint=run trust=examples.custom_algorithm")
    assert {row.policy for row in rows} == {"max_clock", "SettlingPPO-seed0"}


def test_a_run_of_ones_own_algorithm_is_resumed_once_trusted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    assert run(f"train {OWN_TRAINING} hydra.run.dir=run").code == 0
    manifest = Path("run/manifest.json")
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))  # as if it had been killed at the end
    weights = Path("run/checkpoints/last/policy.safetensors").read_bytes()
    check_refusal(run("train resume=run"), [rf"^resume: run/config\.yaml: names code .*trust=\[{OWN_ALGORITHM}\]$"])
    resumed = run("train resume=run trust=examples")
    assert resumed.code == 0, resumed.errors
    assert Path("run/checkpoints/last/policy.safetensors").read_bytes() == weights


def test_an_evaluation_of_ones_own_policy_is_resumed_once_trusted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    own = "examples.custom_policy.night_shift"
    typed = f"{TINY} policies={own}:NightShift episodes=1 figures=false"
    assert run(f"evaluate {typed} trust={own} hydra.run.dir=results").code == 0
    config, manifest = Path("results/config.yaml"), Path("results/manifest.json")
    assert "trust" not in yaml.safe_load(config.read_text())  # a permission of one start, which no folder can give
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    check_refusal(run("evaluate resume=results"), [rf"^resume: results/config\.yaml: names code .*trust=\[{own}\]$"])
    assert run("evaluate resume=results trust=examples").code == 0


def test_a_workload_of_ones_own_arrives(run: Run, parts: str) -> None:
    stream = f'{{kind: "{parts}:Steady", request_class: chat-8b, interval_s: 2.5}}'
    silent = "~scenario.workload.chat-8b ~scenario.workload.chat-70b ~scenario.workload.batch-8b"
    rows = evaluated(run, f"{TINY} {silent} '+scenario.workload.steady={stream}' policies=max_clock")
    assert [row.metrics["completed"] for row in rows] == [8.0] * 5  # at 0, 2.5, ... 17.5 s


def test_a_gpu_of_ones_own_is_found_by_search_path_and_by_config_dir(run: Run, mine: Path) -> None:
    shipped = evaluated(run, f"{TINY} policies=max_clock")
    pools = " ".join(f"scenario.pools.{pool}.gpu=my-gpu" for pool in ("lab-8b", "lab-70b"))
    by_path = evaluated(run, f"{TINY} {pools} catalog.search_paths={mine.name} policies=max_clock")
    by_folder = evaluated(
        run, f"--config-dir {mine.name} scenario=my-scenario scenario.horizon_ticks=20 policies=max_clock"
    )
    assert [row.scenario for row in by_folder] == ["my-scenario"] * 5
    for there, here, again in zip(shipped, by_path, by_folder, strict=True):
        assert here.metrics["energy_kwh"] < there.metrics["energy_kwh"]
        assert here.metrics["energy_kwh"] == again.metrics["energy_kwh"]


def test_a_scenario_of_ones_own_is_trained_in(run: Run, mine: Path) -> None:
    trained = run(f"train --config-dir {mine.name} {QUICK} scenario=my-scenario hydra.run.dir=run")
    assert trained.code == 0, trained.errors
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["catalog"] == {"search_paths": [str(mine)]}
    assert {pool["gpu"] for pool in config["scenario"]["pools"].values()} == {"my-gpu"}
