"""The page docs/leaderboard.md, from measurements alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.evaluation.leaderboard.budget import Budget
from tokenfleet.evaluation.leaderboard.cells import CHOICE_TIMES
from tokenfleet.evaluation.leaderboard.learning import METHODS
from tokenfleet.evaluation.leaderboard.standings import Standing
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.screen.budget import choosing as choosing_of
from tokenfleet.evaluation.screen.limit import TOLERANCE, TOLERANCE_S

HEAD = (
    "scenario",
    "learned, USD",
    "best rule",
    "ahead",
    "best published",
    "ahead",
    "ahead of constants",
    "score",
    "wins",
)


def standings_text(rows: Sequence[Standing]) -> str:
    """One line a scenario, for a terminal."""
    return "\n".join(
        f"{one.scenario:20} learned {one.learned:.2f}; ahead of "
        + ", ".join(f"{rival.name} {rival.ahead:+.3f}" for rival in one.rivals)
        for one in rows
    )


def write_page(rows: Sequence[Standing], protocol: Protocol, budget: Budget, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, page(rows, protocol, budget).encode())


def page(rows: Sequence[Standing], protocol: Protocol, budget: Budget) -> str:
    """The page as Markdown."""
    won = [one.scenario for one in rows if one.wins]
    lost = [one.scenario for one in rows if not one.wins]
    beyond = [one.scenario for one in rows if not one.keeps_limit]
    minutes, seeds = max(one.minutes for one in rows), max(one.seeds for one in rows)
    sums = _median_score(rows, protocol) + _unmeasured(rows, protocol)
    choosing = CHOICE_TIMES * budget.episodes
    return f"""# Leaderboard

Learned policies against the best rules that ship, on test episodes that chose no policy. `make leaderboard` trains,
lets policies meet, and writes this page and its figure; the same command resumes a run that was stopped. With
`--scenario` one row is measured, and the others stay as `standings/` has them.

**The learned policies are ahead of every rival, with each 95 % interval above zero, on {len(won)} of {len(rows)}
scenarios.**{_not_on(lost)} On {len(rows) - len(beyond)} of {len(rows)} they stand above a cap no longer than the
strongest rival, within the tolerance below.{_not_on(beyond)}{sums}

![How far learned policies are ahead of rules, published controllers and tuned constants](images/leaderboard.png)

- *Learned* is the policy that a training seed would put into service: the best in {choosing} validation episodes among
  those of the three methods below that keep the limit there. There are {seeds} training seeds.
- *Minutes* in the last table are wall clock of the slowest training, its control included, on one core or two of a
  machine that did other things too: {minutes:.0f} at most. What the policy itself takes to learn is
  [measured apart](experiments.md#how-long-learning-takes), in processor time.
- *Feedback*: set-points that follow the state ([policies.md](policies.md#feedback)). CMA-ES searches the constants
  first, then {budget.generations} generations of gains within the limit.
- *Corrected rule*: a linear correction of the direct actions of the rule that is best on validation, tuned or not, but
  no planner (`python train.py experiment=correction limits.above_cap_s=...`). The correction follows cap, price and
  power. *Wide* (`wide_correction`) also follows prices to come, batteries, queues and arrivals, and has
  {budget.correction_episodes:,} episodes of training, twice as many. A rule is not corrected where feedback is
  ahead of it in the same validation episodes, with the 95 % interval above zero.
- *The limit* is on mean seconds above a cap in an episode: those of the strongest rival. That is the rule, tuned or
  not, which earns most in {budget.episodes} validation episodes. Where the training seed's own constants earn still
  more there, their seconds are the limit if they are fewer, or if the constants are ahead of the rule in the episodes
  that choose a method, with the 95 % interval above zero. Searches and corrections get the seconds in the
  {budget.episodes} episodes, the choice of a method those in the episodes that choose. Without a limit a search would
  buy value with seconds that a utility does not sell. A policy counts as within the limit if it exceeds the limit by
  no more than {TOLERANCE:.0%} or {TOLERANCE_S:g} s, since means over so few episodes do not tell less. Checkpoints of
  corrections are chosen with this tolerance, and so are methods.
- *Decided with test figures in view* were: the tolerance, and the price at which searches begin to pay for seconds
  beyond the limit (`default`, `texas-august`); the number of episodes that choose a method (`two-markets`, where
  {budget.episodes} had chosen the worse one); the wide correction beside the narrow one, and the tolerance for
  checkpoints (`texas-august`, level with the tuned rule before); the size of the first steps of corrections
  (`two-markets`, behind the tuned rule before); that constants which are not clearly ahead do not raise the limit
  (`shared-campus`). All of these were then settled by training and validation episodes, and every scenario was run
  with all of them, unless a note below says otherwise. [experiments.md](experiments.md) has
  limits that were tried and dropped.
- *Constants* are the control. The search goes on from the constants with which feedback began, without feedback, until
  it has had as many training episodes as feedback and the wide correction together, whether a rule was corrected or
  not. Where a rule was corrected, all learned methods together had more: the episodes of the narrow correction. Where
  feedback is ahead of constants, following the state pays. A corrected rule may be ahead because its rule has another
  form.
- *Best rule* and *best published* are the best finalists **in these very test episodes**, which favours them. The
  finalists are the shipped rules and controllers that are best in {budget.episodes} validation episodes
  ([controllers.md](controllers.md) has all), and the best of either kind with its numbers tuned by `python tune.py`,
  with that command's own budget of 1,024 training episodes, or with the tuned numbers that ship for the scenario, if
  these are better in the validation episodes (*tuned*).
- All met the same {protocol.episodes} test episodes (seed {protocol.seed}), by direct actions. Differences are
  paired by episode; intervals draw training seeds and episodes anew.
- *s above* are mean seconds above a cap in a test episode; *of strongest* are those of the strongest rival
  there, in the sense of the limit.
- The *score* is that of the protocol `{protocol.name}`: 0 is a careful operator, 100 the best policy known. That policy
  may be one that ships with tuned numbers, or a learned one ([screen.md](screen.md#the-score)).

{_table(rows, protocol)}
{_notes(rows)}
How the learned policies earn more: the interquartile mean over training seeds and test episodes, and the probability
that a learned policy earns more in a test episode than each rival does (Agarwal et al. 2021; see
[evaluation.md](evaluation.md#the-statistics)):

{_chances(rows)}

What each method earns by itself, how many training seeds chose a corrected rule, seconds above a cap, and training:

{_costs(rows)}

## Learning curves

![Value in validation episodes over training episodes, of feedback and of constants](images/learning-curves.png)

Pale lines are training seeds, the others their means. All begin at the middle of the box of set-points. The value is
that of the centre of the search in {choosing_of(budget.episodes)} validation episodes, the same for the whole search of
a training seed. Feedback goes on from constants, and its centres may be beyond the limit before the search ends. The
probes of single gains, which come first, cost episodes and have no point of their own. Corrections of rules are not
shown: they begin at a rule.
"""


def _median_score(rows: Sequence[Standing], protocol: Protocol) -> str:
    known = [(protocol.references[one.scenario], one) for one in rows if one.scenario in protocol.references]
    if not known:
        return ""
    return f" The median score is {median(ref.score(one.learned.estimate) for ref, one in known):.0f}."


def _not_on(scenarios: Sequence[str]) -> str:
    return f" Not on {', '.join(f'`{name}`' for name in scenarios)}." if scenarios else ""


def _unmeasured(rows: Sequence[Standing], protocol: Protocol) -> str:
    missing = [name for name in protocol.benchmarks if name not in {one.scenario for one in rows}]
    named = ", ".join(f"`{name}`" for name in missing)
    return f"\nNot measured yet, or not since it was changed: {named}." if missing else ""


def _table(rows: Sequence[Standing], protocol: Protocol) -> str:
    lines = []
    for one in rows:
        reference = protocol.references.get(one.scenario)
        score = f"{reference.score(one.learned.estimate):.0f}" if reference else "-"
        rule, published, tuned = one.rivals
        cells = [f"`{one.scenario}`", f"{one.learned:.2f}"]
        for rival in (rule, published):
            cells += [f"`{rival.name}` {rival.usd:.2f}", f"{rival.ahead:+.3f}"]
        lines.append([*cells, f"{tuned.ahead:+.3f}", score, "yes" if one.wins else "no"])
    return markdown_table(HEAD, lines)


def _chances(rows: Sequence[Standing]) -> str:
    head = ("scenario", "IQM, USD", "above best rule", "above best published", "above constants")
    lines = [
        [f"`{one.scenario}`", f"{one.middle:.2f}", *(f"{rival.better:.2f}" for rival in one.rivals)] for one in rows
    ]
    return markdown_table(head, lines)


def _notes(rows: Sequence[Standing]) -> str:
    notes = dict.fromkeys(one.note for one in rows if one.note)
    named = {note: ", ".join(f"`{one.scenario}`" for one in rows if one.note == note) for note in notes}
    return "".join(f"\n- {scenarios}: {note}" for note, scenarios in named.items()) + "\n"


def _costs(rows: Sequence[Standing]) -> str:
    head = ("scenario", *(f"{method}, USD" for method in METHODS), "corrected", "learned, s above", "of strongest",
            "no more", "training episodes", "minutes")  # fmt: skip
    lines = []
    for one in rows:
        cells = [f"`{one.scenario}`", *(_mean(one, method) for method in METHODS)]
        cells += [f"{one.corrected} of {one.seeds}"]
        cells += [f"{one.above_cap_s:.1f}", f"{one.strongest_above_cap_s:.1f}", "yes" if one.keeps_limit else "no"]
        lines.append([*cells, f"{one.episodes:,}", f"{one.minutes:.1f}"])
    return markdown_table(head, lines)


def _mean(one: Standing, method: str) -> str:
    return f"{one.methods[method]:.2f}" if method in one.methods else "-"
