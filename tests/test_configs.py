"""Configurations compose, say what each key means, and turn every mistake into a line that names the key."""

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

from tokenfleet import evaluate as evaluate_script
from tokenfleet import train as train_script
from tokenfleet.configs import help as config_help
from tokenfleet.configs.entry import CONFIGS
from tokenfleet.configs.environments import make_vector_env, settled
from tokenfleet.configs.help import described_keys
from tokenfleet.configs.manifest import config_hash
from tokenfleet.configs.schema import EvaluateConfig, TrainConfig, parse_config
from tokenfleet.envs import catalog
from tokenfleet.envs.spec import Spec, SpecError
from tokenfleet.policies.learned.algorithms import ALGORITHMS, parse_algorithm

ALGORITHM_FILES = sorted((CONFIGS / "algo").glob("*.yaml"))
QUICK = (
    "scenario=tiny",
    "total_timesteps=512",
    "n_envs=4",
    "algo.rollout_steps=256",
    "algo.batch_size=64",
    "validation.episodes=2",
    "tensorboard=false",
)


class Outcome:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, errors: str) -> None:
        self.code, self.out, self.errors = code, out, errors
        self.lines = errors.splitlines()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `train.py` or `evaluate.py` in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(script: Any, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["script.py", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        capfd.readouterr()
        code = 0
        try:
            script.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, errors = capfd.readouterr()
        return Outcome(code, out, errors)

    yield run
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    catalog.use_folders([])


def train(command: Any, *arguments: str) -> Outcome:
    outcome: Outcome = command(train_script, *arguments)
    return outcome


def leaves(data: Any, prefix: str = "") -> set[str]:
    """Dotted names of every value; a schedule counts as one."""
    if not isinstance(data, dict) or "initial" in data:
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


def test_there_is_a_file_for_every_algorithm() -> None:
    assert {path.stem for path in ALGORITHM_FILES} == set(ALGORITHMS)


@pytest.mark.parametrize("path", ALGORITHM_FILES, ids=lambda path: path.stem)
def test_an_algorithm_file_gives_every_hyper_parameter_a_value_and_a_sentence(path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    assert leaves(data) == fields_of(ALGORITHMS[path.stem])
    assert parse_algorithm(data).name == path.stem
    for key, value, sentence in described_keys(path):
        assert sentence.endswith(".") or not value, f"{key} has no sentence"


@pytest.mark.parametrize(("name", "config_type"), [("train", TrainConfig), ("evaluate", EvaluateConfig)])
def test_an_entry_file_explains_every_key_that_its_schema_knows(name: str, config_type: type[Spec]) -> None:
    described = {key: sentence for key, value, sentence in described_keys(CONFIGS / f"{name}.yaml") if value}
    assert set(described) == {
        key for key in fields_of(config_type) if key.split(".")[0] not in {"scenario", "algo", "env"}
    }
    assert all(sentence.endswith(".") for sentence in described.values())


@pytest.mark.parametrize("script", [train_script, evaluate_script])
def test_help_shows_examples_choices_and_keys(script: Any, command: Any) -> None:
    outcome = command(script, "--help")
    assert outcome.code == 0
    assert outcome.out.count("  python ") >= 5
    assert "tiny" in outcome.out
    for key, value, _ in described_keys(CONFIGS / f"{script.__name__.rpartition('.')[2]}.yaml"):
        assert not value or f"{key}=" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 120


def test_a_number_may_take_the_place_of_a_schedule(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    assert train(command, "algo.learning_rate=1e-4").code == 0
    assert seen[0].algo.learning_rate.model_dump() == {"initial": 1e-4, "final": None}


def test_a_run_leaves_its_configuration_manifest_and_policy(command: Any, tmp_path: Path) -> None:
    outcome = train(command, *QUICK, "scenario.pools.lab-8b.replicas=3", "env.kwargs.reward_weights.energy_usd=2")
    assert outcome.code == 0, outcome.errors
    (run,) = tmp_path.glob("runs/train/tiny-ppo-seed0/*")
    config = parse_config(TrainConfig, yaml.safe_load((run / "config.yaml").read_text()))
    manifest = json.loads((run / "manifest.json").read_text())
    assert config.scenario is not None
    assert config.scenario.pools["lab-8b"].replicas == 3
    assert config.env.kwargs == {"reward_weights": {"energy_usd": 2}}
    assert manifest["config_sha256"] == config_hash(config)
    assert (manifest["status"], manifest["timesteps"], manifest["seed"]) == ("complete", 512, 0)
    assert manifest["versions"]["torch"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best", "last"}


def test_any_gymnasium_environment_trains(command: Any, tmp_path: Path) -> None:
    outcome = train(command, *QUICK[1:], "env.id=CartPole-v1", "env.kwargs.sutton_barto_reward=true")
    assert outcome.code == 0, outcome.errors
    (run,) = tmp_path.glob("runs/train/CartPole-v1-ppo-seed0/*")
    assert yaml.safe_load((run / "config.yaml").read_text())["scenario"] is None


def test_a_sweep_makes_one_run_for_each_value(command: Any, tmp_path: Path) -> None:
    outcome = train(command, "-m", *QUICK, "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.errors
    configs = [yaml.safe_load(path.read_text()) for path in sorted(tmp_path.glob("sweep/*/config.yaml"))]
    assert [config["seed"] for config in configs] == [0, 1]


def test_a_folder_of_ones_own_holds_scenarios_and_gpus(command: Any, tmp_path: Path) -> None:
    for kind in ("scenario", "gpu"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    world = catalog.find("scenario", "tiny").read_text().replace("h100-sxm", "my-gpu").replace("name: tiny", "name: my")
    (tmp_path / "mine" / "scenario" / "my.yaml").write_text(world)
    gpu = catalog.find("gpu", "h100-sxm").read_text().replace("name: h100-sxm", "name: my-gpu")
    (tmp_path / "mine" / "gpu" / "my-gpu.yaml").write_text(gpu)
    outcome = train(command, "--config-dir", "mine", *QUICK[1:], "scenario=my", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.errors
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["catalog"] == {
        "search_paths": [str(tmp_path / "mine")]
    }


MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "all at once": (
        (
            "sed=3",
            "n_envs=abc",
            "algo.gama=1",
            "algo.gamma=2",
            "scenario.pools.east-h100-8b.replicas=-1",
            "env.kwarg=3",
        ),
        (
            r"^n_envs: .*valid integer \(got 'abc'\)$",
            r"^sed: unknown key; did you mean 'seed'\?",
            r"^algo\.gama: unknown key; did you mean 'gamma'\?",
            r"^algo\.gamma: .*less than or equal to 1 \(got 2\)$",
            r"^scenario\.pools\.east-h100-8b\.replicas: .*greater than 0 \(got -1\)$",
            r"^env\.kwarg: unknown key; did you mean 'kwargs'\?",
        ),
    ),
    "algorithm": (("algo=pp",), (r"^algo: unknown choice 'pp'; did you mean 'ppo'\? \(choose from a2c, ppo,",)),
    "scenario": (("scenario=defaul",), (r"^scenario: unknown choice 'defaul'; did you mean 'default'\?",)),
    "grammar": (("seed=[",), (r"^command line: 'seed=\['",)),
    "no value": (("seed",), (r"^command line: 'seed'",)),
    "a number that is no count": (("total_timesteps=1.5",), (r"^total_timesteps: .*integer.*\(got 1.5\)$",)),
    "environment": (("env.id=CartPol-v1",), (r"^env\.id: .*Did you mean: `CartPole`",)),
    "module": (("env.id=no_such_module:X-v0",), (r"^env\.id: cannot import 'no_such_module'",)),
    "no environment": (("env.id=json:JSONDecoder",), (r"^env\.id: 'json:JSONDecoder' is neither",)),
    "argument of a fleet": (("env.kwargs.rewardd=1",), (r"^env\.kwargs\.rewardd: unknown .*did you mean 'reward'\?",)),
    "argument of its own key": (("env.kwargs.engine=native",), (r"^env\.kwargs\.engine: is set by the other keys",)),
    "argument of another environment": (("env.id=CartPole-v1", "env.kwargs.foo=1"), (r"^env\.kwargs: .*'foo'",)),
    "action space": (("env.id=CartPole-v1", "algo=sac"), (r"^algo\.name: sac cannot .*; choose ppo, a2c, rec",)),
    "catalogue": (("catalog.search_paths=nowhere",), (r"^catalog\.search_paths: no such folder '.*nowhere'$",)),
    "batch": (("algo.batch_size=10000",), (r"^algo: batch_size \(10000\) must not exceed rollout_steps",)),
    "no run": (("resume=nowhere",), (r"^resume: no such folder 'nowhere'$",)),
    "foreign folder": (("resume=.",), (r"^resume: \. holds no run of train\.py",)),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_ends_with_a_line_per_problem_and_leaves_nothing_behind(
    case: str, command: Any, tmp_path: Path
) -> None:
    arguments, expected = MISTAKES[case]
    outcome = train(command, *arguments)
    assert outcome.code == 2
    assert len(outcome.lines) == len(expected), outcome.errors
    for pattern in expected:
        assert any(re.search(pattern, line) for line in outcome.lines), outcome.errors
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        outcome = train(command, *QUICK, f"hydra.run.dir={folder}")
        assert outcome.code == 2
        assert outcome.lines == [outcome.errors.strip()]
        assert outcome.errors.startswith(f"hydra.run.dir: cannot make {folder} (")


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(command: Any, tmp_path: Path) -> None:
    assert train(command, *QUICK, "hydra.run.dir=run").code == 0
    again = train(command, *QUICK, "hydra.run.dir=run")
    assert again.code == 2
    assert again.errors.startswith("hydra.run.dir: run already holds a run;")
    assert train(command, "resume=run").errors == "resume: run is complete (512 steps); start a new run\n"
    # As if it had been interrupted before its first snapshot.
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    shutil.rmtree(tmp_path / "run" / "snapshots")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    conflict = train(command, "resume=run", "total_timesteps=600", "scenario=default", "n_envs=4")
    assert conflict.code == 2
    assert [line.split(":")[0] for line in conflict.lines] == ["scenario", "total_timesteps"]
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    weights = (tmp_path / "run/checkpoints/best/policy.safetensors").read_bytes()
    assert train(command, "resume=run", "n_envs=4").code == 0
    assert (tmp_path / "run/checkpoints/best/policy.safetensors").read_bytes() == weights


def test_an_evaluation_is_checked_by_the_same_door(command: Any, tmp_path: Path) -> None:
    outcome = command(evaluate_script, "episods=3", "split=tset", "formats=[xlsx]")
    assert outcome.code == 2
    assert [line.split(":")[0] for line in outcome.lines] == ["split", "formats.0", "episods"]
    assert list(tmp_path.iterdir()) == []


GUIDE = (CONFIGS.parent / "docs" / "training.md").read_text()
# Commands with a folder, a module or a run that only the reader has are left out.
DOCUMENTED = [
    line
    for line in re.findall(r"^python train\.py (?!-)([^#\n]+)", GUIDE, re.M)
    if "my" not in line and "resume" not in line
]


@pytest.mark.parametrize("arguments", DOCUMENTED)
def test_the_guides_commands_are_accepted(arguments: str, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TrainConfig] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    outcome = train(command, *shlex.split(arguments))
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
