"""One episode, tick by tick: power against the cap, clocks and queues, for a picture of what a policy does."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import ActingCandidate, Candidate, MakeEnv, make_env_for
from tokenfleet.evaluation.episodes import seeded_reset

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """What one policy did in one episode of H ticks, with S sites, R rooms, P pools and K classes.

    Attributes:
        policy: label.
        seed: that the environment was reset with.
        tick_s: length of a tick [s].
        sites, rooms, pools, classes: names; a room has the name of its site.
        room_limit_c: above which a room derates its boards, `[R]` [C].
        power_w, cap_w: metered power, mean over the meter's window, and the cap in force, `[H, S]` [W].
        braked: whether the brake held the clocks down, `[H, S]`.
        room_c: air of each room at the end of the tick, `[H, R]` [C].
        clock_fraction: in force during the tick, `[H, P]`.
        queued_requests: in the replicas' queues at the end of the tick, `[H, P]`.
        running_requests: in the replicas' batches at the end of the tick, `[H, P]`.
        held_requests: deferrable requests held back at the end of the tick, `[H, K]`.
        completed_in_slo, arrived: requests in the tick, `[H, K]`.
    """

    policy: str
    seed: int
    tick_s: float
    sites: tuple[str, ...]
    rooms: tuple[str, ...]
    pools: tuple[str, ...]
    classes: tuple[str, ...]
    room_limit_c: Float64Array
    power_w: Float64Array
    cap_w: Float64Array
    braked: Float64Array
    room_c: Float64Array
    clock_fraction: Float64Array
    queued_requests: Float64Array
    running_requests: Float64Array
    held_requests: Float64Array
    completed_in_slo: Float64Array
    arrived: Float64Array


def record_timeline(make_env: MakeEnv, candidate: Candidate, seed: int, deterministic: bool = True) -> Timeline:
    """Run one episode of a fleet and keep every tick.

    Args:
        make_env: as for `evaluate_policy`; must give fleets.
        candidate: the policy.
        seed: of the episode, as in an episode row.
        deterministic: handed to `predict`.

    Raises:
        SpecError: the environment is not a fleet.
    """
    env = make_env_for(candidate, make_env, 1)
    fleet = env.unwrapped
    if not isinstance(fleet, FleetVectorEnv):
        env.close()
        raise SpecError(["figures: only a fleet has a timeline of power and clocks"])
    try:
        ticks = _run(env, fleet, candidate, seed, deterministic)
    finally:
        env.close()
    columns = {name: np.stack([tick[name] for tick in ticks]) for name in ticks[0]}
    scenario = fleet.scenario
    return Timeline(
        policy=candidate.label,
        seed=seed,
        tick_s=scenario.tick_s,
        sites=tuple(scenario.sites),
        rooms=tuple(scenario.rooms),
        pools=tuple(scenario.pools),
        classes=tuple(scenario.classes),
        room_limit_c=np.array([room.limit_c for room in scenario.rooms.values()]),
        **columns,
    )


def write_timelines(path: Path, timelines: Sequence[Timeline]) -> Path:
    """One row per policy and tick, columns `<quantity>/<site, room, pool or class>` (CSV): the data of the figure."""
    per_site = ("power_w", "cap_w", "braked")
    per_pool = ("clock_fraction", "queued_requests", "running_requests")
    per_class = ("held_requests", "completed_in_slo", "arrived")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        first = timelines[0]
        axes = [
            (per_site, first.sites),
            (("room_c",), first.rooms),
            (per_pool, first.pools),
            (per_class, first.classes),
        ]
        columns = [
            (quantity, i, name) for quantities, names in axes for quantity in quantities for i, name in enumerate(names)
        ]
        writer.writerow(["policy", "seed", "start_s", *(f"{quantity}/{name}" for quantity, _, name in columns)])
        for timeline in timelines:
            values = [getattr(timeline, quantity)[:, i] for quantity, i, _ in columns]
            for row in range(len(timeline.power_w)):
                writer.writerow(
                    [timeline.policy, timeline.seed, row * timeline.tick_s, *(column[row] for column in values)]
                )
    return path


def _run(
    env: Any, fleet: FleetVectorEnv, candidate: Candidate, seed: int, deterministic: bool
) -> list[dict[str, Float64Array]]:
    acting = ActingCandidate(candidate, env, [seed], deterministic)
    observation = seeded_reset(env, [seed])
    starts, over = np.ones(1, np.bool_), False
    imposed, ticks = [_imposed(fleet)], list[dict[str, Float64Array]]()

    def keep() -> None:
        ticks.append(imposed[-1] | _measured(fleet))
        imposed.append(_imposed(fleet))

    fleet.on_tick = keep
    while not over:
        observation, _, terminated, truncated, _ = env.step(acting.act(observation, starts))
        starts, over = np.zeros(1, np.bool_), bool(terminated[0] or truncated[0])
    return ticks


def _imposed(fleet: FleetVectorEnv) -> dict[str, Float64Array]:
    """The view before a tick holds the cap of that tick, and whether the brake acts in it."""
    return {name: fleet.engine.view[name][0].astype(np.float64) for name in ("cap_w", "braked")}


def _measured(fleet: FleetVectorEnv) -> dict[str, Float64Array]:
    view, outcome = fleet.engine.view, fleet.engine.outcome
    seen = ("room_c", "clock_fraction", "running_requests", "held_requests")
    return {
        **{name: view[name][0].astype(np.float64) for name in seen},
        "queued_requests": view["waiting_requests"][0].astype(np.float64),
        **{name: outcome[name][0].copy() for name in ("power_w", "completed_in_slo", "arrived")},
    }
