"""`python -m tokenfleet.evaluation.bound scenario=default episodes=4`; see docs/bound.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import PositiveInt, Spec, SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.bound.fluid import upper_bound_usd
from tokenfleet.evaluation.bound.problem import SPANS, fluid_problem
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy


class Asked(Spec):
    """What the command may be told, as `key=value`.

    Attributes:
        scenario: a name of the catalogue, or a file.
        episodes: how many.
        seed: of the episodes; evaluate.py with the same seed meets the same ones.
        split: of the episodes.
        spans: into how many spans each is cut.
        policies: whose net value stands beside the bound, with commas between them; empty for none.
    """

    scenario: str = "default"
    episodes: PositiveInt = 4
    seed: int = Field(default=0, ge=0)
    split: Split = "validation"
    spans: PositiveInt = SPANS
    policies: str = "operator"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=", ".join(Asked.model_fields))
    typed = parser.parse_args(arguments).settings
    return exit_status(lambda: _run(_parse(typed)))


def _parse(arguments: Sequence[str]) -> Asked:
    problems = [f"bound: arguments look like key=value (got {one!r})" for one in arguments if "=" not in one]
    if problems:
        raise SpecError(problems)
    pairs = (one.split("=", 1) for one in arguments)
    return Asked.parse({key: _value(value) for key, value in pairs}, where="bound")


def _value(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdigit() else text.strip("[]")


def _run(asked: Asked) -> None:
    scenario = load_scenario(asked.scenario)

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split=asked.split)

    seeds = episode_seeds(asked.seed, asked.episodes)
    probe = make_env(asked.episodes)
    probe.reset(seed=seeds)
    episodes = [episode for episode in probe.episodes if episode is not None]
    context = PolicyContext.from_env(probe, seed=asked.seed)
    names = [name.strip() for name in asked.policies.split(",") if name.strip()]
    policies = {name: make_policy(name, context) for name in names}
    probe.close()
    bound_usd = np.array([upper_bound_usd(fluid_problem(scenario, episode, asked.spans)) for episode in episodes])
    print(f"{scenario.name}, {asked.split}, episodes {asked.episodes}, seed {asked.seed}")
    print(f"{'bound':24s} {bound_usd.mean():10.4f} USD")
    for name, policy in policies.items():
        rows = evaluate_policy(make_env, Candidate(policy, name), asked.episodes, asked.seed)
        values = np.array([row.metrics["net_value_usd"] for row in rows])
        share = 100.0 * values.mean() / bound_usd.mean()
        least = float((bound_usd - values).min())
        print(f"{name:24s} {values.mean():10.4f} USD, {share:5.1f} % of the bound; least gap {least:.4f} USD")


if __name__ == "__main__":
    sys.exit(main())
