"""`evaluate.py` that is refused, runs out of memory, is interrupted or killed: nothing is lost, nothing in the way."""

from __future__ import annotations

import json
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Run, check_refusal, tree
from tests.evaluation.test_candidates import write_checkpoint
from tokenfleet import evaluate
from tokenfleet.cli.runs import JOURNAL_FILE
from tools.soak_evaluation import differences, results, soak

TYPED = "evaluate scenario=tiny scenario.horizon_ticks=20 policies=[least_work,random] episodes=4 n_envs=2"


class Mishap:
    """What happens to evaluations: nothing, or `error` after so many more batches."""

    def __init__(self, make_env: Any) -> None:
        self.error: type[BaseException] | None = None
        self.batches_left = 0
        self._make_env = make_env

    def make_env(self, config: Any, num_envs: int, **more: Any) -> Any:
        is_batch = num_envs > 1
        if self.error is not None and is_batch and self.batches_left == 0:
            raise self.error("enough")
        self.batches_left -= is_batch
        return self._make_env(config, num_envs, **more)


@pytest.fixture
def mishap(monkeypatch: pytest.MonkeyPatch) -> Mishap:
    mishap = Mishap(evaluate.make_vector_env)
    monkeypatch.setattr(evaluate, "make_vector_env", mishap.make_env)
    return mishap


@pytest.mark.parametrize(("error", "code"), [(MemoryError, 2), (KeyboardInterrupt, 130)])
def test_an_evaluation_that_ends_before_its_first_batch_leaves_nothing(
    error: type[BaseException], code: int, run: Run, mishap: Mishap, tmp_path: Path
) -> None:
    mishap.error = error
    assert run(f"{TYPED} hydra.run.dir=cut").code == code
    assert tree(tmp_path) == {}


def test_an_evaluation_that_ends_later_goes_on_to_the_same_results(run: Run, mishap: Mishap, tmp_path: Path) -> None:
    mishap.error, mishap.batches_left = KeyboardInterrupt, 3
    assert run(f"{TYPED} hydra.run.dir=cut").code == 130
    patterns = (r"^hydra\.run\.dir: cut already holds a run \(interrupted\); .* go on with resume=cut$",)
    check_refusal(run(f"{TYPED} hydra.run.dir=cut"), patterns)
    mishap.batches_left = 1
    assert run("evaluate resume=cut").code == 0
    mishap.error = None
    assert run(f"{TYPED} hydra.run.dir=whole").code == 0
    assert differences(results(tmp_path / "whole"), results(tmp_path / "cut")) == []
    manifest = json.loads((tmp_path / "cut" / "manifest.json").read_text())
    assert (manifest["status"], len(manifest["started"])) == ("complete", 2)
    check_refusal(run("evaluate resume=cut"), (r"^resume: cut is complete \(4 episodes\); start a new run$",))


def test_what_a_killed_process_leaves_is_in_nobodys_way(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cut" / ".partial" / "figures").mkdir(parents=True)
    (tmp_path / "cut" / ".lock").touch()
    assert run(f"{TYPED} hydra.run.dir=cut").code == 0
    assert not [path.name for path in (tmp_path / "cut").iterdir() if path.name.startswith(".")]


def test_an_evaluation_goes_on_with_the_policies_that_it_began_with(run: Run, mishap: Mishap, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "trained")
    mishap.error, mishap.batches_left = MemoryError, 3
    run(f"{TYPED} checkpoint=trained hydra.run.dir=cut")
    write_checkpoint(tmp_path / "trained", drawn_from=1)
    before = tree(tmp_path / "cut")
    refusal = r"^resume: \S*cut began with another ppo-seed0; bring the old checkpoint back, or start a new run$"
    check_refusal(run("evaluate resume=cut"), (refusal,))
    assert tree(tmp_path / "cut") == before
    assert JOURNAL_FILE in before


def test_killed_processes_lose_nothing(tmp_path: Path) -> None:
    short = ("scenario=tiny", "scenario.horizon_ticks=20", "policies=random", "episodes=8", "n_envs=1", "figures=false")
    found = soak(kills=2, seed=0, scratch=tmp_path, evaluation=short, wait=until_another_episode)
    assert (found.kills, found.kept, found.losses) == (2, 2, [])


def until_another_episode(process: BaseProcess, folder: Path) -> None:
    journal = folder / JOURNAL_FILE

    def size() -> int:
        return journal.stat().st_size if journal.exists() else 0

    before = size()
    while process.is_alive() and size() == before:
        time.sleep(0.001)
