"""Results of plans and rules in episodes, spread over processes; no result depends on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.interface.supervisor_observation import SupervisorObservation
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.splits import Split
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.screen.plans import Plans
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.heuristics.linear.features import Features, FeatureScale, followed_rows
from tokenfleet.policies.heuristics.linear.law import entries_of, scaled
from tokenfleet.policies.registry import Choice, make_policy

Float64Array = NDArray[np.float64]
Task = TypeVar("Task")
Result = TypeVar("Result")
Outcome = dict[str, Float64Array]
"""Metrics by name, `[B, E]` for B policies and E episodes."""
KEPT = ("net_value_usd", "slo_attainment", "above_cap_s", "brakes", "trips")
"""Metrics that the screen looks at, those by class included."""
ROWS = 256
"""Most fleets side by side in one process; more if one plan alone meets more episodes."""
REQUESTS = 8_000_000
"""Most requests of fleets side by side in one process, which take about 1.7 GB; more in the same case."""


@dataclass(frozen=True)
class RolloutSetting:
    """Where plans act.

    Attributes:
        scenario: of the fleets.
        split: of the episodes.
        seeds: of the episodes, E.
        scale: of the features; needed by plans with gains alone.
    """

    scenario: Scenario
    split: Split
    seeds: tuple[int, ...]
    scale: FeatureScale | None = None


class Workers:
    """Processes that work tasks off, or this process alone.

    Args:
        count: how many processes; with 1 there is none but this.
    """

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.count = count
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent) if count > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """The results, in the order of the tasks.

        Raises:
            SpecError: something else has ended a process.
        """
        try:
            return list(map(work, tasks) if self._pool is None else self._pool.map(work, tasks))
        except BrokenProcessPool:
            way_out = "was memory short? fewer workers need less, and the same command goes on with what is on file"
            raise SpecError([f"workers: one of {self.count} processes was ended from outside; {way_out}"]) from None


def _end_with_parent() -> None:
    """End this process when its parent has ended, in whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def rows_at_once(scenario: Scenario) -> int:
    """How many fleets one process has side by side: as many as its memory holds, 1 to `ROWS`."""
    requests = scenario.horizon_s * sum(map(scenario.mean_rate_rps, scenario.classes))
    return int(np.clip(REQUESTS // max(requests, 1.0), 1, ROWS))


def outcomes(setting: RolloutSetting, plans: Plans, workers: Workers) -> Outcome:
    """Results of plans in the same episodes, `[B, E]` by metric."""
    episodes = len(setting.seeds)
    at_once = max(1, min(rows_at_once(setting.scenario) // episodes, -(-len(plans) // workers.count)))
    parts = [plans.part(slice(first, first + at_once)) for first in range(0, len(plans), at_once)]
    done = workers.map(partial(_live, setting), parts)
    return {name: np.concatenate([part[name] for part in done]) for name in done[0]}


def rule_outcome(scenario: Scenario, split: Split, seed: int, episodes: int, rule: Choice) -> Outcome | str:
    """What a rule comes to in the episodes of a study, `[1, E]`; or why the scenario refuses the rule."""

    def make_env(count: int) -> FleetVectorEnv:
        return FleetVectorEnv(scenario, count, split=split)

    probe = make_env(1)
    try:
        policy = make_policy(rule, PolicyContext.from_env(probe))
    except SpecError as error:
        return str(error)
    finally:
        probe.close()
    rows = evaluate_policy(make_env, Candidate(policy, str(rule)), episodes, seed, batch_size=rows_at_once(scenario))
    names = [name for name in rows[0].metrics if _is_kept(name)]
    return {name: np.array([[row.metrics[name] for row in rows]]) for name in names}


def measured_scale(setting: RolloutSetting) -> FeatureScale:
    """The features' scale while the middle of the box is held."""
    env = environment(setting, len(setting.seeds), sees=True)
    observation, _ = env.reset(seed=list(setting.seeds))
    read, seen = _reader(setting.scenario, env), []
    over = np.zeros(env.num_envs, np.bool_)
    while not over.all():
        seen.append(read(observation)[~over])
        observation, _, terminated, truncated, _ = env.step(np.zeros(env.action_space.shape or (), np.float32))
        over |= terminated | truncated
    env.close()
    values = np.concatenate(seen)
    return FeatureScale(values.mean(axis=0), values.std(axis=0))


def _live(setting: RolloutSetting, plans: Plans) -> Outcome:
    """The episodes of some plans, all side by side."""
    episodes = len(setting.seeds)
    env = environment(setting, len(plans) * episodes, sees=plans.gains is not None)
    observation, _ = env.reset(seed=list(setting.seeds) * len(plans))
    act = _actions(setting, plans, env)
    metrics: dict[str, Float64Array] = {}
    running = np.ones(env.num_envs, np.bool_)
    while running.any():
        observation, _, terminated, truncated, info = env.step(act(observation))
        ended = running & (terminated | truncated)
        if ended.any():
            for name, values in info["episode_metrics"].items():
                if _is_kept(name):
                    metrics.setdefault(name, np.zeros(env.num_envs))[ended] = values[ended]
        running &= ~ended
    env.close()
    return {name: values.reshape(len(plans), episodes) for name, values in metrics.items()}


def _actions(setting: RolloutSetting, plans: Plans, env: FleetVectorEnv) -> Callable[[Any], NDArray[np.float32]]:
    """From observations to actions `[B * E, A]`."""
    episodes = len(setting.seeds)
    base = np.repeat(plans.base, episodes, axis=0)
    if plans.gains is None:
        constant = base.astype(np.float32)
        return lambda observation: constant
    if setting.scale is None:
        raise ValueError("plans with gains need the scale of the features")
    scale, gains = setting.scale, np.repeat(plans.gains, episodes, axis=0)
    follows = followed_rows(setting.scenario, tuple(SetpointAction(setting.scenario).table))
    read = _reader(setting.scenario, env)
    return lambda observation: entries_of(base, gains, scaled(read(observation), scale)[:, follows])


def environment(setting: RolloutSetting, rows: int, sees: bool) -> FleetVectorEnv:
    """Fleets that take set-points, `rows` of them; they show what `Features` reads if it `sees`."""
    observation = "supervisor" if sees else None
    return FleetVectorEnv(setting.scenario, rows, split=setting.split, action="setpoints", observation=observation)


def _reader(scenario: Scenario, env: FleetVectorEnv) -> Callable[[Any], Float64Array]:
    """From observations to features, `[N, S + K, F]`, with memory."""
    model = env.observation_model
    assert isinstance(model, SupervisorObservation)
    features = Features(scenario)
    past, step_s = features.nothing_past(env.num_envs), np.full(env.num_envs, env.decide_every * scenario.tick_s)

    def read(observation: Any) -> Float64Array:
        nonlocal past
        values, past = features.read(model.decode(observation), past, step_s)
        return values

    return read


def _is_kept(name: str) -> bool:
    return name.partition("/")[0] in KEPT
