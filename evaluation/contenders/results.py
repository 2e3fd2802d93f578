"""What the page docs/controllers.md says of the measurements."""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.evaluation.contenders.cells import MIDDLE
from tokenfleet.evaluation.contenders.matrix import ResultMatrix
from tokenfleet.evaluation.contenders.searched import BEST_KNOWN


def results(matrix: ResultMatrix) -> str:
    """The matrix, whoever is best overall first."""
    head = ["policy", "overall", *matrix.scenarios, "decision, ms"]
    rows = []
    for policy in matrix.ranking():
        cells = []
        for scenario in matrix.scenarios:
            percent = matrix.percent(policy, scenario)
            if np.isnan(percent):
                cells.append("-")
            elif percent == 100.0:
                cells.append("**100**")
            else:
                cells.append(f"{percent:.0f} ±{matrix.half_width_percent(policy, scenario):.0f}")
        rows.append([f"`{policy}`", f"{matrix.overall(policy):.1f}", *cells, f"{matrix.decision_ms[policy]:.1f}"])
    return f"""## Results

Mean net value, % of the best of each scenario; *overall* is the interquartile mean over scenarios. A decision is for 64
fleets of `default` side by side, on a machine that others shared. A dash: the policy refuses the scenario. `±` is half
of the 95 % bootstrap interval of the paired difference to the best, over {matrix.episodes} episodes.

{markdown_table(head, rows)}"""


def where_each_shines(matrix: ResultMatrix) -> str:
    """The best and the worst scenario of every policy."""
    rows = []
    for policy in matrix.ranking():
        if policy == MIDDLE:
            continue
        played = [scenario for scenario in matrix.scenarios if (policy, scenario) in matrix.usd]
        best, worst = (pick(played, key=lambda s: matrix.percent(policy, s)) for pick in (max, min))
        cells = [f"`{policy}`"]
        for scenario in (best, worst):
            gain = matrix.over_middle(policy, scenario)
            cells.append(f"`{scenario}`: {matrix.percent(policy, scenario):.0f} %, over the middle {gain:+.2f} USD")
        cells.append(f"{np.mean([matrix.above_cap_s[policy, scenario] for scenario in played]):.0f}")
        rows.append(cells)
    return f"""## Where each shines and where it fails

With the paired difference to the middle of the action box and its 95 % bootstrap interval; over {matrix.episodes}
episodes it is wide. The last column is the mean over scenarios of the seconds that sites and rows stood above a cap.

{markdown_table(["policy", "shines on", "fails on", "above a cap, s"], rows)}"""


def numbers_tuned(matrix: ResultMatrix) -> str:
    """Rules with their own numbers, and with those that a search found for the scenario."""
    rows = []
    for one in matrix.searched:
        if one.name == BEST_KNOWN or (one.rule, one.scenario) not in matrix.usd:
            continue
        rows.append(
            [
                f"`{one.scenario}`",
                f"`{one.name}`",
                f"{matrix.mean_usd(one.rule, one.scenario):.2f} (`{one.rule}`)",
                f"{matrix.mean_usd(one.name, one.scenario):.2f}",
                f"{matrix.over(one.name, one.rule, one.scenario):+.2f}",
                f"{matrix.above_cap_s[one.rule, one.scenario]:.0f}",
                f"{matrix.above_cap_s[one.name, one.scenario]:.0f}",
            ]
        )
    head = ["scenario", "tuned", "own numbers, USD", "tuned, USD", "ahead", "above a cap, s", "tuned, s"]
    return f"""## Numbers tuned

Every rule had the same budget of `tune.py` ([tuning.md](tuning.md)): 64 candidates in 16 training episodes each.
`constants` had more, and are those of the [leaderboard](leaderboard.md). Where nothing that was tried was better in the
validation episodes of `tune.py`, the numbers are as they were. All in the episodes of this page.

{markdown_table(head, rows)}"""


def best_known_section(matrix: ResultMatrix) -> str:
    """The policy that scores 100, beside the best of all others in the same episodes."""
    rows, behind = [], []
    for one in matrix.searched:
        if one.name != BEST_KNOWN:
            continue
        rival = matrix.rivals(one.scenario)[0]
        ahead = matrix.over(BEST_KNOWN, rival, one.scenario)
        if ahead.high < 0.0:
            behind.append(f"`{one.scenario}`")
        values = [f"{matrix.mean_usd(BEST_KNOWN, one.scenario):.2f}", f"{matrix.mean_usd(rival, one.scenario):.2f}"]
        rows.append([f"`{one.scenario}`", values[0], f"{values[1]} (`{rival}`)", f"{ahead:+.2f}"])
    verdict = "Nowhere is it behind with the whole interval below zero."
    if behind:
        verdict = f"With the whole interval below zero it is behind on {', '.join(behind)}, where scores exceed 100."
    return f"""## The best known

The policy that scores 100 by the protocol `tokenfleet-1` ([screen.md](screen.md#the-score)), beside whoever earns most
of all others on this page, tuned rules too, in the same {matrix.episodes} episodes. That these episodes choose the
other policy favours it.
{verdict}

{markdown_table(["scenario", "best known, USD", "best other, USD", "best known ahead"], rows)}"""
