"""Tables of every observation and action entry, from the same field tables that lay out the buffers.

python -m tokenfleet.envs.interface.document docs/environments/fleet.md      rewrite the generated parts of the page
python -m tokenfleet.envs.interface.document --scenario my/scenario.yaml     print the tables of a scenario
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenfleet.envs.fields import AXES, OUTCOMES, VIEW, Field
from tokenfleet.envs.files.markdown import markdown_table, with_part
from tokenfleet.envs.interface.action import FleetAction
from tokenfleet.envs.interface.observation import FleetObservation
from tokenfleet.envs.interface.scales import SCALES
from tokenfleet.envs.interface.segments import Segment
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import ESTIMATED, REMEMBERED
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.axes import axis_names
from tokenfleet.envs.spec import SpecError

SCENARIOS = ("tiny", "default")


def observation_fields() -> str:
    """The observation, whatever the scenario: one row a field."""
    return _fields(VIEW)


def action_segments() -> str:
    """The action, whatever the scenario: one row a segment."""
    return _segments(FleetAction(load_scenario("tiny")).table)


def setpoint_segments() -> str:
    """The action `setpoints`, whatever the scenario: one row a segment."""
    return _segments(SetpointAction(load_scenario("tiny")).table)


def supervisor_fields() -> str:
    """What the observation `supervisor` adds: one row a field."""
    return _fields((*ESTIMATED, *REMEMBERED))


def outcome_fields() -> str:
    """The outcomes that a reward is called with: one row a field."""
    rows = [(f"`{field.name}`", _per(field), field.unit, field.doc) for field in OUTCOMES]
    return markdown_table(("field", "one for each", "unit", "meaning"), rows)


def scenario_tables(name: str) -> str:
    """Every entry of a scenario's action and observation.

    Raises:
        SpecError: there is no such scenario, or it is not valid.
    """
    scenario = load_scenario(name)
    action, observation, names = FleetAction(scenario), FleetObservation(scenario), axis_names(scenario)
    parts = [
        (_columns(part.first, part.first + len(part.labels) - 1), f"`{part.name}`", ", ".join(part.labels), part.unit)
        for part in action.table
        if part.labels
    ]
    fields = {field.name: field for field in VIEW}
    rows = [
        (
            _columns(row.first, row.last),
            f"`{row.name}`",
            _entries(fields[row.name], names),
            f"{row.low:g} to {row.high:g}",
            row.unit,
        )
        for row in observation.table()
    ]
    return "\n\n".join(
        [
            f"Action, {action.space.shape[0]} entries:",
            markdown_table(("entries", "segment", "in order", "unit"), parts),
            f"Observation, {observation.space.shape[0]} entries (the range is the widest among a field's entries):",
            markdown_table(("entries", "field", "in order", "shows", "unit"), rows),
        ]
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "action": action_segments,
    "setpoints": setpoint_segments,
    "observation": observation_fields,
    "supervisor": supervisor_fields,
    "outcome": outcome_fields,
    **{f"scenario {name}": lambda name=name: scenario_tables(name) for name in SCENARIOS},  # type: ignore[misc]
}
"""Generated parts of the page, by the name in their markers."""


def render_page(page: str, blocks: Iterable[str] = tuple(BLOCKS)) -> str:
    """`page` with its generated parts made anew.

    Raises:
        SpecError: the page lacks one of them.
    """
    for name in blocks:
        page = with_part(page, name, BLOCKS[name]())
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, help="Markdown file whose generated parts are rewritten")
    parser.add_argument("--scenario", help="print the tables of this scenario instead")
    chosen = parser.parse_args(arguments)
    if (chosen.page is None) == (chosen.scenario is None):
        parser.error("give either a page or --scenario")
    try:
        if chosen.scenario is not None:
            print(scenario_tables(chosen.scenario))
        else:
            chosen.page.write_text(render_page(chosen.page.read_text(encoding="utf-8")), encoding="utf-8")
    except (SpecError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _segments(table: Iterable[Segment]) -> str:
    rows = [(f"`{part.name}`", part.per, part.unit, part.low, part.high, part.formula, part.doc) for part in table]
    return markdown_table(("segment", "one for each", "unit", "a = -1", "a = 1", "formula", "meaning"), rows)


def _fields(fields: Iterable[Field]) -> str:
    rows = [
        (f"`{field.name}`", _per(field), field.unit, SCALES[field.scale].doc, _bounds(field), field.doc)
        for field in fields
    ]
    return markdown_table(("field", "one for each", "unit", "divided by", "cut at", "meaning"), rows)


def _per(field: Field) -> str:
    return " and ".join(AXES[letter] for letter in field.axis) or "fleet"


def _bounds(field: Field) -> str:
    return f"{field.low:g} and {field.high:g}" if field.low else f"{field.high:g}"


def _entries(field: Field, names: dict[str, tuple[str, ...]]) -> str:
    """What a field's entries are called, in order."""
    labels = [""]
    for letter in field.axis:
        labels = [f"{label} {name}".strip() for label in labels for name in names[letter]]
    return ", ".join(labels)


def _columns(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


if __name__ == "__main__":
    sys.exit(main())
