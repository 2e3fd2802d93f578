"""Where the coefficients of each pool come from: a measured profile or a roofline, and the error to expect of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.llm import QUANTITIES, expected_errors
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.scenario.scenario import Scenario
from tokenfleet.envs.spec import SpecError

ROOFLINE = "roofline"
IN_WORDS = {
    "measured": "measured profile",
    "kernels": "profile of measured kernels",
    ROOFLINE: "roofline, not measured",
}
"""Origin of a profile -> what a person is told."""
FIT = "python -m tokenfleet.envs.fitting"


def pool_lines(scenario: Scenario) -> list[str]:
    """A line a pool, and one for its variant, for the start of a run."""
    return [
        f"pool {name}: {_pair(pool)}: {IN_WORDS[pool.profile.origin]}; expected error: {_errors(pool)}"
        for name, pool in _with_variants(scenario).items()
    ]


def pool_facts(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """`pool_lines` as plain data, by pool; those of a variant stand under `<pool> variant`."""
    return {
        name: {
            "model": pool.model,
            "gpu": pool.gpu,
            **{f"{way}_parallel": count for way, count in pool.parallelism._asdict().items()},
            "profile": pool.profile.origin,
            "expected_errors": expected_errors(pool.profile, pool.model_spec),
        }
        for name, pool in _with_variants(scenario).items()
    }


def pool_arrays(scenario: Scenario) -> dict[str, NDArray[Any]]:
    """Of the pools' own models, arrays `[P]`: `is_roofline`, and each quantity's expected error, `<quantity>_error`."""
    pools = scenario.pools.values()
    errors = [expected_errors(pool.profile, pool.model_spec) for pool in pools]
    return {
        "is_roofline": np.array([pool.profile.origin == ROOFLINE for pool in pools], np.bool_),
        **{f"{name}_error": np.array([one[name] for one in errors]) for name in QUANTITIES},
    }


def refuse_rooflines(scenario: Scenario) -> None:
    """Make sure that every pool, and every variant, has a profile.

    Raises:
        SpecError: a line for each one on a roofline, with the command that helps.
    """
    problems = [
        f"strict_profiles: pool {name!r} runs {_pair(pool)} on a roofline (expected error: {_errors(pool)}); "
        f"measure the pair and fit a profile with {_command(pool)}, or leave strict_profiles out"
        for name, pool in _with_variants(scenario).items()
        if pool.profile.origin == ROOFLINE
    ]
    if problems:
        raise SpecError(problems)


def _with_variants(scenario: Scenario) -> dict[str, PoolSpec]:
    """Every pool by its name, each followed by what it is with its variant, if it has one."""
    served = {}
    for name, pool in scenario.pools.items():
        served[name] = pool
        if pool.variant is not None:
            served[f"{name} variant"] = pool.switched
    return served


def _pair(pool: PoolSpec) -> str:
    return f"{pool.model} on {pool.parallelism.boards} x {pool.gpu}"


def _errors(pool: PoolSpec) -> str:
    found = expected_errors(pool.profile, pool.model_spec)
    return ", ".join(f"{words} {found[name]:.1%}" for name, words in QUANTITIES.items())


def _command(pool: PoolSpec) -> str:
    ways = pool.parallelism._asdict().items()
    boards = "".join(f" --{way}-parallel {count}" for way, count in ways if count > 1)
    return f"{FIT} runs.csv --model {pool.model} --gpu {pool.gpu}{boards} --out mine"
