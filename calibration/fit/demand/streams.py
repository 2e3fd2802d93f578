"""The shipped descriptions of demand: `python -m calibration.fit.demand.streams [--write]`.

`azure-chat` is what `python -m tokenfleet.envs.demand fit` makes of the shipped hour of chat. `azure-coding` has no
trace behind it. The closed form of its bursts has the Fano factors of the recorded hour of coding; of all shares of
busy time with these Fano factors it has the smallest, for such traffic is on and off. Its hours, and how much
days differ, are those of five published days. Its lengths are published quantiles.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from calibration.excerpts import table
from tokenfleet.envs.catalog import SHIPPED, load_entry, load_trace, read_yaml
from tokenfleet.envs.demand.cascade_fit import BUSY_SHARES, Counted, Expected, fit_variances
from tokenfleet.envs.demand.fit import expected_requests, fit_demand
from tokenfleet.envs.demand.hours import Hours, fit_hours
from tokenfleet.envs.demand.report import ENTRY_COMMENT, plain
from tokenfleet.envs.files import entry_text
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.agents import DemandSpec
from tokenfleet.envs.layers.agents.cascade import CascadeSpec
from tokenfleet.envs.layers.agents.fitted import DAY_S, HOUR_S
from tokenfleet.envs.layers.agents.joint_lengths import JointLengthsSpec

CODING_REQUESTS, CODING_SPAN_S = 8_819, 3_435.0
"""Of the recorded hour of coding (Azure 2023): an assumption, not counted in the file that `data/` is cut from."""
CODING_CLOCK_S = 3 * DAY_S + 18.5 * HOUR_S
"""Since Monday's midnight: that hour was a Thursday's, from about 18:17 UTC."""
SAME_FANO = 0.01
THINNED = 10.0
"""Of so many recorded requests, one is placed where the published rate had it."""
SLOW_WINDOWS_S = 1800.0
ENDS = (0.01, 0.99)
COMMAND = "python -m calibration.fit.demand.streams"


@cache
def chat() -> DemandSpec:
    """The hour of chat."""
    trace = load_trace("azure-chat-2023")
    source = f"fitted by {COMMAND} to trace/azure-chat-2023.npz, 19,366 requests (Azure/AzurePublicDataset, CC-BY-4.0)"
    described = "Production chat, with the bursts and lengths of one hour; level through the week."
    return _described(fit_demand("azure-chat", trace, trace.duration_s), described, source)


@cache
def coding() -> DemandSpec:
    """On and off traffic of a coding service."""
    hours, days = _published_days()
    level = DemandSpec(name="azure-coding", rate_rps=1.0, lengths=_published_lengths(), **hours.spec())
    at_that_hour = float(level.hourly(np.array([CODING_CLOCK_S]))[0])
    bursts = _bursts(recorded_counts())
    swings = {**bursts.swings, **{scale: value for scale, value in days.swings.items() if scale >= HOUR_S}}
    rate_rps = float(f"{CODING_REQUESTS / CODING_SPAN_S / at_that_hour:.4g}")
    found = level.model_copy(update={"rate_rps": rate_rps, "cascade": CascadeSpec(spells=bursts.spells, swings=swings)})
    sources = (
        f"cascade: fitted by {COMMAND} to the Fano factors of an hour of coding, Azure LLM inference trace 2023",
        f"rate_rps: assumption, {CODING_REQUESTS:,} requests in {CODING_SPAN_S:,.0f} s of that hour",
        "weekday, weekend, swings above an hour: rate/azure-coding-2024.yaml, five days read off a published plot",
        "lengths: quantiles read off published plots, Azure LLM inference dataset 2024; the two are drawn apart",
        "licence of all: CC-BY-4.0 (Azure/AzurePublicDataset)",
    )
    return _described(found, "Coding assistants, on and off, through the hours of a week.", *sources)


def recorded_counts() -> Counted:
    """Fano factors of the recorded hour of coding."""
    rows = table("coding_fano")
    columns = (rows[name].to_numpy(np.float64) for name in ("window_s", "fano", "windows"))
    return Counted(CODING_REQUESTS / CODING_SPAN_S, CODING_SPAN_S, *columns)


def _bursts(counted: Counted) -> CascadeSpec:
    tried = [fit_variances(counted, share) for share in BUSY_SHARES]
    return [cascade for cascade, misfit in tried if misfit < SAME_FANO][-1]


def _published_days() -> tuple[Hours, CascadeSpec]:
    """Hours of the five published days, and what is left between them."""
    record = load_entry("rate", "azure-coding-2024")
    step_s, start_s = record["step_s"], record["start_weekday"] * DAY_S + record["start_hour"] * HOUR_S
    requests = np.cumsum([0.0, *(step_s / 60.0 / THINNED * np.array(record["requests_per_minute"]))])
    span_s = step_s * (len(requests) - 1)
    arrival_s: Array = np.interp(np.arange(0.5, requests[-1]), requests, step_s * np.arange(len(requests)))
    hours = fit_hours(arrival_s, span_s, start_s)
    level = DemandSpec(name="days", rate_rps=1.0, lengths=_published_lengths(), **hours.spec())
    shape = expected_requests(level, span_s, start_s)
    scale = len(arrival_s) / float(shape.requests[-1])
    counted = Counted.of(arrival_s, span_s, Expected(shape.time_s, scale * shape.requests))
    slow = counted.window_s >= SLOW_WINDOWS_S
    left = Counted(counted.rate_rps, span_s, counted.window_s[slow], counted.fano[slow], counted.windows[slow])
    return hours, fit_variances(left, 1.0)[0]


def _published_lengths() -> JointLengthsSpec:
    rows = table("coding_tokens")

    def quantiles(field: str) -> dict[float, float]:
        found = rows[rows.field == field]
        known = dict(zip((found.percentile / 100.0).tolist(), found.tokens.astype(float).tolist(), strict=True))
        low, high = min(known.values()), max(known.values())
        return {ENDS[0]: low, **known, ENDS[1]: high}

    return JointLengthsSpec(prompt=quantiles("prompt"), output=(quantiles("output"),))


def _described(demand: DemandSpec, description: str, *sources: str) -> DemandSpec:
    return demand.model_copy(update={"description": description, "sources": sources})


STREAMS = (chat, coding)


def _path(demand: DemandSpec) -> Path:
    return SHIPPED / "demand" / f"{demand.name}.yaml"


def entries() -> dict[Path, dict[str, Any]]:
    """File -> what it must hold."""
    return {_path(stream()): plain(stream()) for stream in STREAMS}


def shipped_differences() -> list[str]:
    """One line for each shipped description that is not the fit."""
    found = {path: read_yaml(path) if path.exists() else None for path in entries()}
    return [f"{path.name}: is not the fit" for path, data in entries().items() if found[path] != data]


def main() -> None:
    """Print what differs, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the catalogue")
    if parser.parse_args().write:
        for path, data in entries().items():
            path.write_text(entry_text(data, ENTRY_COMMENT), encoding="utf-8")
    print("\n".join(shipped_differences()) or "the catalogue holds the fit")


if __name__ == "__main__":
    main()
