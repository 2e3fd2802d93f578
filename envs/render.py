"""Frames of one fleet: a text table, or a picture of power against cap, queues and clocks since the episode began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.fields import Record
from tokenfleet.envs.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR_CELLS = 24
DOTS_PER_INCH = 100
SIZE_INCHES = (9.6, 5.4)

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
POWER, CAP, ALARM = "#2563eb", "#1f2933", "#dc2626"
POOL_COLOURS = ("#0d9488", "#d97706", "#7c3aed", "#db2777", "#65a30d", "#0891b2", "#9f1239", "#4b5563")


def render_frame(scenario: Scenario, views: Record, mode: str) -> Any:
    """A frame of one fleet.

    Args:
        scenario: the world.
        views: what the fleet's brain could see at every tick since the episode began, the latest last, `[T, V]`.
        mode: `ansi` for text, `rgb_array` for `[height, width, 3]` of uint8.
    """
    return {"ansi": text_frame, "rgb_array": picture_frame}[mode](scenario, views)


def text_frame(scenario: Scenario, views: Record) -> str:
    """The latest tick as a table of sites and one of pools."""
    now = Record(views.layout, views.rows[-1:])
    time_s = _time_s(scenario, now)[0]
    width = max(len(name) for name in ("site", *scenario.sites, *scenario.pools)) + 2
    lines = [f"{scenario.name}  {time_s:.0f} s of {scenario.horizon_s:.0f} s", ""]
    lines.append(f"{'site':<{width}}{'power against cap':<{BAR_CELLS + 4}}{'MW':>7} {'cap MW':>7}  state")
    for s, site in enumerate(scenario.sites):
        power_w, cap_w = now["site_power_w"][0, s], now["cap_w"][0, s]
        bar = _bar(power_w / max(cap_w, 1.0))
        lines.append(f"{site:<{width}}{bar}  {power_w / 1e6:>7.3f} {cap_w / 1e6:>7.3f}  {_site_state(now, s)}")
    lines += ["", f"{'pool':<{width}}{'queue':>8}{'running':>9}{'clock':>8}{'awake':>9}{'kv':>7}{'kW':>9}"]
    for p, (name, pool) in enumerate(scenario.pools.items()):
        awake = f"{now['awake_replicas'][0, p]:.0f}/{pool.replicas}"
        lines.append(
            f"{name:<{width}}{now['waiting_requests'][0, p]:>8.0f}{now['running_requests'][0, p]:>9.0f}"
            f"{now['clock_fraction'][0, p]:>8.0%}{awake:>9}{now['kv_reserved_fraction'][0, p]:>7.0%}"
            f"{now['pool_power_w'][0, p] / 1e3:>9.1f}"
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


def _site_state(now: Record, s: int) -> str:
    if now["dark_remaining_s"][0, s] > 0.0:
        return f"DARK, boots in {now['dark_remaining_s'][0, s]:.0f} s"
    if now["braked"][0, s]:
        return "BRAKED"
    over_s = now["over_cap_s"][0, s]
    return f"above cap for {over_s:.0f} s" if over_s else "ok"


def _time_s(scenario: Scenario, views: Record) -> NDArray[np.float64]:
    elapsed: NDArray[np.float64] = views["time_fraction"].astype(np.float64) * scenario.horizon_s
    return elapsed


def picture_frame(scenario: Scenario, views: Record) -> NDArray[np.uint8]:
    """The episode so far as a picture, `[540, 960, 3]`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    time_s = _time_s(scenario, views)
    columns = figure.add_gridspec(1, 2, left=0.07, right=0.985, top=0.86, bottom=0.09, wspace=0.16, width_ratios=(1.25, 1))
    sites = columns[0].subgridspec(len(scenario.sites), 1, hspace=0.35)
    for s in range(len(scenario.sites)):
        _draw_site(figure.add_subplot(sites[s]), scenario, views, time_s, s)
    pools = columns[1].subgridspec(3, 1, hspace=0.35)
    panels = [figure.add_subplot(pools[row]) for row in range(3)]
    _draw_pools(panels, scenario, views, time_s)
    for axes in figure.axes:
        _finish(axes, scenario)
    _write_title(figure, scenario, views, time_s[-1])
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_site(axes: Axes, scenario: Scenario, views: Record, time_s: NDArray[np.float64], s: int) -> None:
    """Power under its cap; the announced cap ahead; braked and dark spells shaded."""
    unit_w, unit = _power_unit(views["cap_w"].max())
    power, cap = views["site_power_w"][:, s] / unit_w, views["cap_w"][:, s] / unit_w
    axes.fill_between(time_s, power, color=POWER, alpha=0.15, linewidth=0)
    axes.plot(time_s, power, color=POWER, linewidth=1.6, label="power")
    axes.fill_between(time_s, power, cap, where=power > cap, color=ALARM, alpha=0.55, linewidth=0, interpolate=True)
    axes.plot(time_s, cap, color=CAP, linewidth=1.4, drawstyle="steps-post", label="cap")
    ahead_s = time_s[-1] + np.array([0.0, *scenario.announced_lead_s])
    announced = np.concatenate([cap[-1:], views["announced_cap_w"][-1, s] / unit_w])
    axes.plot(ahead_s, announced, color=CAP, linewidth=1.2, linestyle=(0, (1.5, 1.5)), label="announced")
    for name, colour in (("braked", ALARM), ("dark_remaining_s", INK)):
        spell = views[name][:, s] > 0.0
        axes.fill_between(
            time_s, 0, 1, where=spell, color=colour, alpha=0.12, linewidth=0, transform=axes.get_xaxis_transform()
        )
    axes.set_ylim(0.0, 1.12 * max(cap.max(), power.max()))
    axes.set_title(f"{list(scenario.sites)[s]}, {unit}", loc="left")
    if s == 0:
        axes.legend(loc="lower left", bbox_to_anchor=(0.42, 0.985), ncols=3, frameon=False, fontsize=8, handlelength=1.6)


def _draw_pools(panels: list[Axes], scenario: Scenario, views: Record, time_s: NDArray[np.float64]) -> None:
    """Queues, clocks and awake replicas, one colour a pool."""
    shown = (
        ("waiting requests", views["waiting_requests"]),
        ("clock", views["clock_fraction"]),
        ("awake replicas", views["awake_replicas"] / np.array([pool.replicas for pool in scenario.pools.values()])),
    )
    for axes, (title, values) in zip(panels, shown, strict=True):
        axes.set_title(title, loc="left")
        for p, name in enumerate(scenario.pools):
            colour = POOL_COLOURS[p % len(POOL_COLOURS)]
            axes.plot(time_s, values[:, p], color=colour, linewidth=1.5, drawstyle="steps-post", label=name)
    panels[0].set_ylim(0.0, max(5.0, 1.1 * float(shown[0][1].max())))
    for axes in panels[1:]:
        axes.set_ylim(0.0, 1.08)
        axes.set_yticks([0.0, 0.5, 1.0], ["0", "50 %", "100 %"])
    panels[0].legend(
        loc="lower right", bbox_to_anchor=(1.01, 0.985), ncols=4, frameon=False, fontsize=8, handlelength=1.0, columnspacing=1.0
    )


def _finish(axes: Axes, scenario: Scenario) -> None:
    axes.set_xlim(0.0, scenario.horizon_s)
    axes.title.set(fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    last_row = axes.get_subplotspec()
    if last_row is not None and last_row.is_last_row():
        axes.set_xlabel("seconds", fontsize=8, color=MUTED)
    else:
        axes.tick_params(labelbottom=False)


def _write_title(figure: Figure, scenario: Scenario, views: Record, time_s: float) -> None:
    now = Record(views.layout, views.rows[-1:])
    states = [f"{site}: {_site_state(now, s)}" for s, site in enumerate(scenario.sites)]
    alarm = any(not state.endswith(" ok") for state in states)
    figure.text(0.02, 0.945, f"tokenfleet / {scenario.name}", fontsize=12, color=INK, weight="bold")
    figure.text(0.985, 0.945, f"{time_s:.0f} s of {scenario.horizon_s:.0f} s", fontsize=10, color=MUTED, ha="right")
    figure.text(0.5, 0.945, "   ".join(states), fontsize=9, color=ALARM if alarm else MUTED, ha="center")


def _power_unit(highest_w: float) -> tuple[float, str]:
    return (1e6, "MW") if highest_w >= 1e6 else (1e3, "kW")
