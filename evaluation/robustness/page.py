"""The page docs/robustness.md, from measurements alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.scenario import ShiftSpec
from tokenfleet.evaluation.robustness.matrix import AS_TRAINED, Cell, verdict
from tokenfleet.evaluation.statistics import Interval

VERDICTS = ("ahead", "level", "behind")
HEAD = (
    "scenario",
    "shift",
    "learned, USD",
    "best rule",
    "ahead of it",
    "",
    "ahead of constants",
    "",
    "s above",
    "rule's",
)


def cell_text(cell: Cell) -> str:
    """One line, for a terminal."""
    return (
        f"{cell.scenario:20} {cell.shift:16} learned {cell.learned:.2f}; {verdict(cell.ahead)} {cell.ahead:+.3f} "
        f"to {cell.rule}; {verdict(cell.ahead_of_constants)} {cell.ahead_of_constants:+.3f} to constants"
    )


def write_page(cells: Sequence[Cell], shifts: Sequence[ShiftSpec], episodes: int, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, page(cells, shifts, episodes).encode())


def page(cells: Sequence[Cell], shifts: Sequence[ShiftSpec], episodes: int) -> str:
    """The page as Markdown."""
    moved = [cell for cell in cells if cell.shift != AS_TRAINED]
    scenarios = list(dict.fromkeys(cell.scenario for cell in cells))
    return f"""# Robustness

What was learned in a scenario, in the same scenario under a shift that no training saw. `make robustness` measures it,
and writes this page and its figure; the same command goes on where it was stopped.

{len(scenarios)} scenarios, {len(moved)} pairs of one with a shift. By the 95 % interval of the paired
difference, what was learned is

- against the best rule {_counted({_pair(cell): cell.ahead for cell in moved})}
- against the constants that were tuned there {_counted({_pair(cell): cell.ahead_of_constants for cell in moved})}

![How far learned policies are ahead of the best rule under every shift](images/robustness.png)

- *Learned* is `pretrained/<scenario>`, *constants* `tuned/<scenario>/constants`; both stay as they were trained.
- *Best rule* is the best of five rules **in these very episodes**, which favours the rule. The five are the scenario's
  best finalists of [leaderboard.md](leaderboard.md), as `evaluation/robustness/rules.yaml` names them.
- Every row has {episodes} test episodes (the first of the protocol's), by direct actions; all policies meet the same.
  *s above* are mean seconds above a cap in an episode, of the learned policy and of the rule.
- One learned policy a scenario, the one that ships: nothing is said about training again.
- A shift that leaves a scenario as it is has no row there: a fifth of four replicas is none, and forecasts count where
  a policy reads them. In the figure, brackets stand around leads whose interval holds zero.

{markdown_table(("shift", "what"), [(f"`{shift.name}`", shift.description) for shift in shifts])}

{_table(cells)}
"""


def _counted(differences: Mapping[str, Interval]) -> str:
    """Counts of pairs with the learned policy ahead, level and behind, and the pairs without a lead."""
    pairs = {kind: [pair for pair, one in differences.items() if verdict(one) == kind] for kind in VERDICTS}
    ahead, *others = (f"{kind} in {len(found)}" for kind, found in pairs.items())
    named = (
        f"{text}: {', '.join(pairs[kind])}" for kind, text in zip(VERDICTS[1:], others, strict=True) if pairs[kind]
    )
    return "; ".join([f"**{ahead} of {len(differences)}**", *named]) + "."


def _pair(cell: Cell) -> str:
    return f"`{cell.scenario}` {cell.shift}"


def _table(cells: Sequence[Cell]) -> str:
    rows = []
    for cell in cells:
        above = [f"{value:.0f}" for value in cell.above_cap_s]
        rivals = [f"`{cell.rule}`", f"{cell.ahead:+.3f}", verdict(cell.ahead)]
        rivals += [f"{cell.ahead_of_constants:+.3f}", verdict(cell.ahead_of_constants)]
        rows.append([f"`{cell.scenario}`", cell.shift, f"{cell.learned:.2f}", *rivals, *above])
    return markdown_table(HEAD, rows)
