"""A whole study: every candidate meets the same episodes, and two candidates are recorded tick by tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tokenfleet.envs.layers.ledger import Ledger
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate, MakeEnv
from tokenfleet.evaluation.episodes import BATCH_SIZE, evaluate_policy
from tokenfleet.evaluation.events import EventCard
from tokenfleet.evaluation.journal import Journal
from tokenfleet.evaluation.results import EpisodeRow
from tokenfleet.evaluation.summary import Summary
from tokenfleet.evaluation.timeline import Timeline, record_timeline


def run_study(
    make_env: MakeEnv,
    candidates: Sequence[Candidate],
    episodes: int,
    seed: int,
    *,
    batch_size: int = BATCH_SIZE,
    deterministic: bool = True,
    show_progress: bool = False,
    on_ledger: Callable[[str, Ledger], None] | None = None,
    on_event: Callable[[EventCard], None] | None = None,
    journal: Journal | None = None,
) -> list[EpisodeRow]:
    """The rows of all candidates on the same episodes; arguments as for `evaluate_policy`.

    Args:
        make_env: gives vector environments.
        candidates: with different labels.
        episodes: how many each meets.
        seed: of the episodes.
        batch_size: most episodes side by side.
        deterministic: handed to `predict`.
        show_progress: draw a bar on standard error where that is a terminal.
        on_ledger: as for `evaluate_policy`.
        on_event: as for `evaluate_policy`.
        journal: as for `evaluate_policy`.
    """
    rows: list[EpisodeRow] = []
    with _progress(len(candidates) * episodes, show_progress) as advance:
        for done, candidate in enumerate(candidates):
            counted = _count_episodes(advance, candidate.label, done * episodes)
            rows += evaluate_policy(
                make_env,
                candidate,
                episodes,
                seed,
                batch_size=batch_size,
                deterministic=deterministic,
                on_progress=counted,
                on_ledger=on_ledger,
                on_event=on_event,
                journal=journal,
            )
    return rows


def record_timelines(
    make_env: MakeEnv, candidates: Sequence[Candidate], summary: Summary, deterministic: bool = True
) -> list[Timeline]:
    """The best learned policy (else the best) and the best other baseline, in the first's median episode.

    Empty for an environment that is not a fleet, or where the first of the two has no scores.
    """
    chosen = next((name for name in summary.ranking if summary.method(name).learned), summary.ranking[0])
    others = [name for name in summary.ranking if name != chosen and not summary.method(name).learned]
    by_label = {candidate.label: candidate for candidate in candidates}
    members = [summary.method(name).policies[0] for name in (chosen, *others[:1])]
    scores = summary.method(chosen).scores[summary.headline.name][0]
    if not np.isfinite(scores).any():
        return []
    median = int(np.argsort(scores)[np.isfinite(scores).sum() // 2])
    probe = make_env(1)
    probe.close()
    if not isinstance(probe.unwrapped, FleetVectorEnv):
        return []
    seed = summary.study.seeds[median]
    return [record_timeline(make_env, by_label[label], seed, deterministic) for label in members]


@contextmanager
def _progress(episodes: int, show: bool) -> Iterator[Callable[[str, float], None]]:
    """Something to call with a label and the number of episodes done so far, a fraction included."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield lambda label, done: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=episodes)
        yield lambda label, done: bar.update(task, description=label, completed=done)


def _count_episodes(advance: Callable[[str, float], None], label: str, before: int) -> Callable[[float], None]:
    return lambda done: advance(label, before + done)
