"""Configurations compose, say what each key means, and make runs that know where they come from."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gymnasium.vector import AutoresetMode

from tests.command_line import Outcome, Run
from tokenfleet import train as train_script
from tokenfleet.cli import help as config_help
from tokenfleet.cli.environments import make_vector_env, rewarded, settled
from tokenfleet.cli.help import described_keys
from tokenfleet.cli.manifest import config_hash
from tokenfleet.cli.resolvers import CONFIGS
from tokenfleet.configs.parsing import parse_config
from tokenfleet.configs.schema import EvaluateConfig, TrainConfig, TuneConfig
from tokenfleet.envs.spec import Spec, SpecError
from tokenfleet.policies.learned.algorithms import ALGORITHMS, parse_algorithm
from tokenfleet.policies.learned.tracking import TRACKERS

ALGORITHM_FILES = sorted((CONFIGS / "algo").glob("*.yaml"))
QUICK = (
    "scenario=tiny",
    "total_timesteps=512",
    "n_envs=4",
    "algo.n_steps=64",
    "algo.batch_size=64",
    "validation.episodes=2",
    "tracking=none",
)


def train(run: Run, *arguments: str) -> Outcome:
    return run(shlex.join(["train", *arguments]))


def leaves(data: Any, prefix: str = "") -> set[str]:
    """Dotted names of every value; a schedule and an empty mapping count as one."""
    if not isinstance(data, dict) or not data or "initial" in data:
        return {prefix}
    return {leaf for key, value in data.items() for leaf in leaves(value, f"{prefix}.{key}" if prefix else key)}


def fields_of(spec: type[Spec], prefix: str = "") -> set[str]:
    """Dotted names of every field, down through nested specs; a schedule counts as one."""
    names = set()
    for name, field in spec.model_fields.items():
        inner = field.annotation
        nested = isinstance(inner, type) and issubclass(inner, Spec) and inner.__name__ != "Schedule"
        names |= fields_of(inner, f"{prefix}{name}.") if nested else {f"{prefix}{name}"}
    return names


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracking_file_gives_every_key_its_default_and_a_sentence(name: str) -> None:
    path = CONFIGS / "tracking" / f"{name}.yaml"
    assert yaml.safe_load(path.read_text()) == TRACKERS[name]().model_dump()
    assert all(sentence.endswith(".") for _, _, sentence in described_keys(path))


def test_there_is_a_file_for_every_algorithm() -> None:
    assert {path.stem for path in ALGORITHM_FILES} == set(ALGORITHMS)


@pytest.mark.parametrize("path", ALGORITHM_FILES, ids=lambda path: path.stem)
def test_an_algorithm_file_gives_every_hyper_parameter_a_value_and_a_sentence(path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    assert leaves(data) == fields_of(ALGORITHMS[path.stem])
    chosen = {key: "my_module:MyPPO" for key, value in data.items() if value == "???"}
    assert parse_algorithm({**data, **chosen}).name == path.stem
    for key, value, sentence in described_keys(path):
        assert sentence.endswith(".") or not value, f"{key} has no sentence"


@pytest.mark.parametrize(
    ("name", "config_type"), [("train", TrainConfig), ("evaluate", EvaluateConfig), ("tune", TuneConfig)]
)
def test_an_entry_file_explains_every_key_that_its_schema_knows(name: str, config_type: type[Spec]) -> None:
    described = {key: sentence for key, value, sentence in described_keys(CONFIGS / f"{name}.yaml") if value}
    assert set(described) == {
        key
        for key in fields_of(config_type)
        if key.split(".")[0] not in {"scenario", "shift", "algo", "env", "tracking"}
    }
    assert all(sentence.endswith(".") for sentence in described.values())


@pytest.mark.parametrize(
    ("name", "config_type", "required"),
    [
        ("train", TrainConfig, {"algo": {"name": "ppo"}, "total_timesteps": 1_000_000}),
        ("evaluate", EvaluateConfig, {}),
        ("tune", TuneConfig, {}),
    ],
)
def test_an_entry_file_says_what_its_schema_takes_by_default(
    name: str, config_type: type[Spec], required: dict[str, Any]
) -> None:
    written = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    given = {key: value for key, value in written.items() if key not in {"defaults", "hydra"}}
    assert config_type.parse({**required, **given}) == config_type.parse(required)


@pytest.mark.parametrize("script", ["train", "evaluate", "tune"])
def test_help_shows_examples_choices_and_keys(script: str, run: Run) -> None:
    outcome = run(f"{script} --help")
    assert outcome.code == 0
    assert outcome.out.count("  python ") >= 5
    assert "tiny" in outcome.out
    for key, value, _ in described_keys(CONFIGS / f"{script}.yaml"):
        assert not value or f"{key}=" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120


def test_a_number_may_take_the_place_of_a_schedule(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    assert train(run, "algo.learning_rate=1e-4").code == 0
    assert seen[0].algo.learning_rate.model_dump() == {"initial": 1e-4, "final": None}


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml")))
def test_an_experiment_is_a_run_of_any_scenario(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    outcome = train(run, f"experiment={name}", "scenario=tiny", "n_envs=64")
    assert outcome.code == 0, outcome.errors
    assert seen[0].env.kwargs.get("action", "direct") == {"correction": "direct", "wide_correction": "direct"}.get(
        name, "setpoints"
    )
    assert (seen[0].n_envs, seen[0].total_timesteps >= 500_000) == (64, True)
    make_vector_env(rewarded(seen[0]), 1, "train", AutoresetMode.SAME_STEP).close()


def test_a_run_leaves_its_configuration_manifest_and_policy(run: Run, tmp_path: Path) -> None:
    outcome = train(run, *QUICK, "scenario.pools.lab-8b.replicas=3", "env.kwargs.reward_weights.energy_usd=2")
    assert outcome.code == 0, outcome.errors
    (folder,) = tmp_path.glob("runs/train/tiny-ppo-seed0/*")
    config = parse_config(TrainConfig, yaml.safe_load((folder / "config.yaml").read_text()))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert config.scenario is not None
    assert config.scenario.pools["lab-8b"].replicas == 3
    assert config.env.kwargs == {"reward_weights": {"energy_usd": 2}}
    assert manifest["config_sha256"] == config_hash(config)
    assert (manifest["status"], manifest["timesteps"], manifest["seed"]) == ("complete", 512, 0)
    assert manifest["versions"]["torch"]
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best", "last"}


def test_a_sweep_makes_one_run_for_each_value(run: Run, tmp_path: Path) -> None:
    outcome = train(run, "-m", *QUICK, "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.errors
    configs = [yaml.safe_load(path.read_text()) for path in sorted(tmp_path.glob("sweep/*/config.yaml"))]
    assert [config["seed"] for config in configs] == [0, 1]


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(run: Run, tmp_path: Path) -> None:
    assert train(run, *QUICK, "hydra.run.dir=run").code == 0
    again = train(run, *QUICK, "hydra.run.dir=run")
    assert again.code == 2
    assert again.errors.startswith("hydra.run.dir: run already holds a run (complete);")
    assert train(run, "resume=run").errors == "resume: run is complete (512 steps); start a new run\n"
    # As if it had been interrupted before its first snapshot.
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    shutil.rmtree(tmp_path / "run" / "snapshots")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    conflict = train(run, "resume=run", "total_timesteps=600", "scenario=default", "n_envs=4")
    assert conflict.code == 2
    assert [line.split(":")[0] for line in conflict.lines] == ["scenario", "total_timesteps"]
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    weights = (tmp_path / "run/checkpoints/best/policy.safetensors").read_bytes()
    assert train(run, "resume=run", "n_envs=4").code == 0
    assert (tmp_path / "run/checkpoints/best/policy.safetensors").read_bytes() == weights


GUIDE = (CONFIGS.parent / "docs" / "training.md").read_text()
# Commands with a folder, a module or a run that only the reader has are left out.
DOCUMENTED = [
    line
    for line in re.findall(r"^python train\.py (?!-)([^#\n]+)", GUIDE.replace("\\\n", ""), re.M)
    if "my" not in line and "resume" not in line
]


@pytest.mark.parametrize("arguments", DOCUMENTED)
def test_the_guides_commands_are_accepted(arguments: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    outcome = train(run, *shlex.split(arguments))
    assert outcome.code == 0, outcome.errors
    make_vector_env(seen[0], 1, "train", AutoresetMode.SAME_STEP)


def test_the_guide_names_every_key() -> None:
    keys = {key.split(".")[0] for key, _, _ in described_keys(CONFIGS / "train.yaml")}
    assert {key for key in keys if f"`{key}" not in GUIDE} == set()


def test_help_and_mistakes_do_not_wait_for_torch() -> None:
    """Importing the entry script must stay light; torch takes longer than everything else together."""
    import subprocess

    code = "import sys, tokenfleet.train; print({'torch', 'stable_baselines3', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_counts_may_be_written_as_powers_of_ten() -> None:
    config = parse_config(TrainConfig, {"algo": {"name": "ppo"}, "total_timesteps": 1e6})
    assert config.total_timesteps == 1_000_000


def test_one_value_may_stand_for_a_list() -> None:
    config = parse_config(EvaluateConfig, {"policies": "random", "checkpoint": "run", "formats": "csv"})
    assert (config.policies, config.checkpoint, config.formats) == (("random",), ("run",), ("csv",))


def test_a_scenario_without_a_fleet_is_left_out() -> None:
    data = {"algo": {"name": "ppo"}, "total_timesteps": 1, "scenario": "tiny", "env": {"id": "CartPole-v1"}}
    assert settled(parse_config(TrainConfig, data)).scenario is None
    assert settled(parse_config(TrainConfig, {**data, "env": {}})).scenario is not None


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ({}, "cap_aware"),
        ({"reward": "certain_value"}, "certain_value"),
        ({"env": {"kwargs": {"reward": "mine:MyReward"}}}, "mine:MyReward"),
        ({"env": {"id": "CartPole-v1"}}, None),
    ],
)
def test_fleets_are_trained_on_the_reward_of_training_unless_one_is_named(
    said: dict[str, Any], reward: str | None
) -> None:
    config = parse_config(TrainConfig, {"algo": {"name": "ppo"}, "total_timesteps": 1e6, **said})
    assert rewarded(config).env.kwargs.get("reward") == reward


def test_a_class_may_stand_for_an_environment() -> None:
    data = {"scenario": "tiny", "env": {"id": "tokenfleet.envs.fleet:FleetEnv"}}
    env = make_vector_env(parse_config(EvaluateConfig, data), 2, "test", AutoresetMode.SAME_STEP)
    assert env.num_envs == 2
    assert {part.unwrapped.batch.split for part in env.envs} == {"test"}  # type: ignore[attr-defined]


def test_a_broken_section_does_not_hide_the_others() -> None:
    with pytest.raises(SpecError) as refused:
        parse_config(TrainConfig, {"algo": {"name": "x"}, "scenario": {"name": "y"}, "seed": -1, "total_timesteps": 1})
    keys = [problem.split(":")[0] for problem in refused.value.problems]
    assert keys == ["seed", "scenario.sites", "scenario.pools", "scenario.classes", "scenario.workload", "algo.name"]


def test_help_reads_nested_keys_and_their_comments(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "# Not of a key.\n\n# First.\n# Second.\na:\n  # Inner.\n  b: 3\nhydra:\n  # No.\n  c: 1\n"
    )
    assert described_keys(tmp_path / "x.yaml") == [("a", "", "First. Second."), ("a.b", "3", "Inner.")]
    assert config_help.keys_help(tmp_path / "x.yaml").split() == ["a.b=3", "Inner."]


def test_validation_counts_and_seeds_are_those_of_the_run() -> None:
    data = {"algo": {"name": "ppo"}, "total_timesteps": 1, "validation": {"episodes": 2e1, "n_envs": 4e0, "seed": 1e3}}
    validation = parse_config(TrainConfig, data).validation
    assert (validation.episodes, validation.n_envs, validation.seed) == (20, 4, 1000)
    with pytest.raises(SpecError, match=r"^validation\.seed: .* less than 2147483648"):
        parse_config(TrainConfig, {**data, "validation": {"seed": 2**31}})
