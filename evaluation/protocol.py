"""The score of a policy: 0 is a careful operator, 100 the best known, on episodes that a protocol has frozen.

`score = 100 * (value - careful operator) / (best known - careful operator)`, values being mean net values [USD] of the
protocol's episodes. A score is told only of a study of exactly these episodes in exactly that scenario. The score of a
suite is the interquartile mean over its scenarios. `python -m tokenfleet.evaluation.screen.freeze` writes a protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.spec import NonNegativeInt, PositiveInt, Spec, SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.evaluation.episodes import episode_seeds
from tokenfleet.evaluation.pairing import Study
from tokenfleet.evaluation.statistics import Interval, interquartile_mean

PROTOCOL = Path(__file__).parent / "protocols" / "tokenfleet-1.yaml"
"""The protocol in force."""


class Verdict(Spec):
    """What a screen found about one criterion of a benchmark scenario.

    Attributes:
        passed: whether the scenario meets it.
        measured: the numbers, for people.
    """

    passed: bool
    measured: str


class Reference(Spec):
    """What 0 and 100 are in one scenario.

    Attributes:
        config_hash: of the scenario when its values were measured.
        careful_usd: mean net value of the careful operator.
        best_usd: mean net value of the best policy known.
        best: which that is.
        found_by: the search that found it.
        policy: what evaluate.py takes for it; None where a protocol was frozen before feedback was a policy.
        version: of tokenfleet that measured it.
        criteria: what the screen found of the scenario, by criterion.
    """

    config_hash: str
    careful_usd: float
    best_usd: float
    best: str
    found_by: str
    policy: str | dict[str, Any] | None = None
    version: str
    criteria: dict[str, Verdict] = Field(default_factory=dict)

    @property
    def is_benchmark(self) -> bool:
        """Whether the scenario meets every criterion; else it demonstrates something."""
        return bool(self.criteria) and all(verdict.passed for verdict in self.criteria.values())

    @model_validator(mode="after")
    def _above(self) -> Self:
        if not self.best_usd > self.careful_usd:
            raise ValueError(f"best_usd: must be above careful_usd (got {self.best_usd} and {self.careful_usd})")
        return self

    def score(self, value_usd: float) -> float:
        """The score of a mean net value [USD]."""
        return 100.0 * (value_usd - self.careful_usd) / (self.best_usd - self.careful_usd)


class Protocol(Spec):
    """The episodes that count, and the references of scenarios.

    Attributes:
        name: of the protocol; other references or episodes are another protocol.
        split, seed, episodes: as of evaluate.py.
        careful_operator: the policy that scores 0.
        references: by scenario.
    """

    name: str
    split: Split
    seed: NonNegativeInt
    episodes: PositiveInt
    careful_operator: str
    references: dict[str, Reference]

    @property
    def benchmarks(self) -> list[str]:
        """The scenarios that meet every criterion of a benchmark."""
        return [name for name, reference in self.references.items() if reference.is_benchmark]

    def reference(self, study: Study) -> Reference | None:
        """The reference of a study's scenario; None without one, or if the study has another scenario or episodes."""
        found = self.references.get(study.scenario)
        if found is None or (study.split, study.config_hash) != (self.split, found.config_hash):
            return None
        same = study.seeds == tuple(episode_seeds(self.seed, self.episodes))
        return found if same else None

    def why_none(self, study: Study) -> str:
        """Why a study of a scenario with a reference gets no score; empty where nothing is to be said."""
        found = self.references.get(study.scenario)
        if found is None or self.reference(study) is not None:
            return ""
        if study.config_hash != found.config_hash:
            return f"No score: {study.scenario} is not the scenario that {self.name} has frozen."
        rule = f"split={self.split} seed={self.seed} episodes={self.episodes}"
        return f"No score: {self.name} is about {rule}."


def load_protocol(path: Path = PROTOCOL) -> Protocol:
    """A protocol's file.

    Raises:
        SpecError: it cannot be read, or one line per mistake.
    """
    return Protocol.parse(read_yaml(path), path.stem)


def score_interval(reference: Reference, value_usd: Interval) -> Interval:
    """The score of an estimate, with its interval; the references count as known."""
    return Interval(*(reference.score(value) for value in (value_usd.estimate, value_usd.low, value_usd.high)))


def score_text(score: float) -> str:
    """A score as it is printed; zero has no sign.

    >>> score_text(-0.2), score_text(99.6)
    ('0', '100')
    """
    return str(round(score))


def suite_score(scores: Iterable[float]) -> float:
    """The score over scenarios: the interquartile mean.

    >>> suite_score([80.0, -300.0, 90.0, 100.0])
    85.0

    Raises:
        SpecError: no scores.
    """
    known = list(scores)
    if not known:
        raise SpecError(["scores: there are none to average"])
    return interquartile_mean(known)
