"""What both engines are given is checked here, and trusted from then on.

Fleets, episodes and controls that are built from a scenario have none of these mistakes. Those that are written by hand
may, and C++ reads them by shape alone.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import Episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import outside, quantities_of, record_problems
from tokenfleet.envs.scenario import MAX_HORIZON_S
from tokenfleet.envs.spec import SpecError, shown

ENTITIES = "SWPK"
"""Axes of sites, rows, pools and classes; an index of another axis is a place among those that have something."""


def check_fleet(arrays: FleetArrays, num_envs: int, threads: int) -> None:
    """Refuse a fleet that the engines cannot count.

    Raises:
        SpecError: one line per mistake.
    """
    counts = {"num_envs": num_envs, "threads": threads}
    problems = [f"{name}: must be at least 1 (got {count})" for name, count in counts.items() if count < 1]
    entities = {"site": arrays.num_sites, "pool": arrays.num_pools, "request class": arrays.num_classes}
    problems += [f"fleet: has no {entity}" for entity, count in entities.items() if not count]
    horizon_s = arrays.tick_s * arrays.horizon_ticks
    if not (arrays.tick_s > 0.0 and arrays.horizon_ticks >= 1 and horizon_s <= MAX_HORIZON_S):
        problems.append(
            f"fleet.tick_s, fleet.horizon_ticks: must be positive and make at most {MAX_HORIZON_S:g} s together "
            f"(got {arrays.tick_s!r} and {arrays.horizon_ticks})"
        )
    problems += record_problems(arrays, arrays.sizes, "fleet")
    problems += record_problems(arrays.variants, {**arrays.sizes, "P": arrays.sizes["v"]}, "fleet.variants")
    problems = problems or [*_check_places(arrays), *_check_hand_offs(arrays)]
    if problems:
        raise SpecError(problems)


def check_index(index: int, num_envs: int, name: str = "index") -> None:
    """Refuse the number of a fleet that there is not; raises `IndexError`, which names the argument."""
    if not 0 <= index < num_envs:
        allowed = f"from 0 to {num_envs - 1}, as there are {num_envs} fleets" if num_envs > 1 else "0, the only fleet"
        raise IndexError(f"{name}: must be {allowed} (got {index})")


def check_forks(sources: Sequence[int], targets: Sequence[int], num_envs: int) -> None:
    """Refuse forks of missing fleets, and forks that contradict each other; raises what `Engine.fork` says."""
    if len(sources) != len(targets):
        raise SpecError([f"fork: needs as many targets as sources (got {len(targets)} and {len(sources)})"])
    if not all(isinstance(index, Integral) for index in (*sources, *targets)):
        raise SpecError([f"fork: sources and targets must be whole numbers (got {sources} and {targets})"])
    distinct = set(targets)
    for name, indices in (("sources", sources), ("targets", distinct)):
        for index in (min(indices, default=0), max(indices, default=0)):
            check_index(index, num_envs, name)
    if len(distinct) < len(targets):
        twice = next(index for index in targets if list(targets).count(index) > 1)
        raise SpecError([f"fork: a fleet can become one other (fleet {twice} is a target more than once)"])


def check_snapshot(snapshot: Any, kind: type[Any], arrays: FleetArrays) -> None:
    """Refuse a snapshot of another kind of engine, or of another fleet.

    Raises:
        SpecError: one line.
    """
    if not isinstance(snapshot, kind):
        raise SpecError([f"snapshot: must be one of this engine, {kind.__name__} (got {type(snapshot).__name__})"])
    if snapshot.arrays is not arrays and snapshot.arrays.digest != arrays.digest:
        raise SpecError(["snapshot: is of another fleet; restore it in an environment of the same scenario"])


def check_episode(arrays: FleetArrays, episode: Episode, checks_bounds_of: Container[str] | None = None) -> None:
    """Refuse an episode of another fleet, or one with values outside of their bounds, NaN included.

    Its `RequestTable` has checked itself, but for what refers to the fleet.

    Args:
        arrays: the fleet.
        episode: of it.
        checks_bounds_of: the series whose values are looked at, by default all; the shape of every one is.

    Raises:
        SpecError: one line per mistake.
    """
    problems = record_problems(episode, arrays.sizes, "episode", checks_bounds_of) + _check_failures(arrays, episode)
    problems = problems or _check_references(arrays, episode)
    if problems:
        raise SpecError(problems)


def check_controls(controls: Controls, arrays: FleetArrays, num_envs: int) -> None:
    """Refuse controls of another shape than the fleets', or outside of their bounds.

    Raises:
        SpecError: one line per mistake.
    """
    problems = record_problems(controls, {"N": num_envs, **arrays.sizes}, "controls")
    if problems:
        raise SpecError(problems)


def check_moving(moving: NDArray[Any], num_envs: int) -> NDArray[np.bool_]:
    """Which fleets advance, `[N]`.

    Raises:
        SpecError: it is no such mask.
    """
    if not (isinstance(moving, np.ndarray) and moving.dtype == np.bool_ and moving.shape == (num_envs,)):
        raise SpecError([f"moving: must be a bool array of shape ({num_envs},) (got {shown(moving)})"])
    return np.ascontiguousarray(moving)


def _check_places(arrays: FleetArrays) -> list[str]:
    """Places count those that have something, a battery say, in the order of the sites, pools or classes."""
    problems = []
    for q in quantities_of(FleetArrays):
        if not q.index_of or q.index_of in ENTITIES:
            continue
        places, count = getattr(arrays, q.name), arrays.sizes[q.index_of]
        if places[places >= 0].tolist() != list(range(count)):
            problems.append(f"fleet.{q.name}: must number {count} in order from 0, and be -1 elsewhere (got {places})")
    return problems


def _check_hand_offs(arrays: FleetArrays) -> list[str]:
    hands_off, problems = arrays.hand_off_to >= 0, []
    takes_over = np.isin(np.arange(arrays.num_pools), arrays.hand_off_to)
    if (arrays.takes_over != takes_over).any():
        problems.append(f"fleet.takes_over: must say which pools hand_off_to names (got {arrays.takes_over})")
    if (hands_off & ~arrays.kv_grows).any():
        problems.append("fleet.hand_off_to: only a pool where KV grows hands off")
    if (hands_off & takes_over).any():
        problems.append("fleet.hand_off_to: a pool that takes over cannot hand off in turn")
    return problems


def _check_failures(arrays: FleetArrays, episode: Episode) -> list[str]:
    failures, contexts = episode.failures, episode.contexts
    problems = []
    if not len(failures.tick) == len(failures.replica) == len(failures.repaired_s):
        problems.append("episode.failures: the columns must be of equal length")
    if len(contexts.row) != len(contexts.replica):
        problems.append("episode.contexts: the columns must be of equal length")
    problems += outside("episode.failures.tick", failures.tick, 0, np.inf)
    problems += outside("episode.failures.repaired_s", failures.repaired_s, 0.0, np.inf)
    if (failures.tick[1:] < failures.tick[:-1]).any():
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
        problems += outside(f"episode.{name}", values, 0, count - 1)
    has_contexts = len(episode.contexts.row) > 0
    if has_contexts and not problems and (lone := requests.conversation_id[episode.contexts.row] < 0).any():
        row = int(episode.contexts.row[int(np.argmax(lone))])
        problems.append(f"episode.contexts.row: must be calls of conversations (row {row} is of none)")
    return problems
