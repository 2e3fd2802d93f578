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
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import SupervisorObservation
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.generator import draw_scenario, load_ranges
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.policies.generalist.base import supervisor_entries
from tokenfleet.policies.generalist.entities import CLASS, POOL, SITE, WIDEST, Entities, Shown
from tokenfleet.policies.generalist.slots import Slots

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
        fleet: the scenario of the running episode; None before the first.

    Raises:
        SpecError: no such ranges, or no fleet.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012, Gymnasium's own form

    def __init__(self, ranges: str = "generalist", split: Split = "train", fleets: int = 64) -> None:
        if fleets < 1:
            raise SpecError([f"fleets: must be at least 1 (got {fleets})"])
        self._ranges, self._split, self._fleets = load_ranges(ranges), split, fleets
        self.slots = Slots.of_ranges(self._ranges)
        self.fleet: Scenario | None = None
        self._known: dict[int, Scenario] = {}
        self._env: FleetEnv | None = None
        self.observation_space = _observation_space(self.slots)
        self.action_space = spaces.Box(-1.0, 1.0, (self.slots.width,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode of a fleet; both follow from the seed. The info has `fleet`, its name."""
        super().reset(seed=seed)
        index, episode = int(self.np_random.integers(self._fleets)), int(self.np_random.integers(2**31))
        self.close()
        if index not in self._known:
            self._known[index] = draw_scenario(self._ranges, self._split, index)
        self.fleet = self._known[index]
        self._env = FleetEnv(self.fleet, split=self._split, action="setpoints", observation="supervisor")
        self._reader = Entities(self.fleet)
        self._past = self._reader.nothing_past(1)
        self._columns = self.slots.columns(self.fleet, self._model(SetpointAction).table)
        self._base = supervisor_entries(self.fleet)
        self._still = self.slots.still(self.fleet, self._columns)
        observation, info = self._env.reset(seed=episode)
        return self._observed(observation), self._told(info)

    def step(self, action: Float32Array) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Let a decision hold; see the class. At the end the info has `episode_metrics`, but for those by class."""
        if self._env is None or self.fleet is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        entries = self._base.copy()
        there = self._columns >= 0
        entries[self._columns[there]] += np.asarray(action, np.float64)[there]
        observation, reward, terminated, truncated, info = self._env.step(
            np.clip(entries, -1.0, 1.0).astype(np.float32)
        )
        return self._observed(observation), reward, terminated, truncated, self._told(info)

    def close(self) -> None:
        """Close the fleet's environment."""
        if self._env is not None:
            self._env.close()

    def _told(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """What a batch of fleets can tell together: arrays by entity have other shapes in other fleets."""
        assert self.fleet is not None
        told: dict[str, Any] = {"fleet": self.fleet.name}
        if "episode_metrics" in info:
            told["episode_metrics"] = {name: one for name, one in info["episode_metrics"].items() if "/" not in name}
        return told

    def _model(self, kind: type[Any]) -> Any:
        assert self._env is not None
        batch = self._env.batch
        model = batch.action_model if kind is SetpointAction else batch.observation_model
        assert isinstance(model, kind)
        return model

    def _observed(self, observation: NDArray[Any]) -> Observation:
        assert self._env is not None
        assert self.fleet is not None
        view = self._model(SupervisorObservation).decode(observation[None])
        step_s = np.array([self._env.batch.decide_every * self.fleet.tick_s])
        shown, self._past = self._reader.read(view, self._past, step_s)
        still = {name: values.copy() for name, values in self._still.items()}
        return {**_in_slots(shown, self.slots), **still}


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
