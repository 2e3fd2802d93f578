"""One environment for many fleets: every episode another drawn fleet, behind one observation and one action.

A network of any library can so be trained on fleets by the dozen and tried on fleets that it never saw. Sites, pools
and request classes stand in slots; masks tell which slots a fleet fills. Where an action has no slot's entity to act
on, it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.arguments import checked_action
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import SupervisorObservation
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.generator import draw_scenario, load_ranges
from tokenfleet.envs.spec import SpecError, shown, suggest
from tokenfleet.envs.splits import SPLITS, Split
from tokenfleet.policies.generalist.base import supervisor_entries
from tokenfleet.policies.generalist.entities import CLASS, POOL, SITE, WIDEST, Entities, Shown
from tokenfleet.policies.generalist.slots import NOWHERE, Slots

Float32Array = NDArray[np.float32]
Observation = dict[str, Float32Array]


class DrawnFleetsEnv(gymnasium.Env[dict[str, Any], Float32Array]):
    """Every episode, one of the drawn fleets of a split.

    | observation | shape | |
    |---|---|---|
    | `sites`, `pools`, `classes` | `[S, 7]`, `[P, 6]`, `[K, 8]` | what each shows, see `entities`; 0 in empty slots |
    | `site_mask`, `pool_mask`, `class_mask` | `[S]`, `[P]`, `[K]` | 1 where the fleet has one |
    | `pool_site`, `class_pool` | `[P, S]`, `[K, P]` | 1 where a pool stands, and which pools serve a class |
    | `action_mask` | `[A]` | 1 where an entry of the action does something |

    The action has an entry for each set-point and slot, see `Slots`. An entry is added to what the policy `supervisor`
    holds there, in units of the action `setpoints`, and the sum is cut to [-1, 1]; 0 is `supervisor`. A decision holds
    for five ticks. The reward is a fleet's own, a share of what serving everybody in time would earn.

    Args:
        ranges: that fleets are drawn from, by name or as a YAML file.
        split: of the fleets, and of their episodes.
        fleets: how many of the split's fleets come up, from number 0 on.

    Attributes:
        slots: what stands where in an action.

    Raises:
        SpecError: one line per mistake: no such ranges, no such split, or no fleet.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012, Gymnasium's own form

    def __init__(self, ranges: str = "generalist", split: Split = "train", fleets: int = 64) -> None:
        problems = [] if split in SPLITS else [f"split: unknown split {shown(split)}{suggest(split, SPLITS)}"]
        if not isinstance(fleets, int) or fleets < 1:
            problems.append(f"fleets: must be a whole number of at least 1 (got {shown(fleets)})")
        if problems:
            raise SpecError(problems)
        self._ranges, self._split, self._fleets = load_ranges(ranges), split, fleets
        self.slots = Slots.of_ranges(self._ranges)
        self._known: dict[int, Scenario] = {}
        self._running: _Running | None = None
        self.observation_space = _observation_space(self.slots)
        self.action_space = spaces.Box(-1.0, 1.0, (self.slots.width,), np.float32)

    @property
    def fleet(self) -> Scenario | None:
        """The scenario of the running episode; None before the first."""
        return None if self._running is None else self._running.env.scenario

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode of a fleet; both follow from the seed. The info has `fleet`, its name."""
        super().reset(seed=seed)
        index, episode = int(self.np_random.integers(self._fleets)), int(self.np_random.integers(2**31))
        self.close()
        if index not in self._known:
            self._known[index] = draw_scenario(self._ranges, self._split, index)
        self._running = _Running(self._known[index], self._split, self.slots)
        observation, info = self._running.env.reset(seed=episode)
        return self._running.observed(observation), self._running.told(info)

    def step(self, action: Float32Array) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Let a decision hold; see the class. At the end the info has `episode_metrics`, but for those by class.

        Raises:
            ValueError: an action of another shape, or NaN.
        """
        if self._running is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        entries = self._running.entries(checked_action(action, (self.slots.width,)))
        observation, reward, terminated, truncated, info = self._running.env.step(entries)
        return self._running.observed(observation), reward, terminated, truncated, self._running.told(info)

    def close(self) -> None:
        """Close the fleet's environment."""
        if self._running is not None:
            self._running.env.close()


class _Running:
    """One fleet behind the common observation and action.

    Args:
        fleet: the scenario.
        split: of its episodes.
        slots: what stands where.
    """

    def __init__(self, fleet: Scenario, split: Split, slots: Slots) -> None:
        self.env = FleetEnv(fleet, split=split, action="setpoints", observation="supervisor")
        self._slots, self._reader = slots, Entities(fleet)
        self._past = self._reader.nothing_past(1)
        self._step_s = np.array([self.env.batch.decide_every * fleet.tick_s])
        self._base = supervisor_entries(fleet)
        self._columns = slots.columns(fleet, SetpointAction(fleet).table)
        self._still = slots.still(fleet, self._columns)

    def entries(self, action: NDArray[Any]) -> Float32Array:
        """The fleet's own action."""
        entries, acts = self._base.copy(), self._columns != NOWHERE
        entries[self._columns[acts]] += action[acts]
        held: Float32Array = np.clip(entries, -1.0, 1.0).astype(np.float32)
        return held

    def observed(self, observation: NDArray[Any]) -> Observation:
        """What the fleet's own observation shows."""
        model = self.env.batch.observation_model
        assert isinstance(model, SupervisorObservation)
        shown, self._past = self._reader.read(model.decode(observation[None]), self._past, self._step_s)
        still = {name: values.copy() for name, values in self._still.items()}
        return {**_in_slots(shown, self._slots), **still}

    def told(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """What a batch of fleets can tell together: arrays by entity have other shapes in other fleets."""
        told: dict[str, Any] = {"fleet": self.env.scenario.name}
        if "episode_metrics" in info:
            told["episode_metrics"] = {name: one for name, one in info["episode_metrics"].items() if "/" not in name}
        return told


def _observation_space(slots: Slots) -> spaces.Dict:
    sites, pools, classes = slots.sites, slots.pools, slots.classes
    shown = {"sites": (sites, len(SITE)), "pools": (pools, len(POOL)), "classes": (classes, len(CLASS))}
    boxes: dict[str, spaces.Space[Any]] = {}
    for name, shape in shown.items():
        boxes[name] = spaces.Box(-WIDEST, WIDEST, shape, np.float32)
    for name, size in slots.still_shapes.items():
        boxes[name] = spaces.Box(0.0, 1.0, size, np.float32)
    return spaces.Dict(boxes)


def _in_slots(shown: Shown, slots: Slots) -> Observation:
    found: Observation = {}
    counts = (slots.sites, slots.pools, slots.classes)
    for name, rows, count in zip(shown._fields, shown, counts, strict=True):
        found[name] = np.zeros((count, rows.shape[2]), np.float32)
        found[name][: rows.shape[1]] = rows[0]
    return found
