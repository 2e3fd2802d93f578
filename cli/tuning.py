"""Tuning the numbers of a policy, from its start to the file of what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from tokenfleet.cli.environments import make_vector_env
from tokenfleet.cli.runs import SEARCH_FILE
from tokenfleet.configs.schema import TuneConfig
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.screen.found import choice_of
from tokenfleet.evaluation.screen.limit import SECONDS, ranked
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.record import Record
from tokenfleet.evaluation.screen.rollouts import Workers
from tokenfleet.evaluation.screen.search import PlanSearch
from tokenfleet.evaluation.statistics import PairedBootstrap
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.policy_files import write_policy
from tokenfleet.policies.registry import make_policy
from tokenfleet.policies.search import Float64Array
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.recorded import centres_of, thirds
from tokenfleet.policies.tunable import Tunable, tunable

TUNED_FILE = "tuned.yaml"
VALUE, RETURN = "net_value_usd", "return"
"""What is tuned for: net value of a fleet, return of any other environment."""


@dataclass(frozen=True)
class Tuned:
    """What a tuner came to, in validation episodes.

    Attributes:
        policy: as the registry takes it.
        value, before: means of the tuned policy and of the one that it began with.
        gain, low, high: mean paired difference of the two, and its 95 % interval.
    """

    policy: Mapping[str, Any]
    value: float
    before: float
    gain: float
    low: float
    high: float


def subject_of(config: TuneConfig) -> Tunable:
    """What is tuned.

    Raises:
        SpecError: the policy cannot act in the environment, or declares no numbers.
    """
    probe = make_vector_env(config, 1, "train", AutoresetMode.NEXT_STEP)
    try:
        return tunable(config.policy, PolicyContext.from_env(probe, seed=config.seed))
    finally:
        probe.close()


def tune_policy(
    config: TuneConfig, subject: Tunable, folder: Path, workers: Workers, say: Callable[[str], None]
) -> Tuned:
    """Search, choose, and write `tuned.yaml`; values that are on file in the folder are not measured again."""
    record = Record(folder / SEARCH_FILE, {})
    if config.feedback_generations is None:
        policies = _numbers_searched(config, subject, record, workers, say)
    else:
        policies = [subject.choice(subject.start), *_feedback_searched(config, record, workers, say)]
    say("validation")
    measure = partial(_validated, config, VALUE)
    rows = np.array(record.once("validation", lambda: workers.map(measure, policies)))
    tuned = _chosen(policies, rows, _beyond_limit_s(config, policies, record, workers))
    _write(folder / TUNED_FILE, config, tuned)
    return tuned


def _numbers_searched(
    config: TuneConfig, subject: Tunable, record: Record, workers: Workers, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The policy that the search of its numbers begins with, and the centre of the search after each third."""
    search = CovarianceSearch(subject.start, config.spread, config.population, config.seed, config.diagonal)
    generations = math.ceil(config.evaluations / search.population)

    def measure(candidates: Float64Array, generation: int) -> list[float]:
        say(f"generation {generation + 1} of {generations}")
        seed = int(np.random.default_rng([config.seed, generation]).integers(2**31))
        values = partial(_values, config, "train", seed, config.episodes)
        choices = [subject.choice(numbers) for numbers in candidates]
        means: list[float] = record.once(
            f"generation/{generation}", lambda: [float(np.mean(row)) for row in workers.map(values, choices)]
        )
        return means

    return [subject.choice(numbers) for numbers in thirds(centres_of(search, generations, measure))]


def _feedback_searched(
    config: TuneConfig, record: Record, workers: Workers, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Constants and feedback as a screen of scenarios finds them, without its control of constants."""
    scenario = config.shifted_scenario
    assert scenario is not None  # TuneConfig has seen to it
    options = Options(seed=config.seed, generations=config.feedback_generations)
    search = PlanSearch(scenario, options, config.validation.episodes, record, workers, say)
    first, more_s = search.first(), None
    constants = choice_of(first, scenario, search.scale())
    if config.above_cap_limit_s is not None:
        seconds = record.once("seconds of constants", lambda: _validated(config, SECONDS, constants))
        more_s = config.above_cap_limit_s - float(np.mean(seconds))
    return [constants, choice_of(search.feedback(first, more_s), scenario, search.scale())]


def _beyond_limit_s(
    config: TuneConfig, policies: Sequence[Mapping[str, Any]], record: Record, workers: Workers
) -> Float64Array:
    """Mean seconds beyond the limit of each policy in the validation episodes; 0 without a limit, `[P]`."""
    if config.above_cap_limit_s is None:
        return np.zeros(len(policies))
    measure = partial(_validated, config, SECONDS)
    rows = np.array(record.once("seconds in validation", lambda: workers.map(measure, policies)))
    beyond_s: Float64Array = np.maximum(rows.mean(axis=1) - config.above_cap_limit_s, 0.0)
    return beyond_s


def _validated(config: TuneConfig, metric: str, choice: Mapping[str, Any]) -> list[float]:
    """A metric of a policy in each of the validation episodes."""
    return _values(config, "validation", config.validation.seed, config.validation.episodes, choice, metric)


def _values(
    config: TuneConfig, split: Split, seed: int, episodes: int, choice: Mapping[str, Any], metric: str = VALUE
) -> list[float]:
    """What a policy comes to in each of the episodes of a seed; its return where there is no such metric."""
    make_env = partial(make_vector_env, config, split=split, autoreset_mode=AutoresetMode.NEXT_STEP)
    probe = make_env(1)
    policy = make_policy(choice, PolicyContext.from_env(probe, seed=config.seed))
    probe.close()
    rows = evaluate_policy(make_env, Candidate(policy, "tuned"), episodes, seed, batch_size=config.n_envs)
    return [row.metrics.get(metric, row.metrics[RETURN]) for row in rows]


def _chosen(policies: Sequence[Mapping[str, Any]], rows: NDArray[np.float64], beyond_s: Float64Array) -> Tuned:
    """The best by the mean of its row, within the limit if any is; the first row is what the search began with."""
    means = rows.mean(axis=1)
    best = int(np.argmax(ranked(means, beyond_s)))
    gain = PairedBootstrap(rows.shape[1]).difference(rows[best], rows[0])
    return Tuned(policies[best], float(means[best]), float(means[0]), gain.estimate, gain.low, gain.high)


def _write(path: Path, config: TuneConfig, tuned: Tuned) -> None:
    budget: dict[str, Any] = {"evaluations": config.evaluations, "episodes": config.episodes}
    if config.feedback_generations is not None:
        budget = {"feedback_generations": config.feedback_generations}
        if config.above_cap_limit_s is not None:
            budget["above_cap_limit_s"] = config.above_cap_limit_s
    found = {
        "scenario": None if config.scenario is None else config.scenario.name,
        "seed": config.seed,
        **budget,
        "validation": {
            "episodes": config.validation.episodes,
            "value": round(tuned.value, 6),
            "before": round(tuned.before, 6),
            "gain": [round(number, 6) for number in (tuned.gain, tuned.low, tuned.high)],
        },
    }
    write_policy(path, tuned.policy, found)
