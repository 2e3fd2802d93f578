"""The iterations of a run: most of them only decode, some start a prompt or more.

How many prompts start in one iteration is a Poisson number (assumption: requests end independently).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm.iteration import Batch


def prefills_per_iteration(run: Run, bench: Bench) -> float:
    """Mean number of the others' prompt chunks that join an iteration."""
    others = max(0.0, run.batch - 1.0)
    return others / run.output_tokens * max(1.0, run.prompt_tokens / bench.token_budget)


def chances(counts: Array, mean: Array) -> Array:
    """Chance that an iteration starts each of some numbers of prompts, if it starts no other number, `[R, K]`.

    >>> chances(np.array([0.0, 1.0]), np.array([1.0])).tolist()
    [[0.5, 0.5]]

    Args:
        counts: the numbers, `[K]`.
        mean: prompts that start in an iteration on average, `[R]`.
    """
    chance = np.asarray(poisson.pmf(counts, mean[:, None]))
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def batches(runs: Sequence[Run], bench: Bench) -> tuple[Array, Array]:
    """Sequences in an iteration, at least one, and the context that each of them attends to, `[R]` each."""
    context = np.array([run.context_tokens for run in runs])
    return np.array([max(run.batch, 1.0) for run in runs]), bench.model.attended_tokens(context)


@dataclass(frozen=True)
class Iterations:
    """The iterations of R runs at full clock: with no, one, two ... prompt chunks, `[R, K]`, and the chance of each."""

    batch: Batch[Array]
    chance: Array

    @classmethod
    def of(cls, runs: Sequence[Run], bench: Bench) -> Iterations:
        """Iterations of runs on a bench."""
        batch, context = batches(runs, bench)
        prompt = np.array([run.prompt_tokens for run in runs])
        rate = np.array([prefills_per_iteration(run, bench) for run in runs])
        chunks = np.maximum(1.0, prompt / bench.token_budget)
        count = np.arange(math.ceil(rate.max() + 6.0 * math.sqrt(rate.max()) + 6.0), dtype=np.float64)
        shape = np.broadcast_to(np.ones(len(count)), (len(runs), len(count)))
        mixed = Batch(
            decoding=batch[:, None] * shape,
            context=(batch * context)[:, None] * shape,
            prefill=count * (prompt / chunks)[:, None],
            pairs=count * (bench.model.attended_pairs(prompt) / chunks)[:, None],
        )
        return cls(mixed, chances(count, rate))

    def mean(self, values: Array) -> Array:
        """Over the iterations of each run, `[R]`."""
        return np.asarray((self.chance * values).sum(axis=1))
