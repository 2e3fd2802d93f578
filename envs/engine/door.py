"""The door of both engines: what they are given is checked here, and trusted from then on.

Whoever builds a fleet, an episode or controls from a scenario cannot make the mistakes that are refused here; whoever
writes them by hand can, and C++ reads them by shape alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import MAX_HORIZON_S
from tokenfleet.envs.spec import MAX_TOKENS, SpecError

HIGHEST_SHARE = 1e100
"""Sums of shares up to this stay finite."""
CONTROL_BOUNDS: dict[str, tuple[float, float]] = {
    "route_share": (0.0, HIGHEST_SHARE),
    "clock_fraction": (0.0, 1.0),
    "awake_fraction": (0.0, 1.0),
    "admit_rate_rps": (0.0, np.inf),
    "battery_power_w": (-np.inf, np.inf),
    "prefix_affinity": (0.0, np.inf),
    "token_price_factor": (0.0, np.inf),
}
"""Control -> its lowest and highest value; NaN is outside of all of them."""
CONTROL_DEFAULTS = {"battery_power_w": 0.0, "prefix_affinity": 1.0, "token_price_factor": 1.0}
"""Control that may be None -> what that stands for."""
FLEET_BOUNDS: dict[str, tuple[int, int]] = {
    "replicas": (1, 2**20),
    "max_batch": (1, 2**31),
    "token_budget": (1, 2**31),
    "kv_tokens": (1, 2**40),
    "watermark_tokens": (0, 2**40),
    "host_cache_tokens": (0, 2**40),
    "prefix_block_tokens": (0, MAX_TOKENS),
    "output_weight": (0, MAX_TOKENS),
}
"""Column of `FleetArrays` -> its lowest and highest value: sums of them, and products with a request's tokens, fit 64
bits."""


def check_fleet(arrays: FleetArrays, num_envs: int, threads: int) -> None:
    """Refuse a fleet that the engines cannot count.

    Raises:
        SpecError: one line per mistake.
    """
    counts = {"num_envs": num_envs, "threads": threads}
    problems = [f"{name}: must be at least 1 (got {count})" for name, count in counts.items() if count < 1]
    horizon_s = arrays.tick_s * arrays.horizon_ticks
    if not (arrays.tick_s > 0.0 and arrays.horizon_ticks >= 1 and horizon_s <= MAX_HORIZON_S):
        problems.append(
            f"fleet.tick_s, fleet.horizon_ticks: must be positive and make at most {MAX_HORIZON_S:g} s together "
            f"(got {arrays.tick_s!r} and {arrays.horizon_ticks})"
        )
    for name, (low, high) in FLEET_BOUNDS.items():
        problems += _outside(f"fleet.{name}", getattr(arrays, name), low, high)
    if problems:
        raise SpecError(problems)


def check_index(index: int, num_envs: int) -> None:
    """Refuse a fleet that there is not; raises `IndexError`."""
    if not 0 <= index < num_envs:
        raise IndexError(f"fleet {index} of {num_envs}")


def check_episode(arrays: FleetArrays, episode: Episode) -> None:
    """Refuse an episode of another fleet, or one that holds what is no number.

    Its `RequestTable` has checked itself, but for what refers to the fleet.

    Raises:
        SpecError: one line per mistake.
    """
    problems = _check_shapes(arrays, episode) or [*_check_values(arrays, episode), *_check_references(arrays, episode)]
    if problems:
        raise SpecError(problems)


def control_shapes(arrays: FleetArrays, num_envs: int) -> dict[str, tuple[int, ...]]:
    """Control -> its shape for `num_envs` fleets, in the order of `Controls`."""
    by_class, by_pool = (num_envs, arrays.num_classes), (num_envs, arrays.num_pools)
    return {
        "route_share": (*by_class, arrays.num_pools),
        "clock_fraction": by_pool,
        "awake_fraction": by_pool,
        "admit_rate_rps": by_class,
        "battery_power_w": (num_envs, arrays.num_sites),
        "prefix_affinity": by_class,
        "token_price_factor": by_class,
    }


def check_controls(controls: Controls, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse controls of other than these shapes, or outside `CONTROL_BOUNDS`.

    Raises:
        SpecError: one line per mistake.
    """
    problems = []
    for name, shape in shapes.items():
        values = getattr(controls, name)
        if values is None and name in CONTROL_DEFAULTS:
            continue
        if np.shape(values) != shape:
            problems.append(f"controls.{name}: shape {np.shape(values)}, need {shape}")
        else:
            problems += _outside(f"controls.{name}", np.asarray(values), *CONTROL_BOUNDS[name])
    if problems:
        raise SpecError(problems)


def _check_shapes(arrays: FleetArrays, episode: Episode) -> list[str]:
    horizon, sites = arrays.horizon_ticks, arrays.num_sites
    exogenous = arrays.view.width - arrays.view.offsets["cap_w"]
    wanted = {
        **dict.fromkeys(("cap_w", "rating_w", "solar_w", "outdoor_c", "pue"), (horizon, sites)),
        **dict.fromkeys(("row_cap_w", "row_rating_w"), (horizon, arrays.num_rows)),
        **dict.fromkeys(("fixed_w", "host_power_factor"), (sites,)),
        "exogenous": (horizon + 1, exogenous),
        "decode_memory_fraction": (arrays.num_pools,),
    }
    failures, contexts = episode.failures, episode.contexts
    problems = [
        f"episode.{name}: shape {np.shape(getattr(episode, name))}, need {shape}"
        for name, shape in wanted.items()
        if np.shape(getattr(episode, name)) != shape
    ]
    if not len(failures.tick) == len(failures.replica) == len(failures.repaired_s):
        problems.append("episode.failures: the columns must be of equal length")
    if len(contexts.row) != len(contexts.replica):
        problems.append("episode.contexts: the columns must be of equal length")
    return problems


def _check_values(arrays: FleetArrays, episode: Episode) -> list[str]:
    highest = float(np.finfo(np.float64).max)
    bounds = {
        **dict.fromkeys(("cap_w", "rating_w", "row_cap_w", "row_rating_w", "solar_w", "fixed_w"), (0.0, highest)),
        **dict.fromkeys(("pue", "host_power_factor"), (0.0, highest)),
        "outdoor_c": (-highest, highest),
        "decode_memory_fraction": (0.0, 1.0),
    }
    problems = []
    for name, (low, high) in bounds.items():
        problems += _outside(f"episode.{name}", getattr(episode, name), low, high)
    tick, repaired_s = episode.failures.tick, episode.failures.repaired_s
    problems += _outside("episode.failures.tick", tick, 0, max(arrays.horizon_ticks - 1, 0))
    problems += _outside("episode.failures.repaired_s", repaired_s, 0.0, np.inf)
    if (tick[1:] < tick[:-1]).any():
        problems.append("episode.failures.tick: must not decrease")
    return problems


def _check_references(arrays: FleetArrays, episode: Episode) -> list[str]:
    requests, replicas = episode.requests, int(arrays.replicas.sum())
    counts: dict[str, tuple[NDArray[Any], int]] = {
        "requests.class_id": (requests.class_id, arrays.num_classes),
        "requests.region_id": (requests.region_id, len(arrays.network_s)),
        "failures.replica": (episode.failures.replica, replicas),
        "contexts.replica": (episode.contexts.replica, replicas),
        "contexts.row": (episode.contexts.row, len(requests)),
    }
    problems = []
    for name, (values, count) in counts.items():
        problems += _outside(f"episode.{name}", values, 0, count - 1)
    if not problems and (lone := requests.conversation_id[episode.contexts.row] < 0).any():
        row = int(episode.contexts.row[int(np.argmax(lone))])
        problems.append(f"episode.contexts.row: must be calls of conversations (row {row} is of none)")
    return problems


def _outside(name: str, values: NDArray[Any], low: float, high: float) -> list[str]:
    """One line if any value is not within [low, high]; a column of equal values may be a single number in memory."""
    values = values[:1] if values.strides == (0,) else values
    if not values.size or (
        low <= np.minimum.reduce(values, axis=None) and np.maximum.reduce(values, axis=None) <= high
    ):
        return []
    bad = values[~((values >= low) & (values <= high))].flat[0]
    allowed = (
        f"{low:g} to {high:g}" if np.isfinite([low, high]).all() else "a number" if low < 0 else f"{low:g} or more"
    )
    return [f"{name}: must be {allowed} (got {bad!s})"]
