"""Raise what a protocol counts as best known: `python -m tokenfleet.evaluation.screen.surpass SCENARIO ...`.

A screen searches for minutes. Rules with tuned numbers and learned policies ship that had more. Those of a scenario
meet the best known in validation episodes. The best there is measured in the protocol's episodes and becomes the best
known, so that the protocol's episodes choose nothing. The careful operator and the criteria stay as frozen. This is for
a protocol that is not published yet, as `--anew` of `freeze` is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.protocol import PROTOCOL, Protocol, Reference, load_protocol
from tokenfleet.evaluation.screen.freeze import rule_usd, write_protocol
from tokenfleet.policies.policy_files import shipped_names, tuned_name
from tokenfleet.policies.registry import Choice

COMMAND = "python -m tokenfleet.evaluation.screen.surpass"
SPLIT: Split = "validation"
SEED = 0
EPISODES = 120
"""As many as choose a method of the leaderboard."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Let shipped policies become the best known.")
    parser.add_argument("scenarios", nargs="+", metavar="SCENARIO", help="scenarios with a reference")
    parser.add_argument("--rule", action="append", default=[], help="a policy to meet besides; may be repeated")
    parser.add_argument("--episodes", type=int, default=EPISODES, help=f"that choose (default: {EPISODES})")
    parser.add_argument("--out", type=Path, default=PROTOCOL, help="the protocol's file (default: the shipped)")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: _surpass(typed.scenarios, typed.rule, typed.episodes, typed.out))


def _surpass(names: Sequence[str], rules: Sequence[str], episodes: int, out: Path) -> None:
    if episodes < 1:
        raise SpecError([f"--episodes: must be at least 1 (got {episodes})"])
    protocol = load_protocol(out)
    scenarios = {name: load_scenario(name) for name in names}
    known = {name: _reference_of(protocol, scenario) for name, scenario in scenarios.items()}
    for name, scenario in scenarios.items():
        found = _best(protocol, scenario, known[name], rules, episodes)
        print(f"{name}: {found.best}, {found.best_usd:.4f} USD; before {known[name].best_usd:.4f} USD", flush=True)
        protocol = protocol.model_copy(update={"references": {**protocol.references, name: found}})
        write_protocol(out, protocol)


def _reference_of(protocol: Protocol, scenario: Scenario) -> Reference:
    known = protocol.references.get(scenario.name)
    if known is None or known.policy is None:
        raise SpecError([f"{scenario.name}: {protocol.name} has no best known policy of it; freeze a screen first"])
    if known.config_hash != scenario_hash(scenario):
        raise SpecError([f"{scenario.name} is not the scenario that {protocol.name} has frozen; freeze a screen first"])
    return known


def _best(protocol: Protocol, scenario: Scenario, known: Reference, rules: Sequence[str], episodes: int) -> Reference:
    """The reference with the best of all by validation; the known one where no other policy surpasses it."""
    rivals = [*shipped_for(scenario.name), *rules]
    met: dict[str, Choice] = {name: name for name in rivals}
    if known.policy is not None:
        met.setdefault(known.best, known.policy)
    usd = {name: rule_usd(scenario, SPLIT, SEED, episodes, choice) for name, choice in met.items()}
    best = max(usd, key=usd.__getitem__)
    if best not in rivals:
        return known
    measured = rule_usd(scenario, protocol.split, protocol.seed, protocol.episodes, met[best])
    return Reference.parse(
        {
            **known.model_dump(),
            "best_usd": round(measured, 6),
            "best": best,
            "policy": best,
            "found_by": f"the best of {len(met)} policies in {episodes} {SPLIT} episodes",
            "version": version("tokenfleet"),
        },
        scenario.name,
    )


def shipped_for(scenario: str) -> list[str]:
    """The shipped policies that were tuned or trained for a scenario.

    >>> "tuned/default/constants" in shipped_for("default"), "pretrained/default" in shipped_for("default")
    (True, True)
    """
    tuned = tuned_name(scenario, "")
    return [name for name in shipped_names() if name == f"pretrained/{scenario}" or name.startswith(tuned)]


if __name__ == "__main__":
    sys.exit(main())
