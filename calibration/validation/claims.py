"""Every claim that the model is held to, each a function that returns predicted and measured values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from calibration import demand_claims, law_claims, power_claims, prompts, whole_runs
from calibration.fit import FROM_KERNELS, FROM_RUNS, MEASURED, SERVED_LIKE, time_fits
from calibration.kernels import Kernels
from calibration.serving import fit_measured, from_kernels, runs
from calibration.validation import emergent
from tokenfleet.envs.layers.llm import load_model, profile_name
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s

Array = NDArray[np.float64]
COMPARED = {**law_claims.CLAIMS, **whole_runs.CLAIMS, **prompts.CLAIMS, **power_claims.CLAIMS}


@dataclass(frozen=True)
class Claim:
    """Predicted against measured.

    Attributes:
        name: what is compared.
        judged: what was fitted on what, and which measurements judge it.
        measured, predicted: `[M]`, in one unit.
        target: largest mean absolute relative error that is aimed at; None where none is.
    """

    name: str
    judged: str
    measured: Array
    predicted: Array
    target: float | None = None

    @property
    def errors(self) -> Array:
        """Absolute relative errors."""
        return np.asarray(np.abs(self.predicted / self.measured - 1.0))


def _compared(name: str) -> Claim:
    compare, target = COMPARED[name]
    found = compare()
    judged = " ".join(((compare.__doc__ or name).split("\n")[0]).split()).rstrip(".")
    return Claim(name, judged, found.measured, found.predicted, target)


def _demand(name: str) -> Claim:
    found = demand_claims.CLAIMS[name]()
    return Claim(name.replace("_", " "), found.statement, found.recorded, found.drawn, found.tolerance)


def _from_errors(name: str, judged: str, errors: list[float], target: float) -> Claim:
    """A claim of which only relative errors are at hand: predicted over measured."""
    return Claim(name, judged, np.ones(len(errors)), 1.0 + np.array(errors), target)


def decode_steps() -> Claim:
    """Decode steps of dense models: host and per-sequence time fitted on the same runs, all else from kernels."""
    dense = (*MEASURED, *(pair for pair in FROM_RUNS if load_model(pair[0]).experts == 1))
    errors = [error for pair in dense for error in time_fits()[profile_name(*pair)].errors["decode_step"]]
    judged = "two numbers a profile fitted on these vLLM runs (ML.ENERGY v3), all else from kernels or one law"
    return _from_errors("decode step, dense", judged, errors, 0.05)


def decode_steps_of_another_gpu() -> Claim:
    """Decode steps on the B200 from its kernels and the H100's overhead, which never saw its runs."""
    measured, predicted = [], []
    for model, gpu, degree in MEASURED:
        if gpu == SERVED_LIKE:
            continue
        donor = next(tp for name, board, tp in MEASURED if name == model and board == SERVED_LIKE)
        served, kernels = fit_measured(model, SERVED_LIKE, donor), from_kernels(Kernels(model, gpu, degree))
        fit = replace(kernels, host_s=served.host_s, decode_s=served.decode_s)
        rows = runs(model, gpu, degree)
        batch = rows.avg_batch_size.to_numpy()
        nothing = np.zeros_like(batch)
        measured.append(rows.median_itl_ms.to_numpy() / 1e3)
        predicted.append(iteration_time_s(fit, Batch(batch, rows.context.to_numpy(), nothing, nothing)))
    judged = "kernels of the B200, host and per-sequence time of the H100's runs; judged on the B200's runs"
    return Claim("decode step, GPU left out", judged, np.concatenate(measured), np.concatenate(predicted), 0.12)


def prefills() -> Claim:
    """Whole prompts of 512 to 8192 tokens against the sum of measured kernels."""
    pairs = (*MEASURED, *FROM_KERNELS)
    errors = [error for pair in pairs for error in time_fits()[profile_name(*pair)].errors["prefill"]]
    judged = "profiles against sums of measured kernels (aiconfigurator; H100 scaled from H200)"
    return _from_errors("prefill, kernels", judged, errors, 0.15)


CLAIMS: tuple[Callable[[], Claim], ...] = (
    decode_steps,
    decode_steps_of_another_gpu,
    prefills,
    *(partial(_compared, name) for name in COMPARED),
    *(partial(_demand, name) for name in demand_claims.CLAIMS),
)

FACTS = emergent.FACTS
