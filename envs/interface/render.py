"""Frames of one fleet: a text table, or a picture of power against cap, queues and clocks since the episode began."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tokenfleet.envs.interface.frame_state import power_unit, site_state, time_s
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario
from tokenfleet.envs.scenario.provenance import pool_arrays

BAR_CELLS = 24


def make_renderer(scenario: Scenario, mode: str) -> Callable[[Record], Any]:
    """A function that draws frames of a scenario's fleets.

    Args:
        scenario: of the fleet.
        mode: `ansi` for text, `rgb_array` for `[height, width, 3]` of uint8.

    Returns:
        Takes what a fleet's policy could see at every tick since the episode began, the latest last, `[T, V]`.
    """
    return _RENDERERS[mode](scenario)


def _picture_renderer(scenario: Scenario) -> Callable[[Record], Any]:
    from tokenfleet.envs.interface.picture import Picture  # matplotlib takes 0.3 s to import; only pictures pay it

    return Picture(scenario).draw


def text_frame(scenario: Scenario, views: Record) -> str:
    """A frame of one fleet.

    Args:
        scenario: of the fleet.
        views: what the fleet's policy could see at every tick since the episode began, the latest last, `[T, V]`.
    """
    now = Record(views.layout, views.rows[-1:])
    now_s = time_s(scenario, now)[0]
    width = max(len(name) for name in ("site", *scenario.sites, *scenario.pools)) + 2
    lines = [f"{scenario.name}  {now_s:.0f} s of {scenario.horizon_s:.0f} s", ""]
    unit_w, unit = power_unit(float(now["cap_w"].max()))
    lines.append(f"{'site':<{width}}{'power against cap':<{BAR_CELLS + 5}}{unit:>7}{'cap ' + unit:>9}  state")
    for s, site in enumerate(scenario.sites):
        power_w, cap_w = now["site_power_w"][0, s], now["cap_w"][0, s]
        bar = _bar(power_w / max(cap_w, 1.0))
        lines.append(f"{site:<{width}}{bar}  {power_w / unit_w:>7.2f}{cap_w / unit_w:>9.2f}  {site_state(now, s)}")
    heads = f"{'queue':>8}{'running':>9}{'clock':>8}{'awake':>9}{'kv':>7}{'kW':>9}  profile (error)"
    lines += ["", f"{'pool':<{width}}{heads}"]
    provenance = pool_arrays(scenario)
    for p, (name, pool) in enumerate(scenario.pools.items()):
        awake = f"{now['awake_replicas'][0, p]:.0f}/{pool.replicas}"
        lines.append(
            f"{name:<{width}}{now['waiting_requests'][0, p]:>8.0f}{now['running_requests'][0, p]:>9.0f}"
            f"{now['clock_fraction'][0, p]:>8.0%}{awake:>9}{now['kv_reserved_fraction'][0, p]:>7.0%}"
            f"{now['pool_power_w'][0, p] / 1e3:>9.1f}  {pool.profile.origin} ({provenance['decode_step_error'][p]:.0%})"
        )
    return "\n".join(lines) + "\n"


def _bar(share_of_cap: float) -> str:
    """A bar in which the cap stands at three quarters; `!` above it.

    >>> _bar(0.5)
    '[#########---------|------]'
    """
    cap_cell = BAR_CELLS * 3 // 4
    filled = round(min(share_of_cap * cap_cell, BAR_CELLS))
    cells = ["#" if cell < min(filled, cap_cell) else "-" for cell in range(cap_cell)]
    above = ["!" if cell < filled else "-" for cell in range(cap_cell, BAR_CELLS)]
    return f"[{''.join(cells)}|{''.join(above)}]"


_RENDERERS: dict[str, Callable[[Scenario], Callable[[Record], Any]]] = {
    "ansi": lambda scenario: partial(text_frame, scenario),
    "rgb_array": _picture_renderer,
}
