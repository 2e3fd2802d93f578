"""Leads of policies in a scenario: paired differences on test episodes, with stratified bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenfleet.evaluation.leaderboard.learning import CORRECTIONS, METHODS, Learned, limiting
from tokenfleet.evaluation.leaderboard.meeting import Meeting
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.screen.conclusions import CONSTANTS
from tokenfleet.evaluation.screen.limit import tolerated_s
from tokenfleet.evaluation.statistics import Interval, PairedBootstrap


@dataclass(frozen=True)
class Rival:
    """What the learned policies are compared with.

    Attributes:
        name: of it.
        usd: its mean net value.
        ahead: mean paired difference of the learned policies to it [USD].
        better: probability that a learned policy earns more than it in a test episode.
    """

    name: str
    usd: float
    ahead: Interval
    better: Interval


@dataclass(frozen=True)
class Standing:
    """One scenario.

    Attributes:
        scenario: its name.
        learned: mean net value of the learned policies over training seeds and episodes [USD].
        middle: interquartile mean of the same [USD].
        above_cap_s: their mean seconds above a cap.
        strongest_above_cap_s: those of the strongest rival; see `learning.limiting`.
        methods: mean net value of every method that was trained, whether it went into service or not [USD].
        corrected: how many training seeds chose a corrected rule; the others chose feedback.
        seeds: of training.
        rule: the best shipped rule, tuned or not, in these very episodes; this choice favours the rule.
        published: the best published controller, likewise.
        tuned: the constants that were tuned with as many training episodes.
        minutes: of the longest training.
        episodes: of training, of each seed.
        curves: of each training seed; see `Learned.curves`.
        note: what a reader must know of this row alone; written by hand into its file.
    """

    scenario: str
    learned: Interval
    middle: Interval
    above_cap_s: float
    strongest_above_cap_s: float
    methods: Mapping[str, float]
    corrected: int
    seeds: int
    rule: Rival
    published: Rival
    tuned: Rival
    minutes: float
    episodes: int
    curves: Sequence[Mapping[str, Sequence[tuple[int, float]]]]
    note: str = ""

    @property
    def rivals(self) -> tuple[Rival, Rival, Rival]:
        """All of them."""
        return self.rule, self.published, self.tuned

    @property
    def keeps_limit(self) -> bool:
        """Whether the learned policies stand above a cap no longer than the strongest, within the tolerance."""
        return self.above_cap_s <= tolerated_s(self.strongest_above_cap_s)

    @property
    def wins(self) -> bool:
        """Whether the learned policies are ahead of every rival, each 95 % interval above zero."""
        return all(rival.ahead.low > 0.0 for rival in self.rivals)


def standing(scenario: str, meeting: Meeting, learned: Sequence[Learned], protocol: Protocol) -> Standing:
    """The standing of a scenario whose test episodes everyone has met."""
    bootstrap = PairedBootstrap(protocol.episodes)
    ours = meeting.learned

    def best(is_published: bool) -> str:
        labels = [rule.label for rule in meeting.rules if rule.is_published is is_published]
        return max(labels, key=lambda one: float(meeting.usd[one].mean()))

    labels = best(is_published=False), best(is_published=True)
    values = {label: meeting.usd[label] for label in labels} | {CONSTANTS: meeting.of_method(CONSTANTS)}
    rule, published, tuned = (
        Rival(
            name,
            float(usd.mean()),
            bootstrap.difference(ours, usd),
            bootstrap.probability_of_improvement(ours, usd),
        )
        for name, usd in values.items()
    )
    above_cap_s = {label: meeting.above_cap_s[label] for label in labels}
    above_cap_s[CONSTANTS] = meeting.method_above_cap_s(CONSTANTS)
    strongest = max((rule, published), key=lambda rival: rival.usd)
    constants_ahead = bootstrap.difference(values[CONSTANTS], values[strongest.name])
    limiters = limiting(strongest.name, tuned.name, tuned.usd > strongest.usd, constants_ahead.low > 0.0)
    return Standing(
        scenario=scenario,
        learned=bootstrap.mean(ours),
        middle=bootstrap.interquartile_mean(ours),
        above_cap_s=meeting.learned_above_cap_s,
        strongest_above_cap_s=min(above_cap_s[name] for name in limiters),
        methods={method: float(usd.mean()) for method in METHODS if len(usd := meeting.of_method(method))},
        corrected=sum(method in CORRECTIONS for method in meeting.best),
        seeds=len(meeting.best),
        rule=rule,
        published=published,
        tuned=tuned,
        minutes=max(one.minutes for one in learned),
        episodes=max(one.episodes for one in learned),
        curves=[one.curves for one in learned],
    )
