"""A generalist is trained on drawn fleets, to the bit, and compared on fleets that it never saw."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open

from tests.command_line import Run
from tokenfleet.envs import FleetVectorEnv
from tokenfleet.envs.catalog import SHIPPED
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.generator import __main__ as generator
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.evaluation.generalist import compare, finetune, train
from tokenfleet.evaluation.generalist.matrix import __main__ as matrix
from tokenfleet.evaluation.generalist.rollouts import KnownFleet, scored, scores_and_seconds
from tokenfleet.evaluation.generalist.search import LimitFromStart
from tokenfleet.evaluation.screen.record import read_record
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.generalist.weights import SHIPPED as PRETRAINED
from tokenfleet.policies.generalist.weights import load_weights, numbers_of, save_weights, start, weights_of

PAGE = (Path(__file__).parents[2] / "docs" / "generalist.md").read_text(encoding="utf-8")
QUICK = (
    "--generations 3 --population 4 --fleets 2 --fleets-of-generation 1 --validation-fleets 1 --validation-episodes 1"
)


@pytest.fixture
def ranges(tmp_path: Path) -> Path:
    """Ranges of the shipped kind with short episodes, as a file of a user."""
    shipped = yaml.safe_load((SHIPPED / "generator" / "generalist.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({**shipped, "name": "short", "horizon_ticks": 20}))
    return path


def trained(ranges: Path, folder: Path, typed: str = QUICK) -> dict[str, np.ndarray]:
    assert train.main([*shlex.split(typed), "--ranges", str(ranges), "--out", str(folder)]) == 0
    return load_weights(str(folder / "generalist.safetensors"), "weights")._asdict()


def test_a_search_measures_weights_as_the_policy_acts(tmp_path: Path) -> None:
    """To the bit, where the environment holds set-points."""
    scenario, around, seeds = load_scenario("tiny", {"horizon_ticks": 30}), start(2, 0), tuple(episode_seeds(0, 3))
    numbers = 0.2 * np.random.default_rng(0).standard_normal((2, len(numbers_of(around))))
    save_weights(tmp_path / "some.safetensors", weights_of(numbers[1:], around), {})
    kept = load_weights(str(tmp_path / "some.safetensors"), "weights")
    both = [np.concatenate(pair) for pair in zip(weights_of(numbers[:1], around), kept, strict=True)]

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split="test", action="setpoints", observation="supervisor")

    choice = {"name": "generalist", "weights": str(tmp_path / "some.safetensors")}
    policy = make_policy(choice, PolicyContext.from_env(make_env(1)))
    rows = evaluate_policy(make_env, Candidate(policy, "generalist"), 3, 0)
    values, seconds = (np.array([row.metrics[name] for row in rows]) for name in ("net_value_usd", "above_cap_s"))
    measured = scores_and_seconds(type(kept)(*both), KnownFleet(scenario, "test", seeds))
    np.testing.assert_array_equal(measured[:, 1], [scored(scenario, values), seconds])


def test_a_training_gives_the_same_weights_again(ranges: Path, tmp_path: Path) -> None:
    first, second = (trained(ranges, tmp_path / name) for name in ("first", "second"))
    assert all((first[name] == second[name]).all() for name in first)
    assert (first["encode_site"] != 0.0).any()


def test_a_training_that_was_killed_goes_on(ranges: Path, tmp_path: Path) -> None:
    whole = trained(ranges, tmp_path / "whole")
    record = json.loads((tmp_path / "whole" / "search.json").read_text())
    del record["card"], record["measured"]["validation after 3 generations"], record["measured"]["generation 2"]
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "search.json").write_text(json.dumps(record))
    again = trained(ranges, tmp_path / "killed")
    assert all((whole[name] == again[name]).all() for name in whole)


def test_a_longer_search_goes_on_from_a_shorter_one(ranges: Path, tmp_path: Path) -> None:
    """It measures no generation twice, and chooses among its own centres."""
    whole = trained(ranges, tmp_path / "whole")
    trained(ranges, tmp_path / "grown", QUICK.replace("--generations 3", "--generations 2"))
    record = tmp_path / "grown" / "search.json"
    known = json.loads(record.read_text())["measured"]["generation 1"]
    again = trained(ranges, tmp_path / "grown")
    assert all((whole[name] == again[name]).all() for name in whole)
    assert json.loads(record.read_text())["measured"]["generation 1"] == known


def test_constants_leave_all_but_biases_at_rest(ranges: Path, tmp_path: Path) -> None:
    found = trained(ranges, tmp_path / "constants", f"{QUICK} --biases-alone --hidden 0")
    assert (found["own"] == 0.0).all()


def test_policies_are_compared_on_test_fleets(ranges: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(tmp_path / "zero.safetensors", start(0, 0), {})
    typed = f"--ranges {ranges} --fleets 2 --episodes 2 --policy supervisor --policy careful_operator"
    typed += f" --weights {tmp_path / 'zero.safetensors'} --out {tmp_path / 'found.json'}"
    assert compare.main(shlex.split(typed)) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| short-test-")]
    assert [row.split(" | ")[0] for row in rows] == ["| short-test-0", "| short-test-1"]
    found = json.loads((tmp_path / "found.json").read_text())["measured"]
    assert {name: set(outcome) for name, outcome in found.items()} == {
        f"short-test-{index}": {f"generalist {tmp_path / 'zero.safetensors'}", "supervisor", "careful_operator"}
        for index in range(2)
    }


def test_training_seeds_widen_the_intervals() -> None:
    """Two seeds on either side of a rival, in the same episodes."""
    found = {"a": {"generalist": np.array([[0.4, 0.4], [0.6, 0.6]]), "supervisor": np.array([0.5, 0.5])}}
    assert compare.table(found, {"a": ""}).splitlines()[2] == "| a |  | 50.0 | +0.0 [-10.0, 10.0] |"


def test_seconds_beyond_the_limit_cost_more_with_every_generation() -> None:
    """The start stands 4 s above a cap and may stand 10 s: in each generation's episodes six more than its own 5 s."""
    limit = LimitFromStart(10.0, 4.0)
    scores, above_cap_s = np.array([1.0, 2.0, 0.0]), np.array([9.0, 19.0, 5.0])
    first, last = (limit.merits(scores, above_cap_s, generation) for generation in (0, 20))
    assert (first[0], last[0]) == (1.0, 1.0)
    assert last[1] < 1.0 < first[1] < 2.0


def test_seconds_are_priced_by_the_first_generation_that_has_any_beyond_the_limit() -> None:
    limit = LimitFromStart(10.0, 4.0)
    scores, within_s, beyond_s = np.array([1.0, 2.0, 0.0]), np.array([9.0, 8.0, 5.0]), np.array([9.0, 19.0, 5.0])
    assert limit.merits(scores, within_s, 0).tolist() == [1.0, 2.0]
    first, last = (limit.merits(scores, beyond_s, generation) for generation in (7, 27))
    assert last[1] < 1.0 < first[1] < 2.0


@pytest.mark.parametrize(
    ("above_cap_s", "chosen"), [((0.0, 11.0, 11.1), 1), ((50.0, 12.0, 30.0), 1), ((0.0, 0.0, 0.0), 2)]
)
def test_the_best_centre_within_the_limit_is_chosen_or_else_the_nearest(
    above_cap_s: tuple[float, ...], chosen: int
) -> None:
    assert LimitFromStart(10.0, 4.0).best(np.array([1.0, 2.0, 3.0]), np.array(above_cap_s)) == chosen


def test_a_fine_tuning_goes_by_its_limit(tmp_path: Path) -> None:
    """Candidates of the second generation are others where seconds of the first were priced."""
    typed = "--scenario tiny --generations 4 --population 4 --episodes 2 --validation-episodes 2 --spread 1.0"
    searched = []
    for limit in ("", " --above-cap-limit-s 0"):
        out = tmp_path / f"out{limit}"
        assert finetune.main([*shlex.split(typed + limit), "--out", str(out)]) == 0
        searched.append(read_record(out / "tiny.json")["measured"])
    free, limited = ([found[f"generation {number}"][0][:4] for number in range(4)] for found in searched)
    assert free[0] == limited[0]
    assert free[1:] != limited[1:]


def test_a_table_has_paired_differences_with_their_intervals() -> None:
    found = {"a": {"generalist": np.array([[0.5, 0.7]]), "supervisor": np.array([0.4, 0.6])}}
    found["b"] = {"generalist": np.array([[0.3, 0.3]]), "supervisor": np.array([0.0, 0.0])}
    lines = compare.table(found, {"a": "", "b": "4 sites"}).splitlines()
    assert lines[2] == "| a |  | 60.0 | +10.0 [10.0, 10.0] |"
    assert lines[3] == "| b | 4 sites | 30.0 | +30.0 [30.0, 30.0] |"
    assert lines[4].startswith("| mean of 2 | | 45.0 | +20.0 [10.0, 30.0]")


@pytest.mark.parametrize(
    ("module", "typed", "words"),
    [
        (train, "--generations 0", "--generations: must be at least 1 (got 0)"),
        (train, "--fleets 2 --fleets-of-generation 3", "--fleets-of-generation: must be at most --fleets 2"),
        (train, "--ranges nothing", "generator: unknown name 'nothing'"),
        (train, "--spread 0", "--spread: must be above 0"),
        (compare, "--episodes 1", "--episodes: must be at least 2"),
        (compare, "--weights nothing", "--weights: unknown weights 'nothing'"),
        (compare, "--beside file", "--beside: must be LABEL=FILE"),
        (compare, "--policy nobody", "--policy: 'nobody' is no shipped policy"),
        (finetune, "--scenario tiny --episodes 0", "--episodes: must be at least 1 (got 0)"),
        (finetune, "--scenario tiny --above-cap-limit-s -1", "--above-cap-limit-s: must be at least 0 (got -1)"),
        (finetune, "--scenario nowhere", "unknown name 'nowhere'"),
        (finetune, "--scenario tiny --weights nothing", "--weights: unknown weights 'nothing'"),
        (matrix, "--test-episodes 1", "--test-episodes: must be at least 2 (got 1)"),
        (matrix, "--workers 0", "--workers: must be at least 1 (got 0)"),
    ],
)
def test_what_is_typed_wrongly_is_answered(
    module: Any, typed: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert module.main([*shlex.split(typed), "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def commands(beginning: str) -> list[list[str]]:
    """The words of the page's commands that begin so."""
    blocks = "".join(re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", "")
    return [shlex.split(line, comments=True)[1:] for line in blocks.splitlines() if line.startswith(beginning)]


def test_the_commands_of_the_page_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = {"train": train, "finetune": finetune, "compare": compare, "matrix": matrix}
    modules = {f"evaluation.generalist.{name}": module for name, module in by_name.items()}
    modules["envs.scenario.generator"] = generator
    seen: list[Any] = []
    for _, name, *typed in commands("python -m"):
        module = modules[name.removeprefix("tokenfleet.")]
        monkeypatch.setattr(module, "exit_status", lambda work: seen.append(work) or 0)
        assert module.main(typed) == 0
    assert len(seen) == len(commands("python -m")) > 6


def test_the_scripts_take_the_commands_of_the_page(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert generator.main(["--split", "test", "--count", "4", "--out", "fleets"]) == 0
    seen: list[Any] = []
    for script in ("evaluate", "train"):
        monkeypatch.setattr(importlib.import_module(f"tokenfleet.{script}"), script, lambda *told: seen.append(told))
        for _, *typed in commands(f"python {script}.py"):
            outcome = run(shlex.join([script, *typed]))
            assert outcome.code == 0, outcome.errors
    assert len(seen) == 6


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_in_python_run(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example, "docs/generalist.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


def test_the_shipped_weights_say_how_they_were_trained() -> None:
    with safe_open(PRETRAINED / "generalist.safetensors", "np") as file:
        assert f"{file.metadata()['command']} --out" in " ".join(PAGE.replace("\\\n", " ").split())
