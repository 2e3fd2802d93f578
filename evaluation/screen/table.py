"""The cards of many screens as a table in Markdown: `python -m tokenfleet.evaluation.screen.table FILE.json ...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files.markdown import markdown_table
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.screen.record import read_record

COMMAND = "python -m tokenfleet.evaluation.screen.table"
HEAD = (
    "scenario",
    "fails",
    "careful operator",
    "best untuned rule",
    "tuned constants",
    "tuned feedback",
    "headroom, % of the span",
    "feedback over constants, % of the span",
    "in time, best rule",
    "knobs that matter, % of the better tuned plan lost",
    "features that matter",
    "episodes",
    "minutes",
)
SHOWN = 0.01
"""Share of the best value from which a knob or a feature is shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Print the cards of screens as a table.")
    parser.add_argument("screens", nargs="+", type=Path, metavar="FILE.json", help="what screens have written")
    typed = parser.parse_args(arguments)
    return exit_status(lambda: print(table(typed.screens), end=""))


def table(screens: Sequence[Path]) -> str:
    """A row for each screen, those that pass every criterion first.

    Raises:
        SpecError: a file is not that of a screen at its end.
    """
    cards = sorted((_card(path) for path in screens), key=lambda card: (len(_failed(card)), card["scenario"]))
    return markdown_table(HEAD, [_row(card) for card in cards]) + "\n"


def _card(path: Path) -> Mapping[str, Any]:
    record = read_record(path)
    if "card" not in record:
        raise SpecError([f"{path}: the screen is not at its end; run it again"])
    card: Mapping[str, Any] = record["card"]
    return card


def _failed(card: Mapping[str, Any]) -> list[str]:
    return [name for name, criterion in card["criteria"].items() if not criterion["passed"]]


def _row(card: Mapping[str, Any]) -> tuple[str, ...]:
    values = {name: f"{value['estimate']:.2f}" for name, value in card["values"].items()}
    knobs, features = (
        ", ".join(f"{name} {100 * lost['share']:.0f}" for name, lost in card[part].items() if lost["share"] >= SHOWN)
        for part in ("knobs", "features")
    )
    return (
        f"`{card['scenario']}`",
        ", ".join(_failed(card)) or "nothing",
        values["careful_operator"],
        f"{values[card['best_rule']]} ({card['best_rule']})",
        values["tuned constants"],
        values["tuned feedback"],
        _share(card["headroom"]),
        _share(card["state"]),
        f"{100 * card['untuned']['slo_attainment']:.0f} %",
        knobs,
        features,
        str(card["budget"]["episodes"]),
        f"{card['elapsed_s'] / 60:.0f}",
    )


def _share(gain: Mapping[str, float]) -> str:
    share, low, high = (f"{100 * gain[key]:+.0f}" for key in ("of_span", "low_of_span", "high_of_span"))
    return f"{share} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
