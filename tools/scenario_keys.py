"""Write docs/scenario-keys.md, every key of a scenario: `python tools/scenario_keys.py docs/scenario-keys.md`.

Types, ranges and defaults come from the schema that checks a scenario, meanings from the docstrings of its parts.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

import yaml

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.layers.power.series import SIGNAL_KINDS
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Spec

ELSEWHERE = {"StreamSpec": "[workloads.md](workloads.md)"}
"""Parts that a page of their own describes."""
HEAD = """# Every key of a scenario

A scenario is one YAML file; `scenario=<name>` or `--config-dir` runs it, and any key below can be set on the command
line as `scenario.<key>=<value>`, for example `scenario.sites.east.grid.cap_fraction=0.6`. A wrong key, type or value is
refused with its name, what is allowed and the likely fix. Names in angle brackets are your own.
`python tools/scenario_keys.py docs/scenario-keys.md` writes this page.
"""
WORDS = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false", "null": "nothing"}
BOUNDS = {"minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}"}


def main() -> None:
    """Write the page."""
    typed_path(__doc__, "the page to write").write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *map(section, specs(Scenario))])


def specs(root: type[Spec]) -> list[type[Spec]]:
    """Every part of a scenario, in the order in which they are met."""
    found: dict[type[Spec], None] = {}

    def visit(spec: type[Spec]) -> None:
        if spec in found or spec.__name__ in ELSEWHERE:
            return
        found[spec] = None
        for field in spec.model_fields.values():
            for inner in specs_in(field.annotation):
                visit(inner)

    visit(root)
    return [kind for spec in found for kind in (SIGNAL_KINDS.values() if spec.__name__ == "SignalSpec" else [spec])]


def specs_in(annotation: Any) -> Iterator[type[Spec]]:
    """The parts that a type speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from specs_in(inner)


def section(spec: type[Spec]) -> str:
    """One part: what it is, and a row for each of its keys."""
    properties, meanings = spec.model_json_schema()["properties"], documented(spec)
    rows = [
        f"| `{key}` | {allowed(properties[key])} | {default(spec, key)} | {meanings[key]} |"
        for key in spec.model_fields
    ]
    head = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {spec.__name__}", "", summary(spec), "", *head, *rows, ""])


def summary(spec: type[Spec]) -> str:
    """What stands in a docstring before its attributes."""
    return inspect.cleandoc(spec.__doc__ or "").split("\nAttributes:")[0].strip()


def documented(spec: type[Spec]) -> dict[str, str]:
    """Key -> meaning, from the docstrings of a part and of what it is derived from."""
    meanings: dict[str, str] = {}
    for ancestor in reversed(spec.__mro__):
        _, _, attributes = inspect.cleandoc(ancestor.__doc__ or "").partition("\nAttributes:\n")
        for names, text in re.findall(r"^    (\w+(?:, \w+)*): (.*?)(?=^    \w|^\S|\Z)", attributes, re.M | re.S):
            meanings |= dict.fromkeys(names.split(", "), " ".join(text.split()).replace("|", "\\|"))
    return meanings


def allowed(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return link(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {allowed(schema['prefixItems'][0])}"
    if schema.get("type") == "array":
        return f"list of {allowed(schema['items'])}"
    if schema.get("type") == "object":
        values = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
        inner = next((value for value in values if isinstance(value, dict)), None)
        return f"`<name>`: {allowed(inner)}" if inner else "mapping"
    bounds = [words.format(f"{schema[key]:g}") for key, words in BOUNDS.items() if key in schema]
    return " ".join([WORDS[schema["type"]], ", ".join(bounds)]).strip()


def link(name: str) -> str:
    """To where a part is described."""
    if name == "SignalSpec":
        return " or ".join(f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in SIGNAL_KINDS.values())
    return ELSEWHERE.get(name, f"[{name}](#{name.lower()})")


def default(spec: type[Spec], key: str) -> str:
    """What holds where a key is left out."""
    field = spec.model_fields[key]
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Spec):
        return "all of its defaults"
    if value is None or value in ((), {}, ""):
        return "none"
    value = list(value) if isinstance(value, tuple) else value
    return f"`{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}`"


if __name__ == "__main__":
    main()
