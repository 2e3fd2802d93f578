"""Freeze references of a protocol of scores: `python -m tokenfleet.evaluation.screen.freeze FILE.json ...`.

For each file of a screen the careful operator and the best policy of the screen meet the protocol's episodes. The best
is chosen by the screen's own validation episodes, so that the protocol's episodes choose nothing. A reference that a
protocol holds is never replaced: another reference makes another protocol, a file of another name. `--anew` is for a
protocol that is not published yet: it forgets all references.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files import yaml_text
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.metrics import VALUE
from tokenfleet.evaluation.protocol import PROTOCOL, Protocol, Reference, load_protocol
from tokenfleet.evaluation.screen.conclusions import MIDDLE
from tokenfleet.evaluation.screen.found import FinishedScreen
from tokenfleet.evaluation.screen.rollouts import RolloutSetting, Workers, outcomes, rule_outcome
from tokenfleet.policies.registry import Choice

HELD_MIDDLE = {"name": "supervisor", "rest": "middle"}
"""The middle of the set-points as a policy."""

COMMAND = "python -m tokenfleet.evaluation.screen.freeze"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Freeze references of the protocol of scores.")
    parser.add_argument("screens", nargs="+", type=Path, metavar="FILE.json", help="what screens have written")
    parser.add_argument(
        "--out",
        type=Path,
        default=PROTOCOL,
        help="the protocol's file; a new one is named by it (default: the shipped)",
    )
    parser.add_argument("--anew", action="store_true", help="forget the references that the protocol's file holds")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _freeze(typed.screens, typed.out, typed.anew))


def _freeze(screens: Sequence[Path], out: Path, anew: bool) -> None:
    protocol = _protocol(out)
    if anew:
        protocol = protocol.model_copy(update={"references": {}})
    references = dict(protocol.references)
    for path in screens:
        found = FinishedScreen.of_file(path)
        scenario = found.scenario
        if scenario.name in references:
            raise SpecError([f"{path}: {protocol.name} has a reference of {scenario.name}; give another --out"])
        reference = references[scenario.name] = _reference(protocol, found)
        kind = "benchmark" if reference.is_benchmark else "demonstration"
        span = f"{reference.careful_usd:.4f} to {reference.best_usd:.4f} USD ({reference.best})"
        print(f"{scenario.name}: {kind}, {span}")
    write_protocol(out, protocol.model_copy(update={"references": references}))


def _protocol(path: Path) -> Protocol:
    """The protocol of a file; where there is none, an empty one with the episodes and the operator of the shipped."""
    if path.exists():
        return load_protocol(path)
    return load_protocol().model_copy(update={"name": path.stem, "references": {}})


def _reference(protocol: Protocol, found: FinishedScreen) -> Reference:
    scenario, card = found.scenario, found.card
    episodes = (protocol.split, protocol.seed, protocol.episodes)
    careful = rule_usd(scenario, *episodes, protocol.careful_operator)
    best = card["best_known"]
    if best in card["plans"]:
        usd = _plan_usd(protocol, found, best)
    elif best == MIDDLE:
        usd = rule_usd(scenario, *episodes, HELD_MIDDLE)
    else:
        usd = rule_usd(scenario, *episodes, best)
    minutes, done = card["elapsed_s"] / 60.0, card["budget"]["done"]
    return Reference.parse(
        {
            "config_hash": scenario_hash(scenario),
            "careful_usd": round(careful, 6),
            "best_usd": round(usd, 6),
            "best": best,
            "policy": _choice(found, best),
            "found_by": f"screen of {minutes:.1f} minutes, {sum(done.values())} generations in all",
            "version": version("tokenfleet"),
            "criteria": card["criteria"],
        },
        scenario.name,
    )


def _choice(found: FinishedScreen, best: str) -> str | dict[str, Any]:
    """The best policy of a screen as evaluate.py takes it."""
    if best in found.card["plans"]:
        return found.choice(best)
    return dict(HELD_MIDDLE) if best == MIDDLE else best


def rule_usd(scenario: Scenario, split: Split, seed: int, episodes: int, rule: Choice) -> float:
    """The mean net value [USD] of a policy in the episodes of a study.

    Raises:
        SpecError: the scenario refuses the policy.
    """
    outcome = rule_outcome(scenario, split, seed, episodes, rule)
    if isinstance(outcome, str):
        raise SpecError([f"{scenario.name}: no score without {rule}: {outcome}"])
    return float(outcome[VALUE].mean())


def _plan_usd(protocol: Protocol, found: FinishedScreen, name: str) -> float:
    seeds = tuple(episode_seeds(protocol.seed, protocol.episodes))
    setting = RolloutSetting(found.scenario, protocol.split, seeds, found.scale)
    with Workers(1) as workers:
        return float(outcomes(setting, found.plan(name), workers)[VALUE].mean())


def write_protocol(path: Path, protocol: Protocol) -> None:
    """Write a protocol's file, whole or not at all.

    Raises:
        SpecError: it cannot be written.
    """
    comment = f"# Written by {COMMAND}. Another reference or episode makes another protocol.\n"
    text = yaml_text(protocol.model_dump(mode="json"), width=120, default_flow_style=None)
    try:
        replace_file(path, (comment + text).encode())
    except OSError as error:
        raise SpecError([f"--out: cannot write {path}: {error.strerror or error}"]) from None


if __name__ == "__main__":
    sys.exit(main())
