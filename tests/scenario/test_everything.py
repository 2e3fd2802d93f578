"""All layers of the benchmarks together are whatever a scenario can switch on; so a new mechanism is measured."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from benchmarks.scenarios import LAYERS, sixteen_replicas
from tokenfleet.envs.layers.agents import StreamSpec
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import Spec

OFF = (None, False, 0, "", (), {})
"""Defaults that switch nothing on."""
NUMBERS = {
    *("cap_w", "kv_tokens", "board_w", "host_w_per_gpu", "ttft_s", "offset", "first_day"),
    *("egress_usd_per_gb", "usd_per_board_hour", "baseline_fraction"),
}
"""Keys that state a number of what is on without them."""
COEFFICIENTS = {"slo", "interconnect", "async_scheduling", "needs_profile"}
"""Keys that choose coefficients where a scenario is read; engines meet the same work."""


@pytest.fixture(scope="module")
def everything() -> Scenario:
    return sixteen_replicas(20.0, tick_s=1.0, horizon_ticks=600, stream="poisson", layers=tuple(LAYERS))


def parts_of(value: Any) -> Iterator[Spec]:
    """Every part of a scenario but its streams, which draw requests before an engine meets them."""
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, Spec):
        yield value
        inside = [getattr(value, key) for key in type(value).model_fields]
    else:
        inside = list(value) if isinstance(value, (list, tuple)) else []
    for part in inside:
        if not isinstance(part, StreamSpec):
            yield from parts_of(part)


def owner(kind: type[Spec], key: str) -> type[Spec]:
    """The class that declares a key: sites and rows have the events of the same class."""
    return next(base for base in reversed(kind.__mro__) if key in inspect.get_annotations(base))


def test_every_key_that_switches_something_on_is_set_somewhere(everything: Scenario) -> None:
    switched: dict[tuple[type[Spec], str], bool] = {}
    for part in parts_of(everything):
        for key, field in type(part).model_fields.items():
            if not field.is_required() and field.get_default(call_default_factory=True) in OFF:
                place = owner(type(part), key), key
                switched[place] = switched.get(place, False) or getattr(part, key) not in OFF
    left_out = {f"{kind.__name__}.{key}" for (kind, key), is_on in switched.items() if not is_on}
    excused = NUMBERS | COEFFICIENTS
    assert {place for place in left_out if place.split(".")[1] not in excused} == {"Scenario.description"}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_can_be_switched_on_alone(layer: str) -> None:
    alone = sixteen_replicas(20.0, tick_s=1.0, horizon_ticks=600, layers=(layer,))
    assert sum(alone.mean_demand(name).rate_rps for name in alone.workload) == pytest.approx(20.0)
