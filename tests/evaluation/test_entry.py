"""`python evaluate.py` as its user meets it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.evaluation.test_candidates import write_checkpoint
from tokenfleet.evaluation.pairing import make_study
from tokenfleet.evaluation.results import read_rows

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "evaluate.py"), f"hydra.run.dir={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_baselines_and_a_checkpoint_on_a_fleet(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "trained")
    folder = tmp_path / "results"
    done = run(
        folder,
        "scenario=tiny",
        "scenario.horizon_ticks=20",
        "policies=[least_work,{name: careful_operator}]",
        f"checkpoint={tmp_path / 'trained'}",
        "episodes=5",
        "n_envs=2",
        "seed=3",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Results are in {folder}: config.yaml, episodes.csv, " in done.stdout
    for said in ("net value", "ppo-seed0 (learned) ranks", "Only 5 episodes", "no learning curve for ppo-seed0"):
        assert said in done.stdout
    assert "The ledger balances: all 165 checks" in done.stdout  # 3 policies, 5 episodes, 11 checks
    names = {path.name for path in folder.iterdir()}
    assert names >= {"episodes.parquet", "episodes.csv", "summary.csv", "table.txt", "timeline.csv", "config.yaml"}
    header, *lines = (folder / "ledger.csv").read_text().splitlines()
    assert header == "policy,layer,item,account,usd,joules,grams,tokens"
    assert {line.split(",")[0] for line in lines} == {"least_work", "careful_operator", "ppo-seed0"}
    assert {path.name for path in (folder / "figures").iterdir()} == {"comparison.png", "episode.png"}
    study = make_study(read_rows(folder / "episodes.parquet"))
    assert [method.name for method in study.methods] == ["least_work", "careful_operator", "ppo-seed0"]
    assert study.episodes == 5
    assert yaml.safe_load((folder / "config.yaml").read_text())["scenario"]["horizon_ticks"] == 20
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["policies"]["ppo-seed0"]["trained_on"] == "tokenfleet/Fleet-v0 with scenario=tiny"
    assert manifest["seed"] == 3


LEAKY = """
import numpy as np
from tokenfleet import evaluate
from tokenfleet.envs.accounts import sums as accounts
accounts.in_flight = lambda log: np.zeros(len(log.status), bool)
evaluate.main()
"""
"""An evaluation whose ledgers lose sight of requests that are in flight."""


def test_a_ledger_that_does_not_balance_is_fatal_and_its_results_stay(tmp_path: Path) -> None:
    arguments = ["scenario=tiny", "scenario.horizon_ticks=20", "policies=[least_work]", "episodes=2", "figures=false"]
    command = [sys.executable, "-c", LEAKY, f"hydra.run.dir={tmp_path}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"least_work: agents: tokens asked for .*: \d+ tokens, must be 0 \(2 episodes\)", done.stderr)
    assert re.search(r"least_work: scheduling: requests end once .*: \d+ requests, must be \d+", done.stderr)
    assert (tmp_path / "ledger.csv").exists()


def test_a_foreign_environment_has_generic_metrics(tmp_path: Path) -> None:
    done = run(
        tmp_path / "results", "env.id=CartPole-v1", "policies=random", "episodes=5", "formats=csv", "figures=false"
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = read_rows(tmp_path / "results" / "episodes.csv")
    assert {name for row in rows for name in row.metrics} == {"return", "length_steps"}
    assert [row.metrics["return"] for row in rows] == [row.metrics["length_steps"] for row in rows]
    assert {path.name for path in tmp_path.iterdir()} == {"results"}
