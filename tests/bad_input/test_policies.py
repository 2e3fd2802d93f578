"""Missing policies, and checkpoints that are damaged, foreign or crafted to run code."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Run, check_refusal, in_a_process_of_its_own, tree
from tests.forged import forge_hashes
from tokenfleet.policies.learned.plain_data import sha256


class Bomb:
    """Unpickling makes a file: the proof that code has run."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (Path("canary"),)


def change_meta(checkpoint: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    meta = json.loads((checkpoint / "meta.json").read_text())
    change(meta)
    (checkpoint / "meta.json").write_text(json.dumps(meta))
    forge_hashes(checkpoint)


def truncate(checkpoint: Path) -> None:
    content = (checkpoint / "policy.safetensors").read_bytes()
    (checkpoint / "policy.safetensors").write_bytes(content[: len(content) // 2])


def forge(checkpoint: Path) -> None:
    """A pickle in the place of the weights, with the hash that goes with it."""
    content = pickle.dumps(Bomb())
    (checkpoint / "policy.safetensors").write_bytes(content)
    change_meta(checkpoint, lambda meta: meta.update(weights_sha256=sha256(content)))


def pickle_meta(checkpoint: Path) -> None:
    (checkpoint / "meta.json").write_bytes(pickle.dumps(Bomb()))
    forge_hashes(checkpoint)


def point_to_a_command(checkpoint: Path) -> None:
    change_meta(checkpoint, lambda meta: meta["algorithm"].update(name="os:system", learning_rate="touch canary"))


def instantiate_a_command(checkpoint: Path) -> None:
    change_meta(checkpoint, lambda meta: meta.update(_target_="os.system", _args_=["touch canary"]))


CHECKPOINTS: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "forged": forge,
    "pickled": pickle_meta,
    "commanding": point_to_a_command,
    "instantiating": instantiate_a_command,
}


@pytest.fixture
def folder(tmp_path: Path, finished: Path) -> Path:
    """A sound run, `run`, and what is none."""
    shutil.copytree(finished, tmp_path / "run")
    for name, spoil in CHECKPOINTS.items():
        shutil.copytree(finished / "checkpoints" / "last", tmp_path / name)
        spoil(tmp_path / name)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"\xff\xd8")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:  # laid out as stable-baselines3 saves it
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", pickle.dumps(Bomb()))
    (tmp_path / "mine.yaml").write_text("policy: {name: supervisor, power_share: {east: 0.9}}\n")
    return tmp_path


CASES: dict[str, tuple[str, ...]] = {
    "evaluate scenario=tiny policies=least_wrok": (
        r"^policies: unknown name 'least_wrok'; did you mean 'least_work'\? \(choose from .*\), or 'module:Class'$",
    ),
    "evaluate scenario=tiny 'policies=[max_clock,{name: least_work, cloking: full}]'": (
        r"^policies\.least_work\.cloking: unknown key; did you mean 'clocking'\? "
        r"\(choose from admission, affinity, awake, clocking, pricing, routing, serving, storage\)$",
    ),
    "evaluate scenario=tiny 'policies=[3]'": (
        r"^policies\.0: must be a name, 'module:Class', or a mapping with name and parameters \(got 3\)$",
    ),
    "evaluate scenario=tiny 'policies=[]'": (r"^policies: nothing to evaluate; name policies, a checkpoint, or both$",),
    "evaluate env.id=CartPole-v1 policies=least_work": (
        r"^policies\.least_work: needs a tokenfleet fleet environment; CartPole-v1 has none; "
        r"use random or a checkpoint$",
    ),
    "evaluate scenario=tiny policies=mine.yaml": (
        r"^policies: mine\.yaml does not fit this environment; a file suits the scenario that it was made for$",
        r"^policies\.supervisor\.power_share\.east: unknown name \(choose from lab\)$",
    ),
    "evaluate scenario=tiny checkpoint=": (r"^checkpoint\.0: .*at least 1 character \(got ''\)$",),
    "evaluate scenario=tiny checkpoint=nowhere": (r"^checkpoint: no such folder 'nowhere'$",),
    "evaluate scenario=tiny checkpoint=[nowhere,holiday,model.zip]": (
        r"^checkpoint: no such folder 'nowhere'$",
        r"^checkpoint: holiday holds no checkpoint \(meta\.json is missing\); give a folder that train\.py wrote$",
        r"^checkpoint: model\.zip is a file; stable-baselines3's zip files can run code .*; give a folder",
    ),
    # The sound one is of a shorter episode, and a warning says so in the log before the other is looked at.
    "evaluate scenario=tiny checkpoint=[run,truncated]": (
        r"^truncated/policy\.safetensors: does not match its hash in SHA256SUMS; the file is damaged$",
    ),
    "evaluate scenario=default checkpoint=run": (
        r"^checkpoint: trained on \S+ with scenario=tiny, whose observations differ .*; evaluate it there "
        r"\(here: scenario=default; checkpoint run\)$",
        r"^checkpoint: trained on \S+ with scenario=tiny, whose actions differ ",
    ),
    "evaluate env.id=CartPole-v1 policies=random checkpoint=run": (
        r"^checkpoint: trained on \S+ with scenario=tiny, whose observations differ .*\(here: CartPole-v1; checkpoint ",
        r"^checkpoint: trained on \S+ with scenario=tiny, whose actions differ ",
    ),
    "evaluate scenario=tiny checkpoint=forged": (r"^forged/policy\.safetensors: is not a safetensors file",),
    "evaluate scenario=tiny checkpoint=pickled": (r"^pickled/meta\.json: is not JSON",),
    "evaluate scenario=tiny checkpoint=commanding": (
        r"^commanding/meta\.json\.algorithm\.name: unknown algorithm 'os:system'.*ppo",
    ),
    "evaluate scenario=tiny checkpoint=instantiating": (
        r"^instantiating/meta\.json\._target_: unknown key",
        r"^instantiating/meta\.json\._args_: unknown key",
    ),
}


@pytest.mark.parametrize("typed", CASES)
def test_a_policy_that_cannot_be_is_refused_in_words_and_nothing_is_left_behind(
    typed: str, run: Run, folder: Path
) -> None:
    before = tree(folder)
    check_refusal(run(typed), CASES[typed])
    assert tree(folder) == before


def test_a_crafted_checkpoint_runs_nothing_in_a_process_of_its_own(folder: Path) -> None:
    before = tree(folder)
    outcome = in_a_process_of_its_own("evaluate scenario=tiny checkpoint=[forged,pickled,model.zip]", folder)
    check_refusal(
        outcome, (r"^forged/policy\.safetensors: ", r"^pickled/meta\.json: ", r"^checkpoint: model\.zip is a ")
    )
    assert outcome.out == ""
    assert tree(folder) == before


@pytest.mark.parametrize("file", ["forged/policy.safetensors", "pickled/meta.json"])
def test_the_crafted_files_would_run_code_when_unpickled(
    file: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    pickle.loads((folder / file).read_bytes())
    assert (folder / "canary").exists()
