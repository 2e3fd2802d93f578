"""Policies meet episodes: the same list of seeds for everyone, in batches, one row per episode.

Row i depends on its seed and the policy alone, not on how many episodes run side by side: environments keep their
lanes apart, a network is always called with the same number of rows (a matrix product of another height rounds its last
bit differently), and a policy that draws can offer `begin_episodes(seeds)` to draw from the episode's seed. A policy
that draws for the whole batch at once, as a network does, needs batches of the same size for the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import Guard, UserCodeError, check_numbers, is_ours, named
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.events import EventCard, EventRecorder
from tokenfleet.evaluation.identity import EnvironmentIdentity
from tokenfleet.evaluation.journal import Batch, Journal
from tokenfleet.evaluation.latency import latency_metrics
from tokenfleet.evaluation.metrics import GENERIC_NAMES
from tokenfleet.evaluation.results import EpisodeRow

MakeEnv = Callable[[int], VectorEnv[Any, Any, Any]]
BATCH_SIZE = 64
NETWORK_ROWS = 64


class Predictor(Protocol):
    """Anything with stable-baselines3's `predict`."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions for a batch of observations, and the state for the next call."""


@runtime_checkable
class DrawsPerEpisode(Protocol):
    """A policy with chance in it that can tie its draws to the episodes it meets."""

    def begin_episodes(self, seeds: Sequence[int]) -> None:
        """Draw for row i from `seeds[i]` until the next call."""


@runtime_checkable
class PreparesEnvironment(Protocol):
    """A policy that needs something of the environments that it acts in, such as what wrappers have learnt."""

    def prepare(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Called once for every vector environment, before its first reset."""


@runtime_checkable
class DecidesControls(Protocol):
    """A policy of a fleet that answers in physical units."""

    def decide(self, observation: Any, state: Any = None, episode_start: Any = None) -> tuple[Controls, Any]:
        """Controls for a batch of observations, and the state for the next call."""


@dataclass(frozen=True)
class Candidate:
    """A policy and what to call it; see `EpisodeRow` for the names.

    Attributes:
        source: where it comes from, as plain data, for the record.
    """

    policy: Predictor
    label: str
    algorithm: str = ""
    training_seed: int | None = None
    learned: bool = False
    policy_hash: str = ""
    source: Any = None


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """The seeds of a study's episodes; a longer study begins with the episodes of a shorter one.

    >>> episode_seeds(0, 2) == episode_seeds(0, 5)[:2]
    True
    """
    if episodes < 1:
        raise SpecError([f"episodes: must be at least 1 (got {episodes})"])
    return [int(value) for value in np.random.default_rng(seed).integers(2**31, size=episodes)]


def evaluate_policy(
    make_env: MakeEnv,
    policy: Predictor | Candidate,
    episodes: int,
    seed: int,
    *,
    batch_size: int = BATCH_SIZE,
    deterministic: bool = True,
    on_progress: Callable[[float], None] | None = None,
    on_ledger: Callable[[str, Ledger], None] | None = None,
    on_event: Callable[[EventCard], None] | None = None,
    journal: Journal | None = None,
) -> list[EpisodeRow]:
    """Run a policy on the episodes of a study.

    Args:
        make_env: gives a vector environment of so many rows that begins anew by itself, a fleet in the autoreset mode
            `NEXT_STEP`; one that is no fleet gets the generic metrics only, and what it reports itself.
        policy: anything with `predict`, or a `Candidate` that also says what to call it.
        episodes: how many.
        seed: of the study; policies with the same seed meet the same episodes.
        batch_size: most episodes side by side.
        deterministic: handed to `predict`.
        on_progress: told now and then how many episodes are done; for a fleet, with the part of the running ones.
        on_ledger: told the policy's label and the ledger of every episode of a fleet.
        on_event: told how every demand-response event of a fleet went.
        journal: of this study and no other; batches that it holds are not run again, and those that are run are added.

    Returns:
        One row per episode, in the order of the seeds.

    Raises:
        SpecError: no episodes, or an environment that cannot be evaluated.
    """
    candidate = policy if isinstance(policy, Candidate) else Candidate(policy, "policy")
    seeds = episode_seeds(seed, episodes)
    rows: list[EpisodeRow] = []
    for batch in _batches(seeds, batch_size):
        done = None if journal is None else journal.find(candidate.label, batch)
        if done is None:
            progress = _from(on_progress, len(rows))
            done = _evaluate(make_env, candidate, len(rows), batch, deterministic, progress, on_ledger is not None)
            done = done if journal is None else journal.add(done)
        rows += done.rows
        if on_ledger is not None:
            for ledger in done.ledgers:
                on_ledger(candidate.label, ledger)
        if on_event is not None:
            for card in done.events:
                on_event(card)
    return rows


def make_env_for(candidate: Candidate, make_env: MakeEnv, num_envs: int) -> VectorEnv[Any, Any, Any]:
    """An environment in which the candidate can act."""
    env = make_env(num_envs)
    if isinstance(candidate.policy, PreparesEnvironment):
        candidate.policy.prepare(env)
    return env


def _batches(seeds: Sequence[int], size: int) -> Iterator[list[int]]:
    if size < 1:
        raise SpecError([f"n_envs: must be at least 1 (got {size})"])
    for start in range(0, len(seeds), size):
        yield list(seeds[start : start + size])


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """When an environment begins anew; one that never does could not run lanes of unequal length.

    A fleet that begins anew within the step that ended it has already thrown its request log away.
    """
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    fleet = isinstance(env.unwrapped, FleetVectorEnv)
    if mode is AutoresetMode.DISABLED or (fleet and mode is not AutoresetMode.NEXT_STEP):
        raise SpecError([f"env: evaluation needs autoreset mode NextStep (got {mode.value})"])
    return mode


class Actor:
    """A candidate at work on one batch: its memory, its draws, and the number of rows its network sees.

    A policy that can say what it wants in physical units does so where the fleet itself listens: an action rounds to
    float32, and the box of actions holds less than `Controls`.

    Args:
        candidate: the policy.
        env: that it acts in; a user's policy is held to its space of actions.
        seeds: of the episodes, one per row.
        deterministic: handed to `predict`.
    """

    def __init__(
        self, candidate: Candidate, env: VectorEnv[Any, Any, Any], seeds: Sequence[int], deterministic: bool
    ) -> None:
        self._policy = candidate.policy
        self._decides = isinstance(env, FleetVectorEnv) and isinstance(candidate.policy, DecidesControls)
        chosen = candidate.source if isinstance(candidate.source, (str, Mapping)) else candidate.policy
        self._guard = None if is_ours(candidate.policy) else Guard(named("policy", chosen))
        self._shape = env.action_space.shape
        self._count = len(seeds)
        self._rows = max(self._count, NETWORK_ROWS) if candidate.learned else self._count
        self._deterministic = deterministic
        self._state: Any = None
        if isinstance(candidate.policy, DrawsPerEpisode):
            candidate.policy.begin_episodes(seeds)

    def act(self, observation: Any, starts: NDArray[np.bool_]) -> Any:
        """Actions `[N, ...]`, or controls, for observations `[N, ...]`; `starts` says where an episode begins."""
        with self._guard or nullcontext():
            if self._decides:
                controls, self._state = self._policy.decide(observation, self._state, starts)  # type: ignore[attr-defined]
                return controls
            action, self._state = self._policy.predict(
                _padded(observation, self._rows),
                state=self._state,
                episode_start=_padded(starts, self._rows),
                deterministic=self._deterministic,
            )
        if self._guard is not None and self._shape is not None:
            check_numbers(self._guard, "actions [N, ...]", action, (self._rows, *self._shape[1:]))
        return action[: self._count] if self._rows > self._count else action


def seeded_reset(env: VectorEnv[Any, Any, Any], seeds: Sequence[int]) -> Any:
    """First observations of episodes with these seeds, one per row.

    Raises:
        SpecError: the environment cannot be seeded row by row.
    """
    try:
        # Gymnasium's own vector environments take a list; the base class's type does not say so.
        observation, _ = env.reset(seed=list(seeds))  # type: ignore[arg-type]
    except (TypeError, UserCodeError, gymnasium.error.Error) as error:
        if isinstance(error, UserCodeError) and not isinstance(error.__cause__, (TypeError, gymnasium.error.Error)):
            raise
        name = type(env.unwrapped).__name__
        raise SpecError([f"env: reset of {name} must take one seed per environment ({error})"]) from error
    return observation


def _evaluate(
    make_env: MakeEnv,
    candidate: Candidate,
    first: int,
    seeds: Sequence[int],
    deterministic: bool,
    on_progress: Callable[[float], None] | None,
    with_ledgers: bool,
) -> Batch:
    """Run the episodes of a batch, the first of which is the study's episode `first`."""
    ledgers: list[Ledger] = []
    events: list[EventCard] = []
    env = make_env_for(candidate, make_env, len(seeds))
    try:
        identity = EnvironmentIdentity.of(env)
        lanes = _run_batch(env, candidate, seeds, deterministic, on_progress, ledgers if with_ledgers else None, events)
    finally:
        env.close()
    rows = [_row(candidate, identity, first + i, seed, lanes[i]) for i, seed in enumerate(seeds)]
    return Batch(tuple(rows), tuple(ledgers), tuple(events))


def _run_batch(
    env: VectorEnv[Any, Any, Any],
    candidate: Candidate,
    seeds: Sequence[int],
    deterministic: bool,
    on_progress: Callable[[float], None] | None,
    ledgers: list[Ledger] | None,
    events: list[EventCard],
) -> list[dict[str, float]]:
    """The metrics of one episode per row; rows that are through go on unread until the last one is.

    The ledgers of a fleet's episodes, and the cards of their events, are put into `ledgers` and `events` as they end.
    """
    count, mode = len(seeds), _autoreset_mode(env)
    actor = Actor(candidate, env, seeds, deterministic)
    observation = seeded_reset(env, seeds)
    fleet = env.unwrapped
    recorder = EventRecorder(fleet) if isinstance(fleet, FleetVectorEnv) else None
    metrics: list[dict[str, float]] = [{} for _ in seeds]
    total, length = np.zeros(count), np.zeros(count)
    running, ended, starts = np.ones(count, np.bool_), np.zeros(count, np.bool_), np.ones(count, np.bool_)
    while running.any():
        observation, reward, terminated, truncated, info = env.step(actor.act(observation, starts))
        total[running] += np.asarray(reward, np.float64)[running]
        length[running] += 1
        before, ended = ended, np.logical_or(terminated, truncated)
        starts = before if mode is AutoresetMode.NEXT_STEP else ended
        for index in np.flatnonzero(running & ended).tolist():
            metrics[index] = {"return": total[index], "length_steps": length[index]} | _reported(env, info, index)
            if recorder is not None:
                events += recorder.cards(candidate.label, seeds[index], index)
            if ledgers is not None and isinstance(fleet, FleetVectorEnv):
                ledgers.append(fleet.ledger(index))
        running &= ~ended
        if on_progress is not None:
            on_progress(_done(env, running))
    return metrics


def _from(on_progress: Callable[[float], None] | None, before: int) -> Callable[[float], None] | None:
    return None if on_progress is None else lambda done: on_progress(before + done)


def _done(env: VectorEnv[Any, Any, Any], running: NDArray[np.bool_]) -> float:
    """Episodes done; of a fleet, whose horizon is known, the running ones count in part."""
    fleet = env.unwrapped
    if not isinstance(fleet, FleetVectorEnv):
        return float((~running).sum())
    return float((~running).sum() + (fleet.tick[running] / fleet.scenario.horizon_ticks).sum())


def _reported(env: VectorEnv[Any, Any, Any], info: Mapping[str, Any], index: int) -> dict[str, float]:
    """What the environment says of the episode that has just ended, and a fleet's latencies."""
    reported: dict[str, float] = {}
    final = info.get("final_info", info)
    if "episode_metrics" in final and final["_episode_metrics"][index]:
        for name, values in final["episode_metrics"].items():
            if not name.startswith("_") and name not in GENERIC_NAMES:
                reported[name] = float(values[index])
    fleet = env.unwrapped
    if isinstance(fleet, FleetVectorEnv):
        episode = fleet.episodes[index]
        assert episode is not None
        reported |= latency_metrics(fleet.request_log(index), episode.requests, tuple(fleet.scenario.classes))
    return reported


def _padded(values: Any, rows: int) -> Any:
    """Batched values with copies of the first row behind them, `[N, ...]` to `[rows, ...]`."""
    if isinstance(values, dict):
        return {name: _padded(value, rows) for name, value in values.items()}
    if isinstance(values, tuple):
        return tuple(_padded(value, rows) for value in values)
    missing = rows - len(values)
    return values if missing <= 0 else np.concatenate([values, np.repeat(values[:1], missing, axis=0)])


def _row(
    candidate: Candidate, identity: EnvironmentIdentity, episode: int, seed: int, metrics: Mapping[str, float]
) -> EpisodeRow:
    return EpisodeRow(
        policy=candidate.label,
        policy_hash=candidate.policy_hash,
        algorithm=candidate.algorithm or candidate.label,
        training_seed=candidate.training_seed,
        learned=candidate.learned,
        environment=identity.environment,
        scenario=identity.scenario,
        split=identity.split,
        config_hash=identity.config_hash,
        episode=episode,
        seed=seed,
        metrics=metrics,
    )
