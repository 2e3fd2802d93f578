"""What makes the difference for the learners: `python -m benchmarks.ablation [--scenario NAME ...] [--docs docs]`.

Trains every run of `ablation.yaml` with every seed on every scenario. The last policies of all runs are measured in the
same validation episodes, by which nothing was chosen. A run that is complete is not trained again, and what has been
measured is on file: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.files.digest import short_digest
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import PositiveInt, Spec, SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.commands import run_once
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap
from tokenfleet.evaluation.style import INK, MUTED, PALETTE, house_style, new_figure, only_grid, save
from tokenfleet.policies.learned.identity import policy_hash
from tokenfleet.policies.policy_files import shipped_names

Float64Array = NDArray[np.float64]
RUNS_FILE = Path(__file__).parent / "ablation.yaml"
MEASURED_SEED = 4_242
"""Of the validation episodes that the runs are measured in."""


class RunSpec(Spec):
    """One run.

    Attributes:
        name: for people.
        keys: of train.py.
        decide_every: ticks of a step.
    """

    name: str
    keys: tuple[str, ...]
    decide_every: PositiveInt


class FamilySpec(Spec):
    """Runs that begin at the same policy.

    Attributes:
        base: that policy, by name; `{scenario}` stands for the scenario, `{rule}` for the rule that ships tuned for it.
        runs: the first is what the others are compared with.
    """

    base: str
    runs: tuple[RunSpec, ...] = Field(min_length=1)

    def base_in(self, scenario: str) -> str:
        """The policy at which the runs begin in a scenario.

        Raises:
            SpecError: no rule ships tuned for the scenario.
        """
        folder = f"tuned/{scenario}/"
        rules = [name.removeprefix(folder) for name in shipped_names() if name.startswith(folder)]
        rule = next((name for name in rules if name != "constants"), None)
        if rule is None:
            raise SpecError([f"--scenario: no rule ships tuned for {scenario!r}"])
        return self.base.format(scenario=scenario, rule=rule)


class Runs(Spec):
    """What `ablation.yaml` holds.

    Attributes:
        common: keys of train.py that all runs have.
        families: runs by what they have in common.
    """

    common: tuple[str, ...]
    families: dict[str, FamilySpec] = Field(min_length=1)


@dataclass(frozen=True)
class Finding:
    """What a run came to in a scenario.

    Attributes:
        scenario, family, run: names.
        gain: mean paired difference to the base of the family over seeds and episodes [USD].
        lost: the same to the first run of the family; None for that run.
    """

    scenario: str
    family: str
    run: str
    gain: Interval
    lost: Interval | None


def keys_of(
    scenario: Scenario, family: FamilySpec, run: RunSpec, common: Sequence[str], seed: int, episodes: int
) -> list[str]:
    """What train.py is told of a run; a rollout of `experiment=residual` is an episode, so that pairs stay whole."""
    decisions = -(-scenario.horizon_ticks // run.decide_every)
    rollout = [f"algo.n_steps={decisions}"] if "experiment=residual" in run.keys else []
    steps = f"total_timesteps={episodes * decisions}"
    own = {key.partition("=")[0] for key in run.keys}
    base = [] if "policy.base" in own else [f"policy.base={family.base_in(scenario.name)}"]
    return [*common, *run.keys, *base, *rollout, f"scenario={scenario.name}", f"seed={seed}", steps]


def measured(scenario: Scenario, folder: Path, episodes: int) -> list[float]:
    """Net value of the last policy of a run in every episode [USD]."""
    from tokenfleet.policies.learned.checkpoint import load_policy

    policy = load_policy(folder / "checkpoints" / "last")
    kwargs: Mapping[str, Any] = policy.meta.origin.environment_kwargs

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split="validation", **kwargs)

    rows = evaluate_policy(make_env, Candidate(policy, folder.name, learned=True), episodes, MEASURED_SEED)
    return [row.metrics[VALUE] for row in rows]


def findings(
    scenario: str, runs: Runs, values: Mapping[str, Float64Array], bases: Mapping[str, Float64Array]
) -> list[Finding]:
    """What the runs of a scenario came to.

    Args:
        scenario: its name.
        runs: see there.
        values: of each run, `[T, E]` of T seeds [USD].
        bases: of the base of each family, `[E]` [USD].
    """
    bootstrap = PairedBootstrap(len(next(iter(bases.values()))))
    return [
        Finding(
            scenario,
            name,
            run.name,
            bootstrap.difference(values[run.name], bases[name]),
            None if run is family.runs[0] else bootstrap.difference(values[run.name], values[family.runs[0].name]),
        )
        for name, family in runs.families.items()
        for run in family.runs
    ]


def table(found: Sequence[Finding]) -> str:
    """The findings as Markdown."""
    lines = [
        "| scenario | run | against where it began, USD | against the first of its family |",
        "|---|---|---|---|",
    ]
    for one in found:
        lost = "" if one.lost is None else f"{one.lost:+.3f}"
        lines.append(f"| `{one.scenario}` | {one.family}: {one.run} | {one.gain:+.3f} | {lost} |")
    return "\n".join(lines)


def draw(found: Sequence[Finding], path: Path) -> Path:
    """Gains over where runs began, a panel for each scenario, families in colours."""
    scenarios, families = (list(dict.fromkeys(getattr(one, key) for one in found)) for key in ("scenario", "family"))
    rows = len(found) // len(scenarios)
    with house_style():
        figure, axes = new_figure(1, len(scenarios), 2.6 + 3.2 * len(scenarios), 1.2 + 0.34 * rows, sharey=True)
        for ax, scenario in zip(axes[0], scenarios, strict=True):
            ours = [one for one in found if one.scenario == scenario]
            ax.axvline(0.0, color=INK, linewidth=1.0)
            for row, one in enumerate(ours):
                colour = PALETTE[families.index(one.family)]
                ax.plot([one.gain.low, one.gain.high], [row, row], color=colour, linewidth=2.4)
                ax.plot(
                    one.gain.estimate, row, "o", color=colour, markersize=5.0, fillstyle="none" if one.lost else "full"
                )
            ax.set_yticks(range(rows), [one.run for one in ours])
            ax.set_ylim(rows - 0.5, -0.5)
            ax.set_xlabel("USD an episode over where it began")
            ax.set_title(scenario)
            only_grid(ax, "x")
        for number, family in enumerate(families):
            axes[0, -1].plot([], [], "o-", color=PALETTE[number], label=family)
        figure.legend(loc="outside lower center", ncols=len(scenarios), labelcolor=MUTED)
        return save(figure, path)


def _of_scenario(name: str, runs: Runs, typed: argparse.Namespace) -> list[Finding]:
    """Train and measure what is not on file yet."""
    scenario, out = load_scenario(name), Path(typed.out)
    header = {"scenario": name, "config_hash": scenario_hash(scenario), "episodes": typed.measured}
    record = MeasurementFile(out / f"{name}-{typed.episodes}.json", header)

    def base_values(policy: str) -> list[float]:
        values: list[float] = measure_cell(scenario, policy, typed.measured, MEASURED_SEED)[VALUE]
        return values

    def run_values(keys: Sequence[str], folder: Path) -> list[float]:
        run_once(["train.py", *keys, f"hydra.run.dir={folder}"], scenario, folder)
        return measured(scenario, folder, typed.measured)

    values: dict[str, list[list[float]]] = {}
    bases: dict[str, Float64Array] = {}
    for kind, family in runs.families.items():
        base = family.base_in(name)
        bases[kind] = np.array(record.once(f"{base}@{policy_hash(base)}", partial(base_values, base)))
    pairs = [(family, run) for family in runs.families.values() for run in family.runs]
    for seed in range(typed.seeds):
        for family, run in pairs:
            print(f"{name} seed {seed}: {run.name}", flush=True)
            keys = keys_of(scenario, family, run, runs.common, seed, typed.episodes)
            known = short_digest([keys, policy_hash(family.base_in(name))])
            done = record.once(f"{run.name}@{known}", partial(run_values, keys, out / "training" / known))
            values.setdefault(run.name, []).append(done)
    return findings(name, runs, {run: np.array(rows) for run, rows in values.items()}, bases)


def _run(typed: argparse.Namespace) -> None:
    runs = Runs.parse(read_yaml(RUNS_FILE), RUNS_FILE.stem)
    found = [one for name in typed.scenario or ["default"] for one in _of_scenario(name, runs, typed)]
    print(table(found))
    if typed.docs:
        print(draw(found, Path(typed.docs) / "images" / "ablation.png"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        help="one for which a rule ships tuned; may be repeated (default: default)",
    )
    parser.add_argument("--seeds", type=int, default=3, help="of training (default: 3)")
    parser.add_argument("--episodes", type=int, default=1280, help="of training, of each run (default: 1280)")
    parser.add_argument("--measured", type=int, default=48, help="validation episodes (default: 48)")
    parser.add_argument("--out", default="runs/ablation", help="folder that holds what has been done")
    parser.add_argument("--docs", metavar="FOLDER", help="draw images/ablation.png there")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _run(typed))


if __name__ == "__main__":
    sys.exit(main())
