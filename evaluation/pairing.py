"""Rows arranged so that policies can be compared on equal terms: methods that all met the same episodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.metrics import in_order
from tokenfleet.evaluation.results import EpisodeRow


@dataclass(frozen=True)
class Method:
    """The rows of one policy, or of one algorithm over its training seeds, on the study's episodes.

    Attributes:
        name: label of the policy, or the algorithm's name.
        learned: whether it comes from checkpoints.
        policies: labels of its T members.
        scores: of every metric, `[T, E]`, in the order of the study's seeds.
    """

    name: str
    learned: bool
    policies: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Study:
    """Methods that all met the same E episodes.

    Attributes:
        methods: in order of appearance.
        columns: metric columns, in order.
        seeds: of the common episodes.
        left_out: episodes that do not count, for some policy did not meet them.
        scenario, split, config_hash: where the episodes are from; see `EpisodeRow`.
    """

    methods: tuple[Method, ...]
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    left_out: int
    scenario: str
    split: str
    config_hash: str

    @property
    def episodes(self) -> int:
        """E."""
        return len(self.seeds)

    def method(self, name: str) -> Method:
        """The method of a name."""
        return next(method for method in self.methods if method.name == name)


def make_study(rows: Sequence[EpisodeRow], by_policy: bool = False) -> Study:
    """Arrange rows so that policies can be compared on equal terms.

    Args:
        rows: of one environment and split.
        by_policy: keep every checkpoint by itself; by default training seeds of one algorithm form one method. A
            training seed counts once there: a second checkpoint of it is a method by itself.

    Raises:
        SpecError: no rows, rows of several environments, two policies of one label, or policies without a common
            episode.
    """
    _check_one_environment(rows)
    _check_labels(rows)
    by_label: dict[str, dict[int, EpisodeRow]] = {}
    for row in rows:
        by_label.setdefault(row.policy, {})[row.seed] = row
    first = next(iter(by_label.values()))
    seeds = [seed for seed in first if all(seed in met for met in by_label.values())]
    if not seeds:
        raise SpecError(
            [f"results: no episode was met by all of {', '.join(by_label)}; evaluate them with the same seed"]
        )
    columns = in_order(name for row in rows for name in row.metrics)
    of_each = [met[seeds[0]] for met in by_label.values()]
    groups = [[row.policy] for row in of_each] if by_policy else _training_seeds(of_each)
    methods = tuple(_method(labels, [by_label[label] for label in labels], seeds, columns) for labels in groups)
    every = {seed for met in by_label.values() for seed in met}
    first_row = rows[0]
    return Study(
        methods,
        tuple(columns),
        tuple(seeds),
        len(every) - len(seeds),
        scenario=first_row.scenario,
        split=first_row.split,
        config_hash=first_row.config_hash,
    )


def _check_one_environment(rows: Sequence[EpisodeRow]) -> None:
    names: dict[tuple[str, str], str] = {}
    for row in rows:
        names[row.config_hash, row.split] = f"{row.scenario or row.environment} {row.split} {row.config_hash}"
    if not names:
        raise SpecError(["results: there are no rows"])
    if len(names) > 1:
        raise SpecError([f"results: rows of several environments cannot be compared: {', '.join(names.values())}"])


def _check_labels(rows: Sequence[EpisodeRow]) -> None:
    """Refuse two policies of one label, as files of two evaluations may hold them."""
    hashes: dict[str, set[str]] = {}
    for row in rows:
        if row.policy_hash:
            hashes.setdefault(row.policy, set()).add(row.policy_hash)
    shared = {label: sorted(found) for label, found in hashes.items() if len(found) > 1}
    hint = "evaluate them together, or give the rows of one another label"
    if shared:
        raise SpecError(
            [f"results: {label} is the label of policies {found}; {hint}" for label, found in shared.items()]
        )


def _training_seeds(policies: Iterable[EpisodeRow]) -> list[list[str]]:
    """Labels of policies, given by a row of each: different training seeds of one algorithm together, others alone."""
    groups: list[list[str]] = []
    pooled: dict[str, list[str]] = {}
    trained: set[tuple[str, int | None]] = set()
    for row in policies:
        training = (row.algorithm, row.training_seed)
        if training in trained or row.algorithm not in pooled:
            groups.append([row.policy])
            pooled.setdefault(row.algorithm, groups[-1])
        else:
            pooled[row.algorithm].append(row.policy)
        trained.add(training)
    return groups


def _method(labels: list[str], met: list[dict[int, EpisodeRow]], seeds: list[int], columns: list[str]) -> Method:
    sample = met[0][seeds[0]]
    scores = {
        name: np.array([[member[seed].metrics.get(name, np.nan) for seed in seeds] for member in met], dtype=np.float64)
        for name in columns
    }
    name = labels[0] if len(labels) == 1 else sample.algorithm
    return Method(name, sample.learned, tuple(labels), scores)
