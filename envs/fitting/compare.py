"""A profile's predictions for a run, beside the measurements.

Every prediction goes through `layers.llm.iteration`, so that the numbers are fitted to the law that the engines run:

- *decode step*: an iteration that only decodes. The median inter-token latency is one as long as prompts are rare.
- *mean iteration*, as a sequence sees it that decodes beside B - 1 others: of N answer tokens each, these start
  (B - 1) / N prompts per iteration (`iterations`). Prompts beyond the token budget come in chunks.
- *TTFT*: a prompt that meets an idle server, chunk by chunk; only runs of one request at a time say it, because the
  prompts of other runs wait in a queue. What stands before the engine (HTTP, tokeniser) is no part of a profile.
- *board power*: energy over time of the mean iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.fitting.iterations import Iterations, batches, prefills_per_iteration
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm import ProfileSpec
from tokenfleet.envs.layers.llm.coefficients import Coefficients, Physics
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_effort, iteration_time_s

RARE_PREFILLS = 0.4  # prompt chunks an iteration up to which the median is an iteration without a prompt
ONE_AT_A_TIME = 1.5  # batch up to which a prompt mostly meets an idle server


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


def prompt_time_s(profile: ProfileSpec, bench: Bench, prompt_tokens: float) -> float:
    """A prompt alone on the server, chunk by chunk [s]."""
    whole = round(prompt_tokens)
    prior = np.arange(0, whole, bench.token_budget, dtype=np.float64)
    chunk = np.minimum(bench.token_budget, whole - prior)
    nobody = np.zeros_like(chunk)
    batch = Batch(nobody, nobody, chunk, bench.model.attended_pairs(chunk, prior))
    return float(iteration_time_s(_full_clock(profile, bench), batch).sum())


def _decode_step_s(run: Run, bench: Bench) -> float | None:
    return run.median_step_s if prefills_per_iteration(run, bench) < RARE_PREFILLS else None


def _mean_step_s(run: Run, bench: Bench) -> float | None:
    return run.mean_step_s


def _lone_ttft_s(run: Run, bench: Bench) -> float | None:
    return run.ttft_s if run.batch <= ONE_AT_A_TIME else None


def _power_w(run: Run, bench: Bench) -> float | None:
    return run.power_w if run.median_step_s or run.mean_step_s else None


def _predicted_decode_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    batch, context = batches(runs, bench)
    nothing = np.zeros_like(batch)
    return iteration_time_s(_full_clock(profile, bench), Batch(batch, batch * context, nothing, nothing))


def _predicted_mean_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    mix = Iterations.of(runs, bench)
    return mix.mean(iteration_time_s(_full_clock(profile, bench), mix.batch))


def _predicted_ttft_s(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    return np.array([prompt_time_s(profile, bench, run.prompt_tokens) for run in runs])


def _predicted_w(profile: ProfileSpec, bench: Bench, runs: Sequence[Run]) -> Array:
    mix = Iterations.of(runs, bench)
    effort = iteration_effort(_full_clock(profile, bench), mix.batch)
    return mix.mean(effort.energy_j) / mix.mean(effort.time_s)


def _full_clock(profile: ProfileSpec, bench: Bench) -> Physics:
    """The law of the boards of the runs, with the limit that they kept."""
    return Coefficients.of(bench.gpu, bench.model, profile).at_clock(1.0)


DECODE_STEP = Comparison("decode_step", "decode step", 0.02, _decode_step_s, _predicted_decode_s)
MEAN_ITERATION = Comparison("mean_iteration", "mean iteration", 0.06, _mean_step_s, _predicted_mean_s)
TTFT = Comparison("ttft", "TTFT, one at a time", 0.03, _lone_ttft_s, _predicted_ttft_s)
BOARD_POWER = Comparison("board_power", "board power", 0.05, _power_w, _predicted_w)
COMPARISONS = (DECODE_STEP, MEAN_ITERATION, TTFT, BOARD_POWER)
