"""What a profile predicts of a run, beside what was measured; and the least that physics allows.

Every prediction goes through `layers.llm.iteration`, so that the numbers are fitted to the law that the engines run:

- *decode step*: an iteration that only decodes. The median inter-token latency is one as long as prompts are rare.
- *mean iteration*, as a sequence sees it that decodes beside B - 1 others: of N answer tokens each, these start
  (B - 1) / N prompts per iteration. How many in one is Poisson (assumption: requests end independently); prompts
  beyond the token budget come in chunks.
- *TTFT*: a prompt that meets an idle server, chunk by chunk; only runs of one request at a time say it, because the
  others' wait in a queue. What stands before the engine (HTTP, tokeniser) is no part of a profile.
- *board power*: energy over time of the mean iteration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm import ModelSpec, ProfileSpec, kv_capacity_tokens
from tokenfleet.envs.layers.llm.bound import physical_bound_s
from tokenfleet.envs.layers.llm.iteration import (
    Batch,
    Coefficients,
    iteration_energy_j,
    iteration_time_s,
    prefill_pairs,
)
from tokenfleet.envs.measured.runs import Run
from tokenfleet.envs.spec import SpecError

RARE_PREFILLS = 0.4  # share of iterations with a prompt up to which the median is an iteration without one
ONE_AT_A_TIME = 1.5  # batch up to which a prompt mostly meets an idle server
OVER_TDP = 1.05  # a mean above it is of more boards, or of the whole server
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """What was measured: a model on `tensor_parallel` boards of a GPU, at most `token_budget` tokens an iteration."""

    gpu: GpuSpec
    model: ModelSpec
    tensor_parallel: int
    token_budget: int


@dataclass(frozen=True)
class Comparison:
    """One way to hold a profile against runs.

    Attributes:
        name: key in a profile's `fit_errors`.
        title: what the report calls it.
        noise: relative, of one measurement; the weight of a run in the fit (assumption).
        measured: a run's value in SI units; None where it does not say it.
        predicted: the values of some runs by a profile.
    """

    name: str
    title: str
    noise: float
    measured: Callable[[Run, Bench], float | None]
    predicted: Callable[[ProfileSpec, Bench, Sequence[Run]], Array]

    def runs(self, runs: Sequence[Run], bench: Bench) -> list[int]:
        """Which runs say it."""
        return [index for index, run in enumerate(runs) if self.measured(run, bench) is not None]

    def values(self, runs: Sequence[Run], bench: Bench) -> Array:
        """What they say, of runs that do."""
        return np.array([self.measured(run, bench) for run in runs], dtype=np.float64)

    def errors(self, profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
        """Signed relative errors of a profile over runs that say it."""
        return self.predicted(profile, bench, runs) / self.values(runs, bench) - 1.0


def prefills_per_iteration(run: Run, bench: Bench) -> float:
    """Mean number of the others' prompt chunks that join an iteration."""
    others = max(0.0, run.batch - 1.0)
    return others / run.output_tokens * max(1.0, run.prompt_tokens / bench.token_budget)


def prompt_time_s(profile: ProfileSpec, bench: Bench, prompt_tokens: float) -> float:
    """A prompt alone on the server, chunk by chunk [s]."""
    whole = round(prompt_tokens)
    prior = np.arange(0, whole, bench.token_budget, dtype=np.float64)
    chunk = np.minimum(bench.token_budget, whole - prior)
    nobody = np.zeros_like(chunk)
    return float(iteration_time_s(profile, Batch(nobody, nobody, chunk, prefill_pairs(chunk, prior))).sum())


def check_runs(runs: Sequence[Run], bench: Bench) -> None:
    """Refuse runs that these boards cannot have done.

    Raises:
        SpecError: one line per run: faster than physics allows, more context than memory, watts beyond the boards'.
    """
    problems = [problem for run in runs for problem in (*_too_fast(run, bench), *_too_large(run, bench))]
    problems += [problem for run in runs for problem in _too_hot_or_cold(run, bench)]
    if problems:
        raise SpecError(problems)


def _too_fast(run: Run, bench: Bench) -> list[str]:
    batch, boards = max(run.batch, 1.0), f"{bench.tensor_parallel} x {bench.gpu.name}"
    whose = f"{bench.model.name} on {boards} in {bench.model.arithmetic}"
    step, prompt = Batch(batch, batch * run.prompt_tokens, 0.0, 0.0), round(run.prompt_tokens)
    prompts = Batch(0.0, 0.0, run.prompt_tokens, prefill_pairs(prompt))
    step_s, prompt_s = (
        physical_bound_s(bench.gpu, bench.model, bench.tensor_parallel, work) for work in (step, prompts)
    )
    cases = (
        ("the median time between tokens", run.median_step_s, step_s, "speculative decoding"),
        ("the mean time between tokens", run.mean_step_s, step_s, "speculative decoding"),
        ("TTFT", run.ttft_s, prompt_s, "prompts that a prefix cache held"),
    )
    return [
        f"{run.place}: {what} of {1e3 * value:.4g} ms is faster than physics allows for {whose}, at least "
        f"{1e3 * bound:.4g} ms; likely another --gpu, --tensor-parallel or precision, or {also}"
        for what, value, bound, also in cases
        if value is not None and value < bound
    ]


def _too_large(run: Run, bench: Bench) -> list[str]:
    held = kv_capacity_tokens(bench.gpu, bench.model, bench.tensor_parallel, memory_utilisation=1.0)
    needed = run.batch * run.context_tokens
    if needed <= held:
        return []
    return [
        f"{run.place}: {run.batch:.4g} sequences of {run.context_tokens:.4g} tokens need a KV cache of {needed:.4g} "
        f"tokens, but at most {held} fit on {bench.tensor_parallel} x {bench.gpu.name}; "
        "give the mean number that ran as 'batch', or check --gpu and --tensor-parallel"
    ]


def _too_hot_or_cold(run: Run, bench: Bench) -> list[str]:
    if run.power_w is None:
        return []
    board_w, gpu = run.power_w / bench.tensor_parallel, bench.gpu
    if gpu.asleep_w <= board_w <= OVER_TDP * gpu.tdp_w:
        return []
    return [
        f"{run.place}: power of {run.power_w:.4g} W is {board_w:.4g} W a board; {gpu.name} draws {gpu.asleep_w:g} to "
        f"{gpu.tdp_w:g} W; give the sum over the {bench.tensor_parallel} boards of the replica, without the server"
    ]


def _decode_step_s(run: Run, bench: Bench) -> float | None:
    return run.median_step_s if prefills_per_iteration(run, bench) < RARE_PREFILLS else None


def _mean_step_s(run: Run, bench: Bench) -> float | None:
    return run.mean_step_s


def _lone_ttft_s(run: Run, bench: Bench) -> float | None:
    return run.ttft_s if run.batch <= ONE_AT_A_TIME else None


def _power_w(run: Run, bench: Bench) -> float | None:
    return run.power_w if run.median_step_s or run.mean_step_s else None


def _predicted_decode_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    batch, context = _batches(runs)
    nothing = np.zeros_like(batch)
    return iteration_time_s(profile, Batch(batch, batch * context, nothing, nothing))


def _predicted_mean_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    mix = _Mix.of(runs, bench)
    return mix.mean(iteration_time_s(profile, mix.batch))


def _predicted_ttft_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    return np.array([prompt_time_s(profile, bench, run.prompt_tokens) for run in runs])


def _predicted_w(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    mix = _Mix.of(runs, bench)
    physics = Coefficients.of(bench.gpu, bench.model, profile).at_clock(1.0)
    return mix.mean(iteration_energy_j(physics, mix.batch)) / mix.mean(iteration_time_s(physics, mix.batch))


def _batches(runs: Sequence[Run]) -> tuple[Array, Array]:
    """Sequences in an iteration, of which there is none without one, and the context of each, `[R]`."""
    return np.array([max(run.batch, 1.0) for run in runs]), np.array([run.context_tokens for run in runs])


@dataclass(frozen=True)
class _Mix:
    """The iterations of R runs at full clock: with no, one, two ... prompt chunks, `[R, K]`, and the chance of each."""

    batch: Batch[Array]
    chance: Array

    @classmethod
    def of(cls, runs: Sequence[Run], bench: Bench) -> _Mix:
        batch, context = _batches(runs)
        prompt = np.array([run.prompt_tokens for run in runs])
        rate = np.array([prefills_per_iteration(run, bench) for run in runs])
        chunks = np.maximum(1.0, prompt / bench.token_budget)
        count = np.arange(math.ceil(rate.max() + 6.0 * math.sqrt(rate.max()) + 6.0), dtype=np.float64)
        shape = np.broadcast_to(np.ones(len(count)), (len(runs), len(count)))
        mixed = Batch(
            decoding=batch[:, None] * shape,
            context=(batch * context)[:, None] * shape,
            prefill=count * (prompt / chunks)[:, None],
            pairs=count * (prefill_pairs(prompt) / chunks)[:, None],
        )
        return cls(mixed, np.asarray(poisson.pmf(count, rate[:, None])))

    def mean(self, values: Array) -> Array:
        """Over the iterations of each run, `[R]`."""
        return np.asarray((self.chance * values).sum(axis=1))


DECODE_STEP = Comparison("decode_step", "decode step", 0.02, _decode_step_s, _predicted_decode_s)
MEAN_ITERATION = Comparison("mean_iteration", "mean iteration", 0.06, _mean_step_s, _predicted_mean_s)
TTFT = Comparison("ttft", "TTFT, one at a time", 0.03, _lone_ttft_s, _predicted_ttft_s)
BOARD_POWER = Comparison("board_power", "board power", 0.05, _power_w, _predicted_w)
COMPARISONS = (DECODE_STEP, MEAN_ITERATION, TTFT, BOARD_POWER)
