"""`python -m tokenfleet.evaluation.generalist.compare`; see the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.generator import Ranges, draw_scenario, held_out_in, load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.generalist.rollouts import scored
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.screen.record import MeasurementFile
from tokenfleet.evaluation.screen.rollouts import Workers, rule_outcome
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap
from tokenfleet.policies.generalist.weights import load_weights
from tokenfleet.policies.registry import POLICIES, Choice

Float64Array = NDArray[np.float64]

COMMAND = "python -m tokenfleet.evaluation.generalist.compare"
RULES = ("careful_operator", "feedback_capping", "operator", "supervisor")
SUBJECT = "generalist"
LEAST_EPISODES = 2
EXAMPLES = f"""examples:
  {COMMAND} --out runs/generalist/test.json
  {COMMAND} --scenario default --scenario burst --out runs/generalist/shipped.json
  {COMMAND} --split validation --weights runs/seed-0/generalist.safetensors --weights runs/seed-1/generalist.safetensors

The same command goes on with what --out holds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    typed = _parser().parse_args(arguments)
    return exit_status(lambda: _compare(typed))


def _compare(typed: argparse.Namespace) -> None:
    _check(typed)
    ranges = load_ranges(typed.ranges)
    subjects, rivals = _subjects(typed), _rivals(typed)
    policies = subjects | rivals
    fleets = _fleets(typed, ranges)
    hashes = {name: scenario_hash(scenario) for name, scenario in fleets.items()}
    asked = {
        "scenarios": hashes,
        "episodes": typed.episodes,
        "seed": typed.seed,
        "split": typed.split,
        "policies": policies,
    }
    record = MeasurementFile(Path(typed.out), asked)
    found: dict[str, dict[str, Float64Array]] = {}
    total = len(fleets) * len(policies)
    with tqdm(total=total, unit="policy", disable=not sys.stderr.isatty()) as bar, Workers(typed.workers) as workers:
        for name, scenario in fleets.items():
            bar.set_description_str(name)
            measure = partial(_measured, scenario, policies, typed, workers)
            found[name] = _arrays(record.once(name, measure), list(subjects))
            bar.update(len(policies))
    about = {name: ", ".join(held_out_in(ranges, scenario)) for name, scenario in fleets.items()}
    print(table(found, about))
    print(f"Written: {typed.out}")


def table(found: Mapping[str, Mapping[str, Float64Array]], about: Mapping[str, str]) -> str:
    """Means of scores, and by how much the generalist exceeds each other policy, in Markdown.

    Args:
        found: scores by scenario and policy, the generalist's first, `[T, E]` with T training seeds, those of others
            `[E]`; a policy that a scenario refuses is missing.
        about: what to say of each scenario.
    """
    names = list(dict.fromkeys(policy for outcome in found.values() for policy in outcome))
    others = [name for name in names if name != SUBJECT]
    against = " | ".join(f"over `{name}`" for name in others)
    lines = [f"| scenario | held out | `{SUBJECT}`, % | {against} |", "|---" * (3 + len(others)) + "|"]
    for scenario, outcome in found.items():
        own = outcome[SUBJECT]
        episodes = PairedBootstrap(own.shape[1])
        gains = [_shown(episodes.difference(own, outcome[name])) if name in outcome else "" for name in others]
        lines.append(f"| {scenario} | {about[scenario]} | {100.0 * own.mean():.1f} | {' | '.join(gains)} |")
    gains = []
    for name in others:
        both = [outcome for outcome in found.values() if name in outcome]
        own = np.array([outcome[SUBJECT].mean(axis=1) for outcome in both]).T
        gains.append(_shown(PairedBootstrap(len(both)).difference(own, [outcome[name].mean() for outcome in both])))
    mean = 100.0 * float(np.mean([outcome[SUBJECT].mean() for outcome in found.values()]))
    lines.append(f"| mean of {len(found)} | | {mean:.1f} | {' | '.join(gains)} |")
    return "\n".join(lines)


def _shown(gain: Interval) -> str:
    return f"{100.0 * gain.estimate:+.1f} [{100.0 * gain.low:.1f}, {100.0 * gain.high:.1f}]"


def _measured(
    scenario: Scenario, policies: Mapping[str, Choice], typed: argparse.Namespace, workers: Workers
) -> dict[str, Any]:
    """Scores by policy, plain data; a policy that the scenario refuses is missing."""
    rollout = partial(rule_outcome, scenario, typed.split, typed.seed, typed.episodes)
    done = workers.map(rollout, list(policies.values()))
    return {
        name: scored(scenario, outcome[VALUE][0]).tolist()
        for name, outcome in zip(policies, done, strict=True)
        if not isinstance(outcome, str)
    }


def _arrays(outcome: Mapping[str, Any], subjects: Sequence[str]) -> dict[str, Float64Array]:
    """The scores that `table` takes."""
    own = {SUBJECT: np.array([outcome[name] for name in subjects], np.float64)}
    return own | {name: np.array(values, np.float64) for name, values in outcome.items() if name not in subjects}


def _subjects(typed: argparse.Namespace) -> dict[str, Choice]:
    """The generalist, by training seeds if there are several."""
    files = typed.weights or [SUBJECT]
    for file in files:
        load_weights(file, "--weights")
    return {f"{SUBJECT} {file}": {"name": SUBJECT, "weights": file} for file in files}


def _rivals(typed: argparse.Namespace) -> dict[str, Choice]:
    """Rules, and weights by the labels that were typed."""
    policies: dict[str, Choice] = {}
    for name in typed.policy or RULES:
        if name not in POLICIES:
            raise SpecError([f"--policy: {name!r} is no shipped policy"])
        policies[name] = name
    for pair in typed.beside:
        label, equals, file = pair.partition("=")
        if not equals or label in (SUBJECT, *policies):
            raise SpecError([f"--beside: must be LABEL=FILE with a label of its own (got {pair!r})"])
        load_weights(file, "--beside")
        policies[label] = {"name": SUBJECT, "weights": file}
    return policies


def _fleets(typed: argparse.Namespace, ranges: Ranges) -> dict[str, Scenario]:
    """The scenarios by name, or the fleets of the split."""
    if typed.shipped or typed.scenario:
        names = typed.scenario or catalog_names("scenario")
        return {scenario.name: scenario for scenario in map(load_scenario, names)}
    drawn = [draw_scenario(ranges, typed.split, index) for index in range(typed.fleets)]
    return {scenario.name: scenario for scenario in drawn}


def _check(typed: argparse.Namespace) -> None:
    problems = []
    for name, least in (("seed", 0), ("workers", 1), ("fleets", 2), ("episodes", LEAST_EPISODES)):
        value = getattr(typed, name)
        if value < least:
            problems.append(f"--{name}: must be at least {least} (got {value})")
    if problems:
        raise SpecError(problems)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Compare one policy for any fleet with rules, on fleets that it never saw.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--weights",
        action="append",
        help="shipped ones by name, or a file; repeated for those of further training seeds (default: generalist)",
    )
    parser.add_argument("--ranges", default="generalist", help="what test fleets are drawn from (default: generalist)")
    parser.add_argument("--fleets", type=int, default=16, help="fleets of the split (default: 16)")
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        default="test",
        help="of fleets and episodes; weights are chosen on validation (default: test)",
    )
    parser.add_argument("--scenario", action="append", help="instead: a scenario by name or file; may be repeated")
    parser.add_argument("--shipped", action="store_true", help="instead: every shipped scenario")
    parser.add_argument("--policy", action="append", help=f"rival; may be repeated (default: {', '.join(RULES)})")
    parser.add_argument(
        "--beside", action="append", default=[], metavar="LABEL=FILE", help="further weights; may be repeated"
    )
    parser.add_argument("--episodes", type=int, default=32, help="of every scenario (default: 32)")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes (default: 0)")
    parser.add_argument("--out", default="runs/generalist/compare.json", help="what has been measured")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
