"""Policies of a scenario as files that `policies=` and `policy.base=` take."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.contenders.cells import measure_cell
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.cells import CHOICE_TIMES
from tokenfleet.evaluation.leaderboard.learning import Learned
from tokenfleet.evaluation.leaderboard.meeting import Meeting
from tokenfleet.evaluation.leaderboard.rivals import ShippedRule
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.screen.conclusions import CONSTANTS
from tokenfleet.policies.learned.layout import BEST, checkpoint_of
from tokenfleet.policies.policy_files import PRETRAINED, SUFFIX, tuned_name, write_policy
from tokenfleet.policies.registry import Choice
from tokenfleet.policies.shipped import CHECKPOINT

CHECKED_EPISODES = 4
"""Validation episodes with values in the file: anyone can see whether the policy still plays as it did."""


def ship(
    scenario: Scenario,
    learned: Sequence[Learned],
    meeting: Meeting,
    rules: Sequence[ShippedRule],
    budget: Budget,
    protocol: Protocol,
    folder: Path,
) -> None:
    """Write the learned policy and the constants that are best in validation, and the tuned rules.

    Policy and constants may be of different training seeds.

    Args:
        scenario: that they are for.
        learned: what each training seed came to.
        meeting: what it then earned in test episodes; the files say so, and nothing is chosen by it.
        rules: the tuned ones; those whose numbers ship already are left as they are.
        budget: of each training.
        protocol: of the test episodes.
        folder: gets `pretrained/SCENARIO.yaml`, the checkpoint `pretrained/SCENARIO` if it is one, and
            `tuned/SCENARIO/constants.yaml`, `tuned/SCENARIO/RULE.yaml`.

    Raises:
        SpecError: a file cannot be written.
    """
    best = max(range(len(learned)), key=lambda one: learned[one].validation[learned[one].best].usd)
    constants = max(range(len(learned)), key=lambda one: learned[one].validation[CONSTANTS].usd)
    command = (
        f"python -m tokenfleet.evaluation.leaderboard --scenario {scenario.name} --seeds {len(learned)}"
        f" --generations {budget.generations} --corrections {budget.correction_episodes}"
        f" --validation {budget.episodes}"
    )
    methods = {
        f"{PRETRAINED.name}/{scenario.name}": (best, learned[best].best),
        tuned_name(scenario.name, "constants"): (constants, CONSTANTS),
    }
    for inside, (seed, method) in methods.items():
        validation = {"episodes": CHOICE_TIMES * budget.episodes, **asdict(learned[seed].validation[method])}
        found = {"command": command, "method": method, "seed": seed, "validation": validation}
        found["test"] = tested(scenario, *meeting.earned(method, seed), protocol)
        ship_policy(folder / inside, scenario, learned[seed].policies[method], found)
    for rule in rules:
        if rule.ships_tuned:
            continue
        found = {"command": command, "method": "tuned rule", "seed": 0}
        ship_policy(folder / tuned_name(scenario.name, rule.name), scenario, rule.choice, found)


def tested(scenario: Scenario, usd: float, above_cap_s: float, protocol: Protocol) -> dict[str, Any]:
    """What a policy came to in the test episodes of a protocol, with its score if the protocol has a reference.

    Args:
        scenario: that the policy is for.
        usd: mean net value of an episode.
        above_cap_s: mean seconds above a cap.
        protocol: whose episodes these were.
    """
    told = {"protocol": protocol.name, "episodes": protocol.episodes, "usd": usd, "above_cap_s": above_cap_s}
    reference = protocol.references.get(scenario.name)
    if reference is None or reference.config_hash != scenario_hash(scenario):
        return told
    return told | {"score": reference.score(usd)}


def ship_policy(path: Path, scenario: Scenario, policy: Choice | Path, found: Mapping[str, Any]) -> None:
    """Write one policy, and how it was found, with values by which anyone can check it.

    Args:
        path: of the file, without its suffix.
        scenario: that the policy is for.
        policy: as the registry takes it, or the run of a training.
        found: how the policy was found.

    Raises:
        SpecError: the file cannot be written.
    """
    checks = {"config_hash": scenario_hash(scenario), "check": checked(scenario, policy)}
    try:
        write_policy(path.with_suffix(SUFFIX), _as_choice(policy, path), {**found, **checks})
    except OSError as error:
        raise SpecError([f"--ship: cannot write {path}: {error.strerror or error}"]) from None


def _as_choice(policy: Choice | Path, folder: Path) -> Mapping[str, Any]:
    """A policy as a file may say it; the best checkpoint of a run is copied to `folder`."""
    if folder.exists():
        shutil.rmtree(folder)
    if isinstance(policy, Path):
        shutil.copytree(checkpoint_of(policy, BEST), folder)
        return {"name": CHECKPOINT, "folder": folder.name}
    assert isinstance(policy, Mapping)  # what searches find has parameters
    return policy


def checked(scenario: Scenario, choice: Choice | Path) -> dict[str, Any]:
    """Net values of the first validation episodes, and which they are."""
    cell = measure_cell(scenario, choice, CHECKED_EPISODES, 0, "validation")
    return {"split": "validation", "seed": 0, "net_value_usd": cell["net_value_usd"]}
