"""Policies meet episodes: the same list of seeds for everyone, in batches, one row per episode.

Row i depends on its seed and the policy alone, not on how many episodes run side by side: environments keep their rows
apart, and `tokenfleet.evaluation.candidates` says how a policy acts in a batch. There are two exceptions. A policy that
draws for the whole batch at once, as a network does, needs batches of the same size for the same rows. So does a
network in batches of more than `NETWORK_ROWS` episodes, for the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from tokenfleet.envs.fleets.plans import PolicyPredictor
from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.user_code import UserCodeError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import ActingCandidate, Candidate, MakeEnv, make_env_for
from tokenfleet.evaluation.events import EventCard, EventRecorder
from tokenfleet.evaluation.identity import EnvironmentIdentity
from tokenfleet.evaluation.journal import EvaluatedBatch, Journal
from tokenfleet.evaluation.latency import latency_metrics
from tokenfleet.evaluation.metrics import GENERIC_NAMES
from tokenfleet.evaluation.results import EpisodeRow

BATCH_SIZE = 64


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
    policy: PolicyPredictor | Candidate,
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
        make_env: gives a vector environment of so many rows, which resets by itself; a fleet must do so in the
            autoreset mode `NEXT_STEP`. Another environment gets the generic metrics, and those it reports.
        policy: anything with `predict`, or a `Candidate` with a name too.
        episodes: how many.
        seed: of the study; policies with the same seed meet the same episodes.
        batch_size: most episodes side by side.
        deterministic: handed to `predict`.
        on_progress: told now and then how many episodes are done; for a fleet, with the part of the running ones.
        on_ledger: told the policy's label and the ledger of every episode of a fleet.
        on_event: told how every demand-response event of a fleet went.
        journal: of this study and no other; batches in it are not run again, and new ones are added.

    Returns:
        One row per episode, in the order of the seeds.

    Raises:
        SpecError: no episodes, a batch of none, an environment that cannot be evaluated, or a journal that cannot be
            written.
        UserCodeError: a part of the user's has failed.
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


def _batches(seeds: Sequence[int], size: int) -> Iterator[list[int]]:
    if size < 1:
        raise SpecError([f"n_envs: must be at least 1 (got {size})"])
    for start in range(0, len(seeds), size):
        yield list(seeds[start : start + size])


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """When an environment begins anew; one that never does could not run episodes of unequal length.

    With autoreset in the same step, a fleet has already discarded the request log of the ended episode.
    """
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    fleet = isinstance(env.unwrapped, FleetVectorEnv)
    if mode is AutoresetMode.DISABLED or (fleet and mode is not AutoresetMode.NEXT_STEP):
        raise SpecError([f"env: evaluation needs autoreset mode NextStep (got {mode.value})"])
    return mode


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
) -> EvaluatedBatch:
    """Run the episodes of a batch, the first of which is the study's episode `first`."""
    ledgers: list[Ledger] = []
    events: list[EventCard] = []
    env = make_env_for(candidate, make_env, len(seeds))
    try:
        identity = EnvironmentIdentity.of(env)
        metrics = _run_batch(
            env, candidate, seeds, deterministic, on_progress, ledgers if with_ledgers else None, events
        )
    finally:
        env.close()
    rows = [_row(candidate, identity, first + i, seed, metrics[i]) for i, seed in enumerate(seeds)]
    return EvaluatedBatch(tuple(rows), tuple(ledgers), tuple(events))


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
    acting = ActingCandidate(candidate, env, seeds, deterministic)
    observation = seeded_reset(env, seeds)
    fleet = env.unwrapped
    recorder = EventRecorder(fleet) if isinstance(fleet, FleetVectorEnv) else None
    metrics: list[dict[str, float]] = [{} for _ in seeds]
    total, length = np.zeros(count), np.zeros(count)
    running, ended, starts = np.ones(count, np.bool_), np.zeros(count, np.bool_), np.ones(count, np.bool_)
    while running.any():
        observation, reward, terminated, truncated, info = env.step(acting.act(observation, starts))
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
    """The environment's metrics of the episode that has just ended, and a fleet's latencies."""
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
