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
from tokenfleet.envs.layers.agents import STREAM_KINDS, StreamSpec
from tokenfleet.envs.layers.agents.lengths import TokenLengthSpec, TokenQuantileSpec
from tokenfleet.envs.layers.power.series import SIGNAL_KINDS
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Spec

CHOICES: dict[str, list[type[Spec]]] = {
    "SignalSpec": [*SIGNAL_KINDS.values()],
    "LengthSpec": [TokenLengthSpec, TokenQuantileSpec],
}
"""What may stand where a part of some name is asked for."""
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
        if spec in found:
            return
        found[spec] = None
        for field in spec.model_fields.values():
            for inner in specs_in(field.annotation):
                visit(inner)
        for kind in (*CHOICES.get(spec.__name__, ()), *(STREAM_KINDS.values() if spec is StreamSpec else ())):
            visit(kind)

    visit(root)
    return [spec for spec in found if spec.__name__ not in CHOICES]


def specs_in(annotation: Any) -> Iterator[type[Spec]]:
    """The parts that a type speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from specs_in(inner)


def section(spec: type[Spec]) -> str:
    """One part: what it is, and a row for each of its keys; what all streams share has rows at `StreamSpec` alone."""
    properties, meanings = spec.model_json_schema()["properties"], documented(spec)
    title, shared = [f"## {spec.__name__}", "", summary(spec), ""], set[str]()
    if issubclass(spec, StreamSpec) and spec is not StreamSpec:
        title += [f"`kind: {spec.model_fields['kind'].default}`, beside the keys of {link('StreamSpec')}:", ""]
        shared = set(StreamSpec.model_fields)
    rows = [
        f"| `{key}` | {allowed(properties[key])} | {default(spec, key)} | {meanings[key]} |"
        for key in spec.model_fields
        if key not in shared
    ]
    head = ["| key | allowed | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*title, *head, *rows, ""])


def summary(spec: type[Spec]) -> str:
    """What stands in a docstring before its attributes, references and examples."""
    return re.split(r"\n(?:Attributes:|References:|>>>)", inspect.cleandoc(spec.__doc__ or ""))[0].strip()


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
    names = [kind.__name__ for kind in CHOICES[name]] if name in CHOICES else [name]
    return " or ".join(f"[{name}](#{name.lower()})" for name in names)


def default(spec: type[Spec], key: str) -> str:
    """What holds where a key is left out."""
    field = spec.model_fields[key]
    if field.is_required():
        extra = field.json_schema_extra
        return str(extra["left_out"]) if isinstance(extra, dict) else "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Spec):
        return "all of its defaults"
    if value is None or value in ((), {}, ""):
        return "none"
    value = list(value) if isinstance(value, tuple) else value
    return f"`{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}`"


if __name__ == "__main__":
    main()
