"""Every claim that the model is held to, in the order of docs/accuracy.md."""

from __future__ import annotations

from calibration.claims import (
    clocks,
    demand,
    energy,
    interconnects,
    kernels,
    mixtures,
    power,
    prompts,
    request_logs,
    steps,
    whole_runs,
)

CLAIMS = (
    *kernels.CLAIMS,
    *interconnects.CLAIMS,
    *steps.CLAIMS,
    *mixtures.CLAIMS,
    power.PROFILES,
    *whole_runs.CLAIMS,
    *request_logs.CLAIMS,
    *prompts.CLAIMS,
    *power.CLAIMS,
    *clocks.CLAIMS,
    *energy.CLAIMS,
    *demand.CLAIMS,
)
