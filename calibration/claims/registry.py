"""Every claim that the model is held to, in the order of docs/validation.md."""

from __future__ import annotations

from calibration.claims import demand, power, prompts, request_logs, steps, whole_runs

CLAIMS = (
    *steps.CLAIMS,
    power.PROFILES,
    *whole_runs.CLAIMS,
    *request_logs.CLAIMS,
    *prompts.CLAIMS,
    *power.CLAIMS,
    *demand.CLAIMS,
)
