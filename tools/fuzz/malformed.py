"""Tables, episodes and controls that are wrong somewhere: both engines must refuse them, and go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.engine.instances import Instance
from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.spec import SpecError

TOO_FAR = 10**6
"""A region or class that no random fleet has."""
BAD_REQUESTS = ("class_id", "region_id")
"""Columns that only a fleet can refuse; a `RequestTable` refuses everything else itself."""
BAD_EPISODES: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("cap_w", "rating_w", "solar_w", "fixed_w", "pue", "host_power_factor"), (np.nan, np.inf, -1.0)),
    "outdoor_c": (np.nan, np.inf),
    "decode_memory_fraction": (np.nan, -0.1, 1.1),
    "clock_sensitivity_factor": (np.nan, np.inf, -0.1),
}


def assert_all_refused(instance: Instance, rng: np.random.Generator) -> None:
    """Offer both engines malformed signals, requests and controls; raises AssertionError where one of them is taken."""
    for name in ("reference", "native"):
        engine = make_engine(name, instance.arrays, 1)
        _offer(f"{name}: signals", partial(engine.reset, 0), _bad_episode(instance.episode, rng))
        if len(instance.episode.requests):
            _offer(f"{name}: requests", partial(engine.reset, 0), _bad_requests(instance.episode, rng))
        engine.reset(0, instance.episode)
        _offer(f"{name}: controls", engine.step, _bad_controls(instance.controls[0], rng))
        _still_runs(name, engine, instance)


def _offer(what: str, give: Callable[[Any], None], malformed: object) -> None:
    try:
        give(malformed)
    except SpecError:
        return
    raise AssertionError(f"malformed: {what} were taken")


def _still_runs(name: str, engine: Engine, instance: Instance) -> None:
    """A refused step has changed nothing."""
    other = make_engine(name, instance.arrays, 1)
    other.reset(0, instance.episode)
    for fleet in (engine, other):
        fleet.step(instance.controls[0])
    np.testing.assert_array_equal(engine.view.rows, other.view.rows, err_msg=f"{name}: after a refusal")


def _bad_episode(episode: Episode, rng: np.random.Generator) -> Episode:
    name, value = _pick({name: bad for name, bad in BAD_EPISODES.items() if getattr(episode, name).size}, rng)
    changes: dict[str, Any] = {name: _with(getattr(episode, name), value, rng)}
    return replace(episode, **changes)


def _bad_requests(episode: Episode, rng: np.random.Generator) -> Episode:
    name = str(rng.choice(BAD_REQUESTS))
    column: dict[str, Any] = {name: _with(getattr(episode.requests, name), TOO_FAR, rng)}
    return replace(episode, requests=replace(episode.requests, **column))


def _bad_controls(controls: Controls, rng: np.random.Generator) -> Controls:
    given = [declared for declared in quantities_of(Controls) if getattr(controls, declared.name) is not None]
    chosen = given[int(rng.integers(len(given)))]
    name, low, high = chosen.name, chosen.low, chosen.high
    value = float(
        rng.choice([np.nan, *([low - 0.5] if low > -np.inf else []), *([1.01 * high] if high < np.inf else [])])
    )
    values = getattr(controls, name)
    changed = values[:, :0] if rng.random() < 0.1 else _with(values, value, rng)
    return replace(controls, **{name: changed})


def _pick(choices: dict[str, tuple[float, ...]], rng: np.random.Generator) -> tuple[str, float]:
    name = str(rng.choice(list(choices)))
    return name, choices[name][int(rng.integers(len(choices[name])))]


def _with(values: NDArray[Any], value: float, rng: np.random.Generator) -> NDArray[Any]:
    """The same array with one entry changed."""
    changed = np.array(values)
    changed.flat[int(rng.integers(changed.size))] = value
    return changed
