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

from tokenfleet.cli.environments import make_vector_env
from tokenfleet.cli.runs import SEARCH_FILE
from tokenfleet.configs.schema import TuneConfig
from tokenfleet.envs.accounts.metrics import RETURN
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.metrics import SECONDS, VALUE
from tokenfleet.evaluation.screen.found import choice_of
from tokenfleet.evaluation.screen.limit import ranked
from tokenfleet.evaluation.screen.options import Options
from tokenfleet.evaluation.screen.record import MeasurementFile
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
MetricValues = dict[str, list[float]]
"""Values of a policy in each of some episodes, by metric."""


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
    record = MeasurementFile(folder / SEARCH_FILE, {})
    validation = ValidationRecord(config, record, workers)
    if config.feedback_generations is None:
        policies = _numbers_searched(config, subject, record, workers, say)
    else:
        found = _feedback_searched(config, record, validation, workers, say)
        policies = {"before": subject.choice(subject.start), **found}
    say("validation")
    tuned = _chosen(list(policies.values()), validation.measured(policies), config.above_cap_limit_s)
    _write(folder / TUNED_FILE, config, tuned)
    return tuned


@dataclass(frozen=True)
class ValidationRecord:
    """What policies come to in the validation episodes, each measured once.

    Attributes:
        config: names the episodes, and whether seconds above a cap are measured beside the value.
        record: keeps what has been measured.
        workers: that run episodes.
    """

    config: TuneConfig
    record: MeasurementFile
    workers: Workers

    def measured(self, policies: Mapping[str, Mapping[str, Any]]) -> list[MetricValues]:
        """Of policies as the registry takes them, by the names under which they are on file."""
        known, names = self.record.names(), [f"validation/{name}" for name in policies]
        missing = {name: choice for name, choice in zip(names, policies.values(), strict=True) if name not in known}
        done = self.workers.map(partial(_validated, self.config), list(missing.values()))
        for name, values in zip(missing, done, strict=True):
            self.record.keep(name, values)
        return [self.record.measured(name) for name in names]


def _numbers_searched(
    config: TuneConfig, subject: Tunable, record: MeasurementFile, workers: Workers, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """The policy that the search of its numbers begins with, and the centre of the search after each third, by name."""
    search = CovarianceSearch(subject.start, config.spread, config.population, config.seed, config.diagonal)
    generations = math.ceil(config.evaluations / search.population)

    def measure(candidates: Float64Array, generation: int) -> list[float]:
        say(f"generation {generation + 1} of {generations}")
        seed = int(np.random.default_rng([config.seed, generation]).integers(2**31))
        measured = partial(_measured, config, "train", seed, config.episodes, (VALUE,))
        choices = [subject.choice(numbers) for numbers in candidates]
        means: list[float] = record.once(
            f"generation/{generation}", lambda: [float(np.mean(one[VALUE])) for one in workers.map(measured, choices)]
        )
        return means

    centres = thirds(centres_of(search, generations, measure))
    return {f"centre {third}" if third else "before": subject.choice(numbers) for third, numbers in enumerate(centres)}


def _feedback_searched(
    config: TuneConfig,
    record: MeasurementFile,
    validation: ValidationRecord,
    workers: Workers,
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Constants and feedback as a screen of scenarios finds them, without its control of constants."""
    scenario = config.shifted_scenario
    assert scenario is not None  # TuneConfig has seen to it
    options = Options(seed=config.seed, generations=config.feedback_generations)
    search = PlanSearch(scenario, options, config.validation.episodes, record, workers, say)
    first, more_s = search.first(), None
    constants = choice_of(first, scenario, search.scale())
    if config.above_cap_limit_s is not None:
        (values,) = validation.measured({"constants": constants})
        more_s = config.above_cap_limit_s - float(np.mean(values[SECONDS]))
    feedback = choice_of(search.feedback(first, more_s), scenario, search.scale())
    return {"constants": constants, "feedback": feedback}


def _validated(config: TuneConfig, choice: Mapping[str, Any]) -> MetricValues:
    """What is measured of a policy in the validation episodes."""
    metrics = (VALUE,) if config.above_cap_limit_s is None else (VALUE, SECONDS)
    return _measured(config, "validation", config.validation.seed, config.validation.episodes, metrics, choice)


def _measured(
    config: TuneConfig, split: Split, seed: int, episodes: int, metrics: Sequence[str], choice: Mapping[str, Any]
) -> MetricValues:
    """What a policy comes to in each of the episodes of a seed; its return where there is no such metric."""
    make_env = partial(make_vector_env, config, split=split, autoreset_mode=AutoresetMode.NEXT_STEP)
    probe = make_env(1)
    policy = make_policy(choice, PolicyContext.from_env(probe, seed=config.seed))
    probe.close()
    rows = evaluate_policy(make_env, Candidate(policy, "tuned"), episodes, seed, batch_size=config.n_envs)
    return {metric: [row.metrics.get(metric, row.metrics[RETURN.name]) for row in rows] for metric in metrics}


def _chosen(policies: Sequence[Mapping[str, Any]], measured: Sequence[MetricValues], limit_s: float | None) -> Tuned:
    """The best by its mean, within the limit if any is; the first is what the search began with."""
    values = np.array([one[VALUE] for one in measured])
    means, beyond_s = values.mean(axis=1), np.zeros(len(policies))
    if limit_s is not None:
        seconds = np.array([one[SECONDS] for one in measured])
        beyond_s = np.maximum(seconds.mean(axis=1) - limit_s, 0.0)
    best = int(np.argmax(ranked(means, beyond_s)))
    gain = PairedBootstrap(values.shape[1]).difference(values[best], values[0])
    return Tuned(policies[best], float(means[best]), float(means[0]), gain.estimate, gain.low, gain.high)


def _write(path: Path, config: TuneConfig, tuned: Tuned) -> None:
    budget: dict[str, Any] = {"evaluations": config.evaluations, "episodes": config.episodes}
    if config.feedback_generations is not None:
        budget = {"feedback_generations": config.feedback_generations}
        if config.above_cap_limit_s is not None:
            budget["above_cap_limit_s"] = config.above_cap_limit_s
    scenario = config.shifted_scenario
    found = {
        **({} if scenario is None else {"scenario": scenario.name, "config_hash": scenario_hash(scenario)}),
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
