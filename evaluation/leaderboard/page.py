"""The page docs/leaderboard.md, from measurements alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenfleet.envs.files.writing import replace_file
from tokenfleet.evaluation.leaderboard.learning import Budget
from tokenfleet.evaluation.leaderboard.standings import Rival, Standing
from tokenfleet.evaluation.protocol import Protocol
from tokenfleet.evaluation.statistics import Interval

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
        f"{one.scenario:20} learned {_usd(one.learned)}; ahead of "
        + ", ".join(f"{rival.name} {_ahead(rival)}" for rival in one.rivals)
        for one in rows
    )


def write_page(rows: Sequence[Standing], protocol: Protocol, budget: Budget, seeds: int, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, page(rows, protocol, budget, seeds).encode())


def page(rows: Sequence[Standing], protocol: Protocol, budget: Budget, seeds: int) -> str:
    """The page as Markdown."""
    won = [one.scenario for one in rows if one.wins]
    lost = [one.scenario for one in rows if not one.wins]
    minutes = max(one.minutes for one in rows)
    return f"""# Leaderboard

Learned policies against every rule that ships, on test episodes that chose nothing. `make leaderboard` trains, meets,
and writes this page and its figure; the same command goes on where it was stopped.

**The learned policies are ahead of every rival, with each 95 % interval above zero, on {len(won)} of {len(rows)}
scenarios.** {_not_won(lost)}

![How far learned policies are ahead of rules, published controllers and tuned constants](images/leaderboard.png)

- *Learned*: set-points that follow the state, searched by CMA-ES ([policies.md](policies.md#feedback)): constants
  first, {budget.generations} generations of gains on top of them. {seeds} training seeds; a training took {minutes:.1f}
  minutes at most, on a machine that did other things as well.
- *Constants*: the same search without feedback, from the same constants, with the same number of training episodes and
  the same choice by {budget.episodes} validation episodes. What feedback is ahead of them is what state is worth.
- *Best rule* and *best published* are the best of all that ship **in these very test episodes**, which favours them
  ([controllers.md](controllers.md) lists them). None is tuned to a scenario.
- All met the same {protocol.episodes} test episodes (seed {protocol.seed}), by direct actions. Differences are paired
  by episode; intervals draw training seeds and episodes anew.
- The *score* is that of the protocol `{protocol.name}`: 0 is a careful operator, 100 the best that a screen of one seed
  knows, which may be learned too.

{_table(rows, protocol)}

Mean seconds above a cap in an episode, and training:

{_costs(rows)}
"""


def _not_won(lost: Sequence[str]) -> str:
    return f"Not on {', '.join(f'`{name}`' for name in lost)}." if lost else ""


def _table(rows: Sequence[Standing], protocol: Protocol) -> str:
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    for one in rows:
        reference = protocol.references.get(one.scenario)
        score = f"{reference.score(one.learned.estimate):.0f}" if reference else "-"
        rule, published, tuned = one.rivals
        cells = [f"`{one.scenario}`", _usd(one.learned)]
        for rival in (rule, published):
            cells += [f"`{rival.name}` {rival.usd.estimate:.2f}", _ahead(rival)]
        lines.append(_line([*cells, _ahead(tuned), score, "yes" if one.wins else "no"]))
    return "\n".join(lines)


def _costs(rows: Sequence[Standing]) -> str:
    head = ("scenario", "learned, s", "constants, s", "best rule, s", "training episodes", "minutes")
    lines = [_line(head), _line(["---"] * len(head))]
    for one in rows:
        rule, _, tuned = one.rivals
        above = [f"{value:.1f}" for value in (one.above_cap_s, tuned.above_cap_s, rule.above_cap_s)]
        lines.append(_line([f"`{one.scenario}`", *above, f"{one.episodes:,}", f"{one.minutes:.1f}"]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _usd(value: Interval) -> str:
    return f"{value.estimate:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _ahead(rival: Rival) -> str:
    return f"{rival.ahead.estimate:+.3f} [{rival.ahead.low:+.3f}, {rival.ahead.high:+.3f}]"
