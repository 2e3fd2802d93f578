"""What the rows of a study say: estimates with intervals, a ranking, a verdict.

The verdict serves a decision. It names the best policy, its lead on the same episodes, whether the lead could be
chance, and the place of each learned policy among the baselines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.accounts.metric import Metric
from tokenfleet.envs.spec import SpecError, counted, suggest
from tokenfleet.evaluation.metrics import describe, headline
from tokenfleet.evaluation.pairing import Method, Study, make_study
from tokenfleet.evaluation.results import EpisodeRow
from tokenfleet.evaluation.statistics import RESAMPLES, Interval, PairedBootstrap

FEW_EPISODES = 20
FEW_TRAINING_SEEDS = 5


@dataclass(frozen=True)
class Estimate:
    """One metric of one method.

    Attributes:
        mean: over episodes (and training seeds), with its interval.
        iqm: interquartile mean, with its interval.
        difference: mean paired difference to the reference.
        improvement: probability of doing better than the reference on an episode; an episode with a lower value counts
            where lower is better.
        missing: episodes of which no member has such a number.
    """

    mean: Interval
    iqm: Interval
    difference: Interval
    improvement: Interval
    missing: int


@dataclass(frozen=True)
class Summary:
    """A study in numbers.

    Attributes:
        study: the rows behind it.
        headline: the metric that ranks.
        reference: name of the method that differences are against.
        estimates: `[method name][column]`.
        ranking: names, best first.
        bootstrap: makes further comparisons on the same resamples.
    """

    study: Study
    headline: Metric
    reference: str
    estimates: Mapping[str, Mapping[str, Estimate]]
    ranking: tuple[str, ...]
    bootstrap: PairedBootstrap

    def method(self, name: str) -> Method:
        """The method of a name."""
        return self.study.method(name)

    def compare(self, name: str, other: str) -> Interval:
        """Mean paired difference of the headline metric, `name` less `other`."""
        column = self.headline.name
        return self.bootstrap.difference(self.method(name).scores[column], self.method(other).scores[column])

    def improvement(self, name: str, other: str) -> Interval:
        """Probability that `name` does better than `other` on an episode, by the headline metric."""
        column = self.headline.name
        return self.bootstrap.probability_of_improvement(
            self.method(name).scores[column], self.method(other).scores[column]
        )


def summarise(
    rows: Sequence[EpisodeRow],
    reference: str | None = None,
    by_policy: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Summary:
    """Estimate every metric of every policy.

    Args:
        rows: of one environment and split.
        reference: method that differences are against; by default the best baseline, or the best of all without one.
        by_policy: keep every checkpoint by itself; by default training seeds of one algorithm form one method.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        SpecError: no comparable rows, or an unknown reference.
    """
    study = make_study(rows, by_policy)
    ranked_by = describe(headline(study.columns))
    if ranked_by.name not in study.columns:
        raise SpecError(["results: rows hold neither net_value_usd nor return, by which policies are ranked"])
    ranking = _rank(study, ranked_by.name)
    names = [method.name for method in study.methods]
    if reference is None:
        baselines = [name for name in ranking if not study.method(name).learned]
        reference = (baselines or list(ranking))[0]
    elif reference not in names:
        raise SpecError([f"reference: no policy is called {reference!r}{suggest(reference, names)}"])
    bootstrap = PairedBootstrap(study.episodes, resamples=resamples, seed=seed)
    against = study.method(reference)
    estimates = {
        method.name: {column: _estimate(method, against, column, bootstrap) for column in study.columns}
        for method in study.methods
    }
    return Summary(study, ranked_by, reference, estimates, tuple(ranking), bootstrap)


def verdict(summary: Summary) -> list[str]:
    """Sentences about what the study shows, and about its limits."""
    lines = [_who_is_best(summary)]
    lines += [_where_it_stands(summary, name) for name in summary.ranking if summary.method(name).learned]
    return [line for line in (*lines, *_caveats(summary)) if line]


def summary_csv(summary: Summary) -> str:
    """One line per policy and metric, as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    intervals = ("mean", "iqm", "difference", "improvement")
    spread = [f"{name}{suffix}" for name in intervals for suffix in ("", "_low", "_high")]
    writer.writerow(
        ["policy", "rank", "training_seeds", "metric", "unit", "better", "episodes", "missing", *spread, "reference"]
    )
    for name, column, estimate in _lines(summary):
        metric, method = describe(column), summary.method(name)
        identity = [name, summary.ranking.index(name) + 1, len(method.policies) if method.learned else ""]
        about = [column, metric.unit, metric.better, summary.study.episodes, estimate.missing]
        numbers = [value for key in intervals for value in _three(getattr(estimate, key))]
        writer.writerow([*identity, *about, *numbers, summary.reference])
    return text.getvalue()


def number(value: float, decimals: int, sign: bool = False) -> str:
    """A number as a person reads it; `-` where there is none.

    >>> number(1234.56, 0), number(0.5, 2, sign=True), number(float("nan"), 2)
    ('1235', '+0.50', '-')
    """
    if not np.isfinite(value):
        return "-"
    return f"{value:{'+' if sign else ''}.{decimals}f}"


def decimals(intervals: Iterable[Interval]) -> int:
    """How many decimals are worth printing: two digits of the typical uncertainty, at most four of the largest value.

    >>> decimals([Interval(1.98812, 1.91, 2.06), Interval(0.4, 0.31, 0.46)])
    3
    >>> decimals([Interval(2998.2, 2998.2, 2998.2)])
    0
    """
    known = [interval for interval in intervals if np.isfinite(interval.estimate)]
    half_widths = [(interval.high - interval.low) / 2.0 for interval in known if interval.high > interval.low]
    largest = max((abs(interval.estimate) for interval in known), default=0.0)
    digit = max(float(np.median(half_widths)) / 10.0 if half_widths else 0.0, largest / 1000.0)
    return int(np.clip(-np.floor(np.log10(digit)), 0, 6)) if digit > 0.0 else 0


def with_interval(interval: Interval, metric: Metric, sign: bool = False) -> str:
    """An estimate and its interval in words, for example `1.98 [1.91, 2.06] USD`."""
    shown = scaled(interval, metric)
    places = decimals([shown])
    estimate, low, high = (number(value, places, sign) for value in _three(shown))
    unit = "%" if metric.percent else metric.unit
    return f"{estimate} [{low}, {high}]{f' {unit}' if unit else ''}"


def scaled(interval: Interval, metric: Metric) -> Interval:
    """The interval as it is printed: a share becomes a percentage."""
    factor = 100.0 if metric.percent else 1.0
    return Interval(*(factor * value for value in _three(interval)))


def _rank(study: Study, column: str) -> list[str]:
    def mean(method: Method) -> float:
        scores = method.scores[column]
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else -np.inf

    return [method.name for method in sorted(study.methods, key=mean, reverse=True)]


def _estimate(method: Method, reference: Method, column: str, bootstrap: PairedBootstrap) -> Estimate:
    scores, against = method.scores[column], reference.scores[column]
    sign = -1.0 if describe(column).better == "lower" else 1.0
    return Estimate(
        mean=bootstrap.mean(scores),
        iqm=bootstrap.interquartile_mean(scores),
        difference=bootstrap.difference(scores, against),
        improvement=bootstrap.probability_of_improvement(sign * scores, sign * against),
        missing=int((~np.isfinite(scores)).all(axis=0).sum()),
    )


def _lines(summary: Summary) -> Iterator[tuple[str, str, Estimate]]:
    for name in summary.ranking:
        for column in summary.study.columns:
            yield name, column, summary.estimates[name][column]


def _three(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high]


def _who_is_best(summary: Summary) -> str:
    if len(summary.ranking) == 1:
        return ""
    first, second = summary.ranking[:2]
    column, metric = summary.headline.name, summary.headline
    lead = summary.compare(first, second)
    lead_text = with_interval(lead, metric, sign=True)
    apart = f"{first} has the highest {metric.label}: {with_interval(summary.estimates[first][column].mean, metric)}."
    if not lead.excludes_zero():
        return f"{apart} Its lead over {second} could be chance: {lead_text} per episode, paired."
    overlap = summary.estimates[first][column].mean.overlaps(summary.estimates[second][column].mean)
    although = " (although their separate intervals overlap)" if overlap else ""
    return f"{apart} It leads {second} on the same episodes{although}: {lead_text} per episode, paired."


def _where_it_stands(summary: Summary, name: str) -> str:
    baselines = [other for other in summary.ranking if not summary.method(other).learned]
    if not baselines:
        return ""
    # Of an even number the better of the middle two, so that "above the median" is never claimed cheaply.
    median = baselines[(len(baselines) - 1) // 2]
    beaten = sum(summary.ranking.index(name) < summary.ranking.index(other) for other in baselines)
    rank = summary.ranking.index(name) + 1
    parts = [f"{name} (learned) ranks {rank} of {len(summary.ranking)}, above {beaten} of {len(baselines)} baselines."]
    for title, other in {"best": baselines[0], "median": median}.items():
        difference = summary.compare(name, other)
        wins = summary.improvement(name, other)
        clearly = "above" if difference.estimate > 0 else "below"
        standing = clearly if difference.excludes_zero() else "not clearly apart from"
        lead = with_interval(difference, summary.headline, sign=True)
        parts.append(
            f"It is {standing} the {title} baseline ({other}): {lead}, "
            f"better in {100 * wins.estimate:.0f} % of episodes."
        )
        if baselines[0] == median:
            break
    return " ".join(parts)


def _caveats(summary: Summary) -> list[str]:
    study = summary.study
    caveats = []
    if study.episodes < FEW_EPISODES:
        episodes = counted(study.episodes, "episode")
        caveats.append(f"Only {episodes}: the intervals are too narrow; use {FEW_EPISODES} or more.")
    runs = {method.name: len(method.policies) for method in study.methods if method.learned}
    once = [name for name, count in runs.items() if count == 1]
    few = [f"{name} ({count} times)" for name, count in runs.items() if 1 < count < FEW_TRAINING_SEEDS]
    if once:
        caveats.append(f"Trained once: {', '.join(once)}; the intervals say nothing about training again.")
    if few:
        caveats.append(f"Trained a few times: {', '.join(few)}; the intervals are too narrow for training again.")
    if study.left_out:
        caveats.append(f"Left out: {counted(study.left_out, 'episode')} that not every policy met.")
    return caveats
