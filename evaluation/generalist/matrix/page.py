"""The page docs/generalist-matrix.md, from measurements alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.evaluation.generalist.finetuning import FinetuningOptions
from tokenfleet.evaluation.generalist.matrix.entrants import (
    COLUMNS,
    CONSTANTS,
    FINE_TUNED,
    OTHERS,
    RULE,
    SPECIALIST,
    TUNED,
    ZERO_SHOT,
)
from tokenfleet.evaluation.generalist.matrix.figure import absence
from tokenfleet.evaluation.generalist.matrix.row import Row
from tokenfleet.evaluation.protocol import Protocol, score_text, suite_score
from tokenfleet.evaluation.robustness.matrix import verdict
from tokenfleet.evaluation.screen.limit import tolerated_s

RIVALS = (RULE, TUNED, CONSTANTS, SPECIALIST)
VERDICTS = ("ahead", "level", "behind")


def row_text(row: Row) -> str:
    """One line, for a terminal."""
    return f"{row.scenario:20} " + "; ".join(f"{column} {_usd(row, column)}" for column in COLUMNS)


def write_page(rows: Sequence[Row], protocol: Protocol, episodes: int, options: FinetuningOptions, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, page(rows, protocol, episodes, options).encode())


def page(rows: Sequence[Row], protocol: Protocol, episodes: int, options: FinetuningOptions) -> str:
    """The page as Markdown."""
    training = options.generations * options.population * options.episodes
    return f"""# One policy for any fleet, beside specialists and rules

The [generalist](generalist.md) as it ships and after fine-tuning, beside specialists, tuned constants and rules.
`python -m tokenfleet.evaluation.generalist.matrix --docs docs` fine-tunes, measures, and writes this page and its
figure; the same command goes on where it was stopped.

By the 95 % interval of the paired difference in net value, over the scenarios where the rival exists:

{_counts(rows)}

{_limits(rows)}

![Net value of rules, specialists and the generalist, as a share of the best in each scenario](images/generalist.png)

- Everyone met the same {episodes} test episodes of a scenario (seed {protocol.seed}), by direct actions. Test episodes
  chose nothing but what the next line says.
- *{RULE}* is the best rule with its own numbers **in these very episodes**, which favours it: of the five that
  `evaluation/robustness/rules.yaml` names for a benchmark scenario, of the four that [generalist.md](generalist.md)
  compares on a drawn fleet.
- *{TUNED}* and *{CONSTANTS}* are `tuned/<scenario>/...` ([tuning.md](tuning.md)), *{SPECIALIST}* is
  `pretrained/<scenario>` of the [leaderboard](leaderboard.md), which had more training episodes, and is the best of
  five training seeds on validation. None of these was made for a drawn fleet.
- *{OTHERS}* are the specialists of all other scenarios. A specialist names sites, pools and classes, or has the
  shape of an observation, and so refuses any other fleet.
- *{ZERO_SHOT}* is one file of weights, trained on drawn fleets alone; *{FINE_TUNED}* went on from these weights with
  {training:,} training episodes of the scenario ({options.generations} generations of {options.population} candidates
  in {options.episodes} episodes), and is whatever was best in {options.validation_episodes} validation episodes, the
  weights that it began with included, that stands above a cap no longer than the specialist does in these episodes.
  One seed each. *None*: no such policy ships, or nothing was fine-tuned there.
- Scores in brackets are those of the protocol `{protocol.name}`: 0 is a careful operator, 100 the best policy
  known. Before fine-tuning the generalist knows no limit on seconds but the brake and its price.

## Net value, USD

{_values(rows)}

## Leads, USD

Paired differences with 95 % bootstrap intervals over episodes.

{_leads(rows, ZERO_SHOT, RIVALS)}

{_leads(rows, FINE_TUNED, (*RIVALS, ZERO_SHOT))}

## Mean seconds above a cap in an episode

{_by_column(rows, lambda row, column: f"{row.cells[column].above_cap_s:.0f}")}
"""


def _counts(rows: Sequence[Row]) -> str:
    lines = []
    for column, rivals in ((ZERO_SHOT, RIVALS), (FINE_TUNED, (*RIVALS, ZERO_SHOT))):
        for rival in rivals:
            told = Counter(verdict(lead) for row in rows if (lead := row.lead(column, rival)) is not None)
            lines.append([column, rival, *(str(told[kind]) for kind in VERDICTS)])
    return markdown_table(("", "against", *VERDICTS), lines)


def _limits(rows: Sequence[Row]) -> str:
    """Whether leads over specialists are bought with seconds above a cap."""
    both = [row for row in rows if {FINE_TUNED, SPECIALIST} <= row.cells.keys()]
    beyond = [
        f"`{row.scenario}`"
        for row in both
        if row.cells[FINE_TUNED].above_cap_s > tolerated_s(row.cells[SPECIALIST].above_cap_s)
    ]
    where = f" Not on {', '.join(beyond)},\nwhere the two are not alike: seconds buy value." if beyond else ""
    within = f"{len(both) - len(beyond)} of {len(both)}"
    return f"""After fine-tuning the generalist stands above a cap no longer than the specialist, within the tolerance
of the leaderboard, on **{within}**.{where}"""


def _values(rows: Sequence[Row]) -> str:
    scored = [row for row in rows if row.reference is not None]
    table = _by_column(rows, _usd)
    if not scored:
        return table
    means = []
    for column in COLUMNS:
        scores = [score for row in scored if (score := row.score(column)) is not None]
        means.append(score_text(suite_score(scores)) if len(scores) == len(scored) else "-")
    last = " | ".join(["interquartile mean of scores", *means])
    return f"{table}\n| {last} |"


def _leads(rows: Sequence[Row], column: str, rivals: Sequence[str]) -> str:
    lines = []
    for row in rows:
        leads = [row.lead(column, rival) for rival in rivals]
        lines.append([f"`{row.scenario}`", *("-" if lead is None else f"{lead:+.3f}" for lead in leads)])
    return markdown_table((f"{column} over", *rivals), lines)


def _by_column(rows: Sequence[Row], shown: Callable[[Row, str], str]) -> str:
    lines = [
        [f"`{row.scenario}`", *(shown(row, one) if one in row.cells else absence(row, one) for one in COLUMNS)]
        for row in rows
    ]
    return markdown_table(("scenario", *COLUMNS), lines)


def _usd(row: Row, column: str) -> str:
    if column not in row.cells:
        return absence(row, column)
    score, name = row.score(column), row.cells[column].name
    named = f"`{name}` " if column == RULE else ""
    return f"{named}{row.mean_usd(column):.2f}" + ("" if score is None else f" ({score_text(score)})")
