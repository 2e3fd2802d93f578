"""A fit of demand as text, and as an entry of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenfleet.envs.demand.judge import Compared, Judged
from tokenfleet.envs.layers.agents.fitted import DemandSpec

ENTRY_COMMENT = "# Scales and spells in seconds, lengths in tokens; sources names the command that fitted them."


def report(demand: DemandSpec, requests: int, judged: Judged | None) -> str:
    """What a person is shown.

    Args:
        demand: the description that is written.
        requests: how many it was fitted to.
        judged: the fit to a part of them, judged by the rest; None where nothing was held out.
    """
    lines = [f"{demand.name}: {requests:,} requests, {demand.rate_rps:g} a second", *_process_lines(demand)]
    if judged is None:
        return "\n".join([*lines, "nothing was held out: no error is known"])
    lines += [
        "",
        f"fitted to the first {judged.fitted_requests:,} requests, judged by the next {judged.held_out_requests:,}",
        f"{'':24} {'recorded':>10} {'drawn':>10}  {'1 to 9 of 10 draws':^23} {'error':>8}",
        *map(_line, judged.compared),
    ]
    return "\n".join(lines)


def entry(demand: DemandSpec, sources: tuple[str, ...], judged: Judged | None) -> dict[str, Any]:
    """The data of the catalogue's entry."""
    errors = judged.errors() if judged else {}
    known = demand.model_copy(update={"sources": sources, "held_out_errors": errors})
    return plain(known)


def plain(demand: DemandSpec) -> dict[str, Any]:
    """A description as the data of a YAML file."""
    data: dict[str, Any] = _plain(demand.model_dump(exclude_defaults=True))
    return data


def _plain(value: Any) -> Any:
    """Lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _process_lines(demand: DemandSpec) -> list[str]:
    lines = []
    spells, swings = demand.cascade.spells, demand.cascade.swings
    if spells:
        lines.append(f"  busy {spells.mean_busy_s:.3g} s and silent {spells.mean_pause_s:.3g} s at a time, in the mean")
    if swings:
        shown = ", ".join(f"{100 * np.sqrt(variance):.0f} % over {_time(scale)}" for scale, variance in swings.items())
        lines.append(f"  swings around its mean by {shown}")
    if not (spells or swings):
        lines.append("  no burstier than a Poisson process")
    if demand.knows_hours:
        weekend = "" if demand.weekend is None else ", weekends apart"
        ratio = demand.hour_of_week.max() / demand.hour_of_week.min()
        lines.append(f"  the busiest hour has {ratio:.3g} times the requests of the quietest{weekend}")
    prompt, output = demand.lengths.means
    lines.append(f"  {prompt:,.0f} tokens a prompt and {output:,.0f} an answer in the mean")
    return lines


def _time(scale_s: float) -> str:
    units = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (0.0, "s"))
    size, unit = next((size, unit) for size, unit in units if scale_s >= size)
    return f"{scale_s / (size or 1.0):.3g} {unit}"


def _line(one: Compared) -> str:
    low, high = np.nanquantile(one.drawn, [0.1, 0.9])
    between = f"{low:.4g} to {high:.4g}"
    error = f"{one.error:+8.3f}" if one.absolute else f"{one.error:+8.1%}"
    return f"{one.name:24} {one.recorded:10.4g} {one.middle:10.4g}  {between:^23} {error}"
