"""Prompts of Llama-2-70B on A100 and H100 as Splitwise measured them (ISCA 2024), against sums of timed kernels.

Its software of 2023 launched every kernel from Python: an iteration cannot be shorter than `launch_s`, and each takes
`step_s` beside its kernels. The A100's kernels are of that time (Vidur's), and are taken as they are. The H100's are of
2026 and faster (aiconfigurator's, the H200's scaled, of the like layers of Llama 3.1 70B), so that one factor comes in.
These two or three numbers are fitted to all degrees of tensor parallelism but the one that they are judged on.

Judged are iterations of up to 2048 tokens, which is where Splitwise stops batching prompts: beyond, its times grow
faster than the tokens do. On 8 boards, 4096 tokens take 2.4 (A100) and 2.8 times (H100) as long as 2048 do; no kernel
does that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from calibration.claims.comparison import Claim, Comparison
from calibration.excerpts import table
from calibration.fit.time.kernels import Kernels
from calibration.fit.time.serving import from_kernels
from calibration.fit.time.time_fit import TimeFit
from calibration.fit.time.vidur import fit_vidur
from tokenfleet.envs.fitting.errors import Array, relative_errors
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs

LARGEST = 2048
LAUNCH_S = np.arange(0.030, 0.091, 0.001)
STEP_S = np.arange(0.0, 0.031, 0.001)
FACTORS = np.arange(0.80, 1.51, 0.02)
Numbers = tuple[Array, Array, Array]  # launch_s, step_s, factor on the kernels; broadcast against the rows


def a100_prompts() -> Comparison:
    """Prompts on A100 from Vidur's kernels; launch and step time fitted, degree of tensor parallelism left out."""
    return _left_out("a100-80gb", (2, 4, 8), fit_vidur, np.ones(1))


def h100_prompts() -> Comparison:
    """Prompts on H100 from newer kernels; launch, step time and a factor fitted, tensor parallelism left out."""
    return _left_out("h100-80gb", (2, 4), _aiconfigurator, FACTORS)


CLAIMS = (
    Claim("Splitwise, prompts on A100", a100_prompts, 0.08),
    Claim("Splitwise, prompts on H100", h100_prompts, 0.08),
)


def _left_out(hardware: str, degrees: tuple[int, ...], kernels: Callable[[int], TimeFit], factors: Array) -> Comparison:
    rows = table("splitwise").query("hardware == @hardware and tensor_parallel in @degrees")
    rows = rows[rows.batch_size * rows.prompt_size <= LARGEST]
    rows = rows.assign(measured=rows.prompt_time / 1e3, kernels_s=_kernels_s(rows, kernels))
    frames = []
    for degree in degrees:
        others, mine = rows[rows.tensor_parallel != degree], rows[rows.tensor_parallel == degree]
        frames.append(mine.assign(predicted=_prompt_s(_fit(others, factors), mine)))
    found = pd.concat(frames)
    group = tuple(f"{hardware} tp{degree}" for degree in found.tensor_parallel)
    return Comparison(found.measured.to_numpy(), found.predicted.to_numpy(), group)


def _fit(rows: pd.DataFrame, factors: Array) -> Numbers:
    """The numbers of the grid with the least mean absolute relative error."""
    grid = np.meshgrid(LAUNCH_S, STEP_S, factors, indexing="ij")
    predicted_s = _prompt_s((grid[0][..., None], grid[1][..., None], grid[2][..., None]), rows)
    errors = np.abs(relative_errors(predicted_s, rows.measured)).mean(axis=-1)
    best = np.unravel_index(np.argmin(errors), errors.shape)
    return grid[0][best], grid[1][best], grid[2][best]


def _prompt_s(numbers: Numbers, rows: pd.DataFrame) -> Array:
    launch_s, step_s, factor = numbers
    return np.asarray(np.maximum(launch_s, factor * rows.kernels_s.to_numpy() + step_s))


def _kernels_s(rows: pd.DataFrame, kernels: Callable[[int], TimeFit]) -> Array:
    """All kernels of an iteration that prefills a batch of whole prompts [s]."""
    times_s = []
    for degree, batch, prompt in zip(rows.tensor_parallel, rows.batch_size, rows.prompt_size, strict=True):
        work = Batch(0.0, 0.0, float(batch * prompt), batch * prefill_pairs(prompt))
        times_s.append(iteration_time_s(kernels(degree), work))
    return np.array(times_s)


def _aiconfigurator(tensor_parallel: int) -> TimeFit:
    return from_kernels(Kernels("llama-3.1-70b", "h100-sxm", tensor_parallel))
