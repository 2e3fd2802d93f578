"""The page docs/controllers.md, from declarations and measurements."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.files.markdown import markdown_table, with_part
from tokenfleet.envs.files.writing import replace_file
from tokenfleet.envs.user_code import import_object
from tokenfleet.evaluation.contenders.cells import MIDDLE
from tokenfleet.evaluation.contenders.matrix import ResultMatrix
from tokenfleet.evaluation.contenders.results import best_known_section, numbers_tuned, results, where_each_shines
from tokenfleet.evaluation.contenders.sees import SIGHTS, knows_caps, reads, sights
from tokenfleet.policies.heuristics import rules
from tokenfleet.policies.parameters import keyword_parameters
from tokenfleet.policies.presets import Preset
from tokenfleet.policies.registry import POLICIES
from tokenfleet.policies.shipped import GROUPS, LOADED

COMMAND = "make contenders"
DECLARED = "declared"
"""The part of the page that comes from declarations alone."""
NOISE = 0.98
"""Share of what the middle of the action box earns, from which on a policy counts as no worse."""
TABLES: Mapping[str, Mapping[str, Preset]] = {
    "routing": rules.ROUTINGS,
    "clocking": rules.CLOCKINGS,
    "awake": rules.AWAKES,
    "admission": rules.ADMISSIONS,
    "storage": rules.STORAGES,
    "affinity": rules.AFFINITIES,
    "pricing": rules.PRICINGS,
    "serving": rules.SERVINGS,
}
MARKS = """| mark | the number was |
|---|---|
| [code] | read in the repository that is named |
| [text] | read in the paper or its documentation |
| [mem] | recalled, and not verified |
| (ours) | chosen by us, because the source has none or does not fit a tick |
"""


def write_page(matrix: ResultMatrix, path: Path) -> None:
    """Write the page, whole or not at all."""
    replace_file(path, page(matrix).encode())


def page(matrix: ResultMatrix) -> str:
    """The page as Markdown."""
    measured = [results(matrix), where_each_shines(matrix), numbers_tuned(matrix), best_known_section(matrix)]
    empty = f"<!-- generated: {DECLARED} -->\n<!-- end -->"
    parts = [_head(matrix), *measured, with_part(empty, DECLARED, declared())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def declared() -> str:
    """What policies see, what they are made of, and their numbers."""
    return "\n\n".join([_sees(), _compositions(), _whole_policies(), _part_rules()])


def _head(matrix: ResultMatrix) -> str:
    missing = [name for name in catalog_names("scenario") if name not in matrix.scenarios]
    scenarios = "every scenario that ships" + (f" but for {', '.join(missing)}, not yet measured" if missing else "")
    return f"""# Controllers

Textbook laws, published controllers written anew, hand-made rules and a planner by linear programmes, on {scenarios}.
Trained policies are on pages of their own ([leaderboard.md](leaderboard.md), [generalist.md](generalist.md)), planners
on copies of the fleet in [policies.md](policies.md#planners).

`{COMMAND}` measures what is missing in `runs/contenders.json` and writes this page; nothing is typed by hand.

- All met the same {matrix.episodes} validation episodes of each scenario (seed {matrix.seed}); test episodes choose
  nothing.
- Constants are as published, or as declared below; none is tuned to a scenario, but for [those below](#numbers-tuned).
  Rules by value read the scenario.
- A decision is taken once a tick (1 s). Laws that act at every iteration act on a tick's aggregates. Routers that
  choose a pool for each request place virtual requests one after the other, and what lands where is the share.
- Laws that ignore caps stand twice: raw, and as `..._capped`, under the lower of their clocks and those of
  `feedback_capping`. Routers have its clocks and its awake replicas, so that they differ in nothing but routes; where
  there is one pool to choose, only their affinity and admission tell them apart.
- `{MIDDLE}` holds the middle of the action box. {_weak_baselines(matrix)}
  References are plain ideas, and may. [policies.md](policies.md#what-ships) says why baselines fail where they do.

![Net value of every controller on every scenario](images/controllers.png)"""


def _weak_baselines(matrix: ResultMatrix) -> str:
    weak = [
        f"`{name}` on `{scenario}` ({100.0 * share:.0f} %)"
        for name in matrix.policies
        if name in POLICIES and POLICIES[name].group == "baseline"
        for scenario in matrix.scenarios
        if (share := matrix.mean_usd(name, scenario) / matrix.mean_usd(MIDDLE, scenario)) < NOISE
    ]
    rule = f"Policies of the group `baseline` earn at least {100.0 * NOISE:.0f} % of that"
    return f"{rule},\n  but for {', '.join(weak)}." if weak else f"{rule}\n  on every scenario."


def _sees() -> str:
    names = [name for name, preset in POLICIES.items() if name != "random" and preset.group != LOADED]
    seen = {name: reads(name) for name in names}
    rows = []
    for name in names:
        own = sights(seen[name])
        marks = ["x" if sight in own else "" for sight in SIGHTS]
        rows.append([f"`{name}`", "yes" if knows_caps(seen[name]) else "no", *marks])
    return f"""## What each controller sees

From the fields that each declares; all know the scenario's public physics. `random` sees nothing.

{markdown_table(["policy", "can keep a cap", *SIGHTS], rows)}"""


def _compositions() -> str:
    sections = []
    for group, meaning in GROUPS.items():
        rows = []
        for name, preset in POLICIES.items():
            if preset.group == group:
                made_of = ", ".join(f"{kind} {_choice(choice)}" for kind, choice in preset.parameters.items())
                rows.append([f"`{name}`", made_of or f"`{str(preset.target).rpartition(':')[2]}`"])
        sections.append(f"**{group}**: {meaning}.\n\n{markdown_table(['policy', 'part rules'], rows)}")
    return "## What each is made of\n\n" + "\n\n".join(sections)


def _choice(choice: Any) -> str:
    if not isinstance(choice, Mapping):
        return f"`{choice}`"
    others = {key: value for key, value in choice.items() if key != "name"}
    return f"`{choice['name']}` ({', '.join(f'{key} {value}' for key, value in others.items())})"


def _whole_policies() -> str:
    first_of: dict[str | type[Any], str] = {}
    for name, preset in POLICIES.items():
        if not str(preset.target).endswith(":ComposedPolicy"):
            first_of.setdefault(preset.target, name)
    sections = [preset_paragraph(name, POLICIES[name]) for name in first_of.values()]
    return "\n\n".join(["## Policies that are no composition", *sections])


def _part_rules() -> str:
    sections = [f"## Part rules\n\nHow sure each number is:\n\n{MARKS}"]
    for kind, table in TABLES.items():
        sections.append(f"### {kind}")
        for name, preset in table.items():
            sections.append(preset_paragraph(name, preset))
    return "\n\n".join(section.strip() for section in sections)


def preset_paragraph(name: str, preset: Preset) -> str:
    """What a policy or part rule says of itself, and its numbers."""
    target = import_object(preset.target) if isinstance(preset.target, str) else preset.target
    text, _, arguments = inspect.getdoc(target).partition("\n\nArgs:\n")  # type: ignore[union-attr]
    paragraphs = text.partition("\n\nRaises:")[0].replace("\n\n", " \\n").split("\n")
    body = " ".join(line.strip() for line in paragraphs).replace(" \\n", "\n\n")
    defaults, _ = keyword_parameters(target, 1)
    lines = []
    for meaning in _entries(arguments):
        names, _, words = meaning.partition(": ")
        own = [parameter for parameter in names.split(", ") if parameter in defaults]
        if own:
            values = ", ".join(f"`{p}` = {_shown(preset.parameters.get(p, defaults[p].default))}" for p in own)
            lines.append(f"- {values}: {words}")
    return f"**`{name}`**: {body}" + ("\n\n" + "\n".join(lines) if lines else "")


def _entries(arguments: str) -> list[str]:
    """The entries of a docstring's `Args:`, each in one line."""
    entries: list[str] = []
    for line in arguments.partition("\n\n")[0].splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            entries.append(line.strip())
        elif entries:
            entries[-1] += " " + line.strip()
    return entries


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
