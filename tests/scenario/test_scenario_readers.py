"""Every key of a scenario is read by somebody: a key that changes nothing would be a promise that nobody keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from tokenfleet.envs import spec
from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.layers.agents import STREAM_KINDS
from tokenfleet.envs.layers.power.series.signals import SIGNAL_KINDS
from tokenfleet.envs.scenario import Scenario, load_scenario

ENVS = Path(spec.__file__).parent
FOR_PEOPLE = {"description"}
READ_AS_DATA = {"RequestClassSpec.slo"}
"""Read by its name as text, before the class is built."""


def specs(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Every description that may stand inside of a type, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from specs(field.annotation, seen)
    for inner in get_args(annotation):
        yield from specs(inner, seen)


def keys() -> dict[str, str]:
    """`Class.key` of everything that a scenario may hold, and the key."""
    seen: set[type[BaseModel]] = set()
    roots = [Scenario, *STREAM_KINDS.values(), *SIGNAL_KINDS.values()]
    found = [one for root in roots for one in specs(root, seen)]
    return {f"{one.__name__}.{key}": key for one in found for key in one.model_fields}


def reads() -> set[str]:
    """Names of all attributes that the environments read."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in ENVS.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_the_keys_are_found() -> None:
    assert len(keys()) > 150
    assert {"NetworkSpec.client_bytes_per_s", "BatterySpec.energy_j", "DiurnalSpec.peak_hour"} <= keys().keys()


def test_every_key_has_a_reader() -> None:
    known = reads() | FOR_PEOPLE
    unread = {name for name, key in keys().items() if key not in known}
    assert unread == READ_AS_DATA


@pytest.mark.parametrize("name", sorted(READ_AS_DATA))
def test_what_is_read_as_data_is_named_in_a_source(name: str) -> None:
    key = name.partition(".")[2]
    assert any(f'"{key}"' in path.read_text(encoding="utf-8") for path in ENVS.rglob("*.py"))


NO_EFFECTS = {
    "AgentGeneratorStream.library_seed",
    "TraceStream.whole",
}
"""Keys whose zero switches no effect off: a seed, a signal's shape, and what makes a trace a test set."""


def switches() -> set[str]:
    """`Class.key` of everything that is off, zero or empty unless a scenario says otherwise, by who declares it."""
    seen: set[type[BaseModel]] = set()
    roots = [Scenario, *STREAM_KINDS.values(), *SIGNAL_KINDS.values()]
    fields = [
        (one, key, field) for root in roots for one in specs(root, seen) for key, field in one.model_fields.items()
    ]
    return {
        f"{declares(one, key)}.{key}"
        for one, key, field in fields
        if not field.is_required() and field.get_default(call_default_factory=True) in (False, 0, (), {})
    }


def sections() -> set[str]:
    """`Class.key` of every description that may be left out."""
    seen: set[type[BaseModel]] = set()
    return {
        f"{declares(one, key)}.{key}"
        for root in [Scenario, *STREAM_KINDS.values(), *SIGNAL_KINDS.values()]
        for one in specs(root, seen)
        for key, field in one.model_fields.items()
        if not field.is_required() and field.default is None and any(specs(field.annotation, set()))
    }


def declares(one: type[BaseModel], key: str) -> str:
    """The class that a description has a key from."""
    return next(base.__name__ for base in reversed(one.__mro__) if key in getattr(base, "model_fields", {}))


def switched_on(part: Any) -> Iterator[str]:
    """`Class.key` of everything inside of a description that is neither off, nor zero, nor empty."""
    if isinstance(part, BaseModel):
        for key in type(part).model_fields:
            if value := getattr(part, key):
                yield f"{declares(type(part), key)}.{key}"
                yield from switched_on(value)
    elif isinstance(part, dict):
        yield from (name for value in part.values() for name in switched_on(value))
    elif isinstance(part, tuple):
        yield from (name for value in part for name in switched_on(value))


def parts(part: Any) -> Iterator[type[BaseModel]]:
    """The class of every description inside of one, itself included."""
    if isinstance(part, BaseModel):
        yield type(part)
        yield from (kind for key in type(part).model_fields for kind in parts(getattr(part, key)))
    elif isinstance(part, dict):
        yield from (kind for value in part.values() for kind in parts(value))
    elif isinstance(part, tuple):
        yield from (kind for value in part for kind in parts(value))


@pytest.fixture(scope="module")
def shipped() -> list[Scenario]:
    return [load_scenario(name) for name in catalog_names("scenario")]


def test_every_effect_is_switched_on_by_a_shipped_scenario(shipped: list[Scenario]) -> None:
    used = {name for scenario in shipped for name in switched_on(scenario)}
    assert (switches() | sections()) - used == NO_EFFECTS


def test_every_kind_of_stream_and_of_signal_is_in_a_shipped_scenario(shipped: list[Scenario]) -> None:
    used = {kind for scenario in shipped for kind in parts(scenario)}
    assert {kind.__name__ for kind in (*STREAM_KINDS.values(), *SIGNAL_KINDS.values())} - {
        k.__name__ for k in used
    } == set()


def test_the_effects_are_found() -> None:
    assert {"PoolSpec.migrate_prefixes", "BrakeSpec.control_lag_s", "RowSpec.whole_site"} <= switches()
    assert {"PoolSpec.cold", "SiteSpec.training", "RegimeSpec.indicator"} <= sections()
