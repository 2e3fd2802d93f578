"""Folders that cannot be written, hold something else, or hold no run to go on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import QUICK, Run, check_refusal, tree
from tokenfleet.cli.lock import only_writer

NO_RUN = r"holds no run of train\.py \(config\.yaml"
CASES: dict[str, tuple[str, ...]] = {
    "train scenario=tiny hydra.run.dir=file/run": (
        r"^hydra\.run\.dir: cannot make \S*file/run \(Not a directory\); choose another folder$",
    ),
    "evaluate scenario=tiny policies=random hydra.run.dir=file": (
        r"^hydra\.run\.dir: cannot make \S*file \(File exists\); choose another folder$",
    ),
    "train scenario=tiny catalog.search_paths=[holiday,nowhere]": (
        r"^catalog\.search_paths: no such folder '.*nowhere'$",
    ),
    "train scenario=tiny hydra.run.dir=run": (
        r"^hydra\.run\.dir: run already holds a run \(complete\); choose another folder$",
    ),
    "evaluate scenario=tiny hydra.run.dir=run": (
        r"^hydra\.run\.dir: run already holds a run of train\.py \(complete\); choose another folder$",
    ),
    "train scenario=tiny hydra.run.dir=results": (
        r"^hydra\.run\.dir: results already holds a run of evaluate\.py \(interrupted\); choose another folder$",
    ),
    "evaluate scenario=tiny seed=9 hydra.run.dir=results": (
        r"^hydra\.run\.dir: results already holds a run \(interrupted\); choose another .* go on with resume=results$",
    ),
    "evaluate scenario=tiny hydra.run.dir=holiday/mine": (
        r"^hydra\.run\.dir: holiday/mine already holds a run of another program \(\w+\); choose another folder$",
    ),
    "train scenario=tiny hydra.run.dir=locked": (
        r"^hydra\.run\.dir: locked is being written by another process; choose another folder$",
    ),
    "evaluate scenario=tiny hydra.run.dir=locked": (
        r"^hydra\.run\.dir: locked is being written by another process; choose another folder$",
    ),
    "evaluate resume=run": (r"^resume: run holds a run of train\.py, not of evaluate\.py; start a new run$",),
    "evaluate resume=holiday": (
        r"^resume: holiday holds no run of evaluate\.py \(config\.yaml is missing\); start a new",
    ),
    "evaluate resume=results policies=random n_envs=3": (
        r"^n_envs: the resumed run has 16 and cannot be changed \(got 3\); leave it out$",
        r"^policies: the resumed run cannot be changed \(got \['random'\]\); leave it out$",
    ),
    "train scenario=tiny hydra.run.dir=begun": (
        r"^hydra\.run\.dir: begun already holds a run \(interrupted\); choose another folder, or go on with "
        r"resume=begun$",
    ),
    "train resume=changed": (
        r"^resume: changed/config\.yaml does not match its hash in manifest\.json; config\.yaml was changed or damaged",
    ),
    "train resume=unhashed": (
        r"^resume: \S*unhashed/snapshots/\d+: has no SHA256SUMS; it is incomplete, or of an earlier tokenfleet",
        r"^resume: no snapshot is whole; delete \S*unhashed/snapshots to train again from the first step",
    ),
    "train resume=rotten": (
        r"^resume: \S*rotten/checkpoints/best/meta\.json: does not match its hash .* "
        r"\(delete \S*rotten/checkpoints/best to go on",
    ),
    "train scenario=tiny total_timesteps=3000": (
        r"^total_timesteps: 3000 steps would change no weight of the policy: ppo updates it first after 8192 steps, "
        r"and algo\.learning_rate is 0 in the last update; give at least 8193 \(81921 for 10 updates\), a smaller "
        r"algo\.n_steps, or a final algo\.learning_rate above 0$",
    ),
    "train scenario=tiny algo=sac total_timesteps=5000": (
        r"^total_timesteps: 5000 steps would .*: sac updates it first after 10048 steps; give at least 9985 "
        r"\(10561 for 10 updates\), or a smaller algo\.learning_starts$",
    ),
    "train resume=nowhere": (r"^resume: no such folder 'nowhere'$",),
    "train resume=": (r"^resume: .*at least 1 character \(got ''\)$",),
    "train resume=holiday": (rf"^resume: holiday {NO_RUN} is missing\); start a new run$",),
    "train resume=results": (r"^resume: results holds a run of evaluate\.py, not of train\.py; start a new run$",),
    "train resume=run": (r"^resume: run is complete \(64 steps\); start a new run$",),
    "train resume=cut": (r"^cut/config\.yaml:3: not valid YAML: ",),
    "train resume=edited": (r"^edited/config\.yaml: n_envs: .*greater than 0 \(got -2\)$",),
    "train resume=scrawled": (r"^scrawled/manifest\.json: is damaged; delete it to go on without",),
    "train resume=begun hydra.run.dir=elsewhere": (
        r"^resume: begun goes on in its own folder, not in elsewhere; leave out hydra\.run\.dir and -m$",
    ),
    "train -m resume=begun hydra.sweep.dir=elsewhere": (
        r"^resume: begun goes on in its own folder, not in \S*elsewhere\S*; leave out hydra\.run\.dir and -m$",
    ),
    "train resume=begun seed=4 scenario=default": (
        r"^scenario: the resumed run cannot be changed \(got 'default'\); leave it out$",
        r"^seed: the resumed run has 0 and cannot be changed \(got 4\); leave it out$",
    ),
}


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A run that is complete, `run`; one that is not, `begun`; spoilt ones; and what is no run.

    All cases share it, since each must leave it as it was.
    """
    tmp_path = tmp_path_factory.mktemp("folders")
    for name in ("run", "begun", "cut", "edited", "scrawled", "changed", "unhashed", "rotten"):
        shutil.copytree(finished, tmp_path / name)
    for name in ("begun", "changed", "unhashed", "rotten"):
        rewrite(tmp_path / name / "manifest.json", '"complete"', '"running"')
    rewrite(tmp_path / "changed" / "config.yaml", "\nseed: 0", "\nseed: 1")
    for hashes in (tmp_path / "unhashed" / "snapshots").glob("*/SHA256SUMS"):
        hashes.unlink()
    shutil.copytree(tmp_path / "rotten" / "checkpoints" / "last", tmp_path / "rotten" / "checkpoints" / "best")
    rewrite(tmp_path / "rotten" / "checkpoints" / "best" / "meta.json", '"gamma": 0.95', '"gamma": 0.96')
    (tmp_path / "cut" / "config.yaml").write_text("seed: 0\nalgo: {name: ppo\n")
    rewrite(tmp_path / "edited" / "config.yaml", "\nn_envs: 2", "\nn_envs: -2")
    (tmp_path / "scrawled" / "manifest.json").write_text("{")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "config.yaml").write_text("episodes: 5\nn_envs: 16\npolicies: [max_clock]\n")
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "holiday" / "mine").mkdir()
    (tmp_path / "holiday" / "mine" / "config.yaml").write_text("colour: red\n")
    (tmp_path / "locked").mkdir()
    (tmp_path / "file").write_text("in the way")
    return tmp_path


@pytest.mark.parametrize("typed", CASES)
def test_a_folder_in_the_way_is_answered_in_words_and_everything_stays_as_it_was(
    typed: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with only_writer(folder / "locked"):
        before = tree(folder)
        check_refusal(run(typed), CASES[typed])
        assert tree(folder) == before


def test_a_mistake_in_any_job_of_a_sweep_is_found_before_the_first_begins(run: Run, tmp_path: Path) -> None:
    tiny = f"train -m {QUICK} scenario=tiny hydra.sweep.dir=sweep"
    refused = run(f"{tiny} seed=0,abc algo.gamma=0.9,1.5")
    check_refusal(refused, (r"^algo\.gamma: .*\(got 1\.5\)$", r"^seed: .*\(got 'abc'\)$"))
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_keeps_what_was_trained_before_a_job_that_fails(run: Run, tmp_path: Path) -> None:
    tiny = f"train -m {QUICK} scenario=tiny scenario.horizon_ticks=20 hydra.sweep.dir=sweep"
    failing = "env.kwargs.observation=[cap_w],nowhere:Observation"
    assert run(f"{tiny} seed=0 {failing}").code == 2
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"0-ppo-seed0", "multirun.yaml"}
    assert json.loads((tmp_path / "sweep/0-ppo-seed0/manifest.json").read_text())["status"] == "complete"
    again = run(f"{tiny} seed=0,1")
    check_refusal(again, (r"^hydra\.run\.dir: \S*0-ppo-seed0 already holds a run \(complete\); choose another",))
