"""What `--help` shows works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gymnasium.vector import AutoresetMode

from tests.command_line import QUICK, ROOT, Run
from tokenfleet import evaluate as evaluate_script
from tokenfleet import train as train_script
from tokenfleet import tune as tune_script
from tokenfleet.cli.candidates import make_candidates
from tokenfleet.cli.entry import UNREAD
from tokenfleet.cli.environments import make_vector_env
from tokenfleet.cli.resolvers import CONFIGS
from tokenfleet.cli.tuning import subject_of
from tokenfleet.envs.catalog import find

RUN = "runs/train/default-ppo-seed0/2026-01-31_12-00-00"
EVALUATION = "runs/evaluate/default/2026-01-31_12-00-00"
TUNING = "runs/tune/default/2026-01-31_12-00-00"
SCRIPTS = ("train", "evaluate", "tune")


def examples(script: str) -> list[str]:
    """The command lines of a script that the `--help` of any script shows, without their comments."""
    text = "".join((CONFIGS / f"{name}.yaml").read_text() for name in SCRIPTS)
    shown = re.findall(rf"^ +python {script}\.py(.*)$", text, re.MULTILINE)
    return list(dict.fromkeys(line.split("  #")[0].strip() for line in shown))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scenario and a policy of the user's own in the folder from which the scripts are started."""
    folder = tmp_path / "mine" / "scenario"
    folder.mkdir(parents=True)
    own = {**yaml.safe_load(find("scenario", "tiny").read_text()), "name": "my"}
    (folder / "my.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    (tmp_path / "my_module.py").write_text("from examples.custom_policy.night_shift import NightShift as MyRule\n")
    monkeypatch.syspath_prepend(str(ROOT))  # for `examples`


def leave_unfinished(folder: str) -> None:
    """Make a whole run one that was cut off at its end."""
    manifest = Path(folder, "manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "status": "running"}))


@pytest.mark.parametrize("example", examples("train"))
def test_every_training_example_is_accepted(
    example: str, run: Run, mine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "resume=" in example:
        assert run(f"train {QUICK} scenario.horizon_ticks=20 hydra.run.dir={RUN}").code == 0
        leave_unfinished(RUN)
    seen: list[Any] = []
    monkeypatch.setattr(train_script, "train", lambda config, folder: seen.append(config))
    outcome = run(f"train {example}")
    assert outcome.code == 0, outcome.errors
    assert len(seen) == (3 if "-m" in shlex.split(example) else 1)
    for config in seen:
        make_vector_env(config, 1, "train", AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("example", examples("evaluate"))
def test_every_evaluation_example_finds_its_policies(
    example: str, run: Run, mine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [RUN] if RUN in example else ["run1", "run2"] if "run1" in example else []
    chosen = "env.id=CartPole-v1" if "CartPole" in example else "scenario.horizon_ticks=20"
    for seed, folder in enumerate(folders):
        assert run(f"train {QUICK} {chosen} seed={seed} hydra.run.dir={folder}").code == 0
    if "resume=" in example:
        assert run(f"evaluate {chosen} episodes=1 figures=false hydra.run.dir={EVALUATION}").code == 0
        leave_unfinished(EVALUATION)
    if TUNING in example:
        Path(TUNING).mkdir(parents=True)
        Path(TUNING, "tuned.yaml").write_text("policy: {name: supervisor, brake_share: 0.2}\n")
    seen: list[Any] = []
    monkeypatch.setattr(evaluate_script, "evaluate", lambda config, folder: seen.append(config))
    outcome = run(f"evaluate {example}")
    assert outcome.code == 0, outcome.errors
    (config,) = seen
    env = make_vector_env(config, 1, "test", AutoresetMode.NEXT_STEP)
    assert len(make_candidates(config, env)) == len(config.policies) + len(folders)


@pytest.mark.parametrize("example", examples("tune"))
def test_every_tuning_example_finds_its_numbers(
    example: str, run: Run, mine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "resume=" in example:
        small = "scenario.horizon_ticks=20 evaluations=4 population=4 episodes=1 validation.episodes=1 workers=1"
        assert run(f"tune {small} hydra.run.dir={TUNING}").code == 0
        leave_unfinished(TUNING)
    seen: list[Any] = []
    monkeypatch.setattr(tune_script, "tune", lambda config, folder: seen.append(config))
    outcome = run(f"tune {example}")
    assert outcome.code == 0, outcome.errors
    assert len(subject_of(seen[0]).start) > 0


def test_help_lists_the_keys_of_the_environment_and_of_the_chosen_algorithm(run: Run) -> None:
    shown = run("train --help algo=tqc tracking=wandb").out
    for key in (
        "env.id=",
        "env.kwargs=",
        "env.wrappers=",
        "algo.top_quantiles_to_drop_per_net=2",
        "tracking.project=tokenfleet",
    ):
        assert key in shown
    assert "algo.clip_range" not in shown
    assert "algo.clip_range=0.2" in run("train --help").out
    assert "env.wrappers=[]" in run("evaluate --help").out


@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_version_is_that_of_the_installed_package(script: str, run: Run) -> None:
    import tokenfleet

    outcome = run(f"{script} --version")
    assert (outcome.code, outcome.out) == (0, f"tokenfleet {tokenfleet.__version__}\n")


def test_help_ends_quietly_when_its_reader_has_seen_enough() -> None:
    """As behind `| head`."""
    command = [sys.executable, str(ROOT / "evaluate.py"), "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=120) == UNREAD
