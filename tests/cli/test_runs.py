"""A run's folder says how it ended: complete, interrupted, or failed and why. A start that fails leaves no folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command_line import QUICK, ROOT, Run, check_refusal, tree
from tokenfleet.cli.lock import only_writer
from tokenfleet.cli.runs import INTERRUPTED, RUNNING, run_status

ENVIRONMENT = '''
import gymnasium
import numpy as np
from gymnasium import spaces
from tokenfleet.envs.spec import SpecError


class Fragile(gymnasium.Env):
    """Fails in the way it is told, at the step it is told; at step 0 in `reset`."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, kind, at_step):
        self.error = {"spec": SpecError(["calendar: no such day"]), "memory": MemoryError("of 9 GiB"),
                      "bug": ZeroDivisionError("division by zero")}[kind]
        self.at_step = at_step
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.at_step == 0:
            raise self.error
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == self.at_step:
            raise self.error
        return np.zeros(2, np.float32), 0.0, self.steps % 5 == 0, False, {}
'''
FRAGILE = f"{QUICK} total_timesteps=640 snapshot_every=64 env.id=my_environment:Fragile"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_environment.py").write_text(ENVIRONMENT)
    monkeypatch.delitem(sys.modules, "my_environment", raising=False)


def manifest(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return read


def without_caches(folder: Path) -> dict[str, bytes | None]:
    return {name: content for name, content in tree(folder).items() if "__pycache__" not in name}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("spec", "^env.id=my_environment:Fragile: calendar: no such day$"), ("memory", "^memory: not enough")],
)
@pytest.mark.parametrize("at_step", [0, 7])
def test_a_start_that_is_refused_or_finds_no_memory_leaves_nothing(
    kind: str, words: str, at_step: int, run: Run, tmp_path: Path
) -> None:
    before = without_caches(tmp_path)
    typed = f"train {FRAGILE} env.kwargs.kind={kind} env.kwargs.at_step={at_step} hydra.run.dir=new/run"
    check_refusal(run(typed), (words,))
    assert without_caches(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("memory", "MemoryError: of 9 GiB"),
        ("spec", "UserCodeError: env.id=my_environment:Fragile: calendar: no such day"),
    ],
)
def test_a_run_that_fails_after_a_snapshot_stays_and_says_why(kind: str, reason: str, run: Run, tmp_path: Path) -> None:
    failed = run(f"train {FRAGILE} env.kwargs.kind={kind} env.kwargs.at_step=80 hydra.run.dir=run")
    assert failed.code == 2
    assert (manifest(tmp_path / "run")["status"], manifest(tmp_path / "run")["reason"]) == ("failed", reason)
    assert list((tmp_path / "run" / "snapshots").iterdir())


def test_a_defect_is_recorded_as_a_failure(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*arguments: object, **kwargs: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("tokenfleet.policies.learned.training._learn", defect)
    with pytest.raises(ZeroDivisionError):
        run(f"train {QUICK} scenario=tiny hydra.run.dir=run")
    assert manifest(tmp_path / "run")["status"] == "failed"
    assert manifest(tmp_path / "run")["reason"] == "ZeroDivisionError: division by zero"


def test_a_network_without_memory_is_refused_in_words(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network as large as a configuration may ask for would hurt the machine before it was refused.
    monkeypatch.setattr("tokenfleet.policies.learned.training.build_model", lambda *_: torch.empty(2**50))
    before = without_caches(tmp_path)
    check_refusal(run(f"train {QUICK} scenario=tiny"), ("^memory: not enough .*for the network",))
    assert without_caches(tmp_path) == before


def test_a_run_whose_process_is_gone_counts_as_interrupted(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"status": "running"}')
    with only_writer(tmp_path):
        assert run_status(tmp_path) == RUNNING
    assert run_status(tmp_path) == INTERRUPTED


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_run_with_a_snapshot_and_a_hint(name: str, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    number = signal.Signals[name]
    words = f"{QUICK} scenario=tiny total_timesteps=10_000_000 log_every=64 snapshot_every=10_000_000"
    command = [sys.executable, str(ROOT / "train.py"), *words.split(), f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    rows = folder / "progress.csv"
    try:
        while process.poll() is None and not (rows.exists() and rows.read_text()):
            time.sleep(0.02)
        while_running = run(f"train resume={folder}")
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number
    assert errors.splitlines() == [
        f"{name}: stopping after this update, with a snapshot; once more to stop at once",
        f"interrupted; go on with resume={folder}",
    ]
    assert manifest(folder)["status"] == "interrupted"
    assert len(list((folder / "snapshots").iterdir())) == 1
    check_refusal(while_running, (f"^resume: {folder} is being written by another process; wait for it or stop it$",))


def test_a_few_kills_lose_nothing() -> None:
    """`make soak` in short: two kills of PPO and two of SAC, and a byte changed in sixty files."""
    command = [sys.executable, "-m", "tools.soak_training", "--kills", "4", "--damages", "60"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills" in done.stdout
    assert "60 bytes changed; 0 lost or missed" in done.stdout


def test_a_folder_in_which_another_process_has_ended_a_run_meanwhile_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own lock is not told as a process that writes there."""
    typed = f"train {QUICK} scenario=tiny hydra.run.dir=run"
    assert run(typed).code == 0
    before = tree(tmp_path)
    monkeypatch.setattr("tokenfleet.cli.entry.check_new_folder", lambda *_: None)
    patterns = (r"^hydra\.run\.dir: \S*run already holds a run \(complete\); choose another folder$",)
    check_refusal(run(typed), patterns)
    check_refusal(
        run("evaluate scenario=tiny policies=random episodes=2 hydra.run.dir=run"),
        (r"^hydra\.run\.dir: \S*run already holds a run of train\.py \(complete\); choose another folder$",),
    )
    left = tree(tmp_path)
    assert {name: left[name] for name in before if not name.endswith(".log")} == {
        name: content for name, content in before.items() if not name.endswith(".log")
    }


def test_a_run_says_what_its_pools_stand_on_and_may_refuse_rooflines(run: Run, tmp_path: Path) -> None:
    typed = (
        "evaluate scenario=tiny scenario.pools.lab-70b.gpu=mi300x scenario.horizon_ticks=5 policies=[least_work] "
        f"episodes=1 n_envs=1 figures=false hydra.run.dir={tmp_path}"
    )
    done = run(f"{typed}/told")
    assert done.code == 0, done.errors
    assert (
        "pool lab-70b: llama-3.1-70b on 4 x mi300x: roofline, not measured; expected error: " in done.out + done.errors
    )
    pools = manifest(tmp_path / "told")["pools"]
    assert [pools[name]["profile"] for name in ("lab-8b", "lab-70b")] == ["measured", "roofline"]
    assert pools["lab-8b"]["expected_errors"]["decode_step"] < pools["lab-70b"]["expected_errors"]["decode_step"]
    check_refusal(
        run(f"{typed}/refused strict_profiles=true"), [r"^strict_profiles: pool 'lab-70b' runs llama-3\.1-70b"]
    )
    assert not (tmp_path / "refused").exists()
