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

FloatArray = NDArray[np.float64]

BAR_CELLS = 24
TITLE_SIZE = 9
DOTS_PER_INCH = 100
POOLS_PER_LEGEND_ROW = 4
SIZE_INCHES = (10.8, 6.4)

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
POWER, CAP, ALARM = "#2563eb", "#1f2933", "#dc2626"
DOTTED = (0, (1.5, 1.5))
ENDING_COLOURS = {"in SLO": "#16a34a", "late": "#f59e0b", "lost": "#dc2626"}
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
    unit_w, unit = _power_unit(float(now["cap_w"].max()))
    lines.append(f"{'site':<{width}}{'power against cap':<{BAR_CELLS + 5}}{unit:>7}{'cap ' + unit:>9}  state")
    for s, site in enumerate(scenario.sites):
        power_w, cap_w = now["site_power_w"][0, s], now["cap_w"][0, s]
        bar = _bar(power_w / max(cap_w, 1.0))
        lines.append(f"{site:<{width}}{bar}  {power_w / unit_w:>7.2f}{cap_w / unit_w:>9.2f}  {_site_state(now, s)}")
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


def _time_s(scenario: Scenario, views: Record) -> FloatArray:
    elapsed: FloatArray = views["time_fraction"].astype(np.float64) * scenario.horizon_s
    return elapsed


def picture_frame(scenario: Scenario, views: Record) -> NDArray[np.uint8]:
    """The episode so far as a picture, `[640, 1080, 3]`: sites on the left, pools and requests on the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    time_s = _time_s(scenario, views)
    extra_legend_rows = (len(scenario.pools) - 1) // POOLS_PER_LEGEND_ROW
    columns = figure.add_gridspec(
        1,
        2,
        left=0.05,
        right=0.985,
        top=0.855 - 0.025 * extra_legend_rows,
        bottom=0.075,
        wspace=0.13,
        width_ratios=(1.2, 1),
    )
    sites = columns[0].subgridspec(len(scenario.sites), 1, hspace=0.2)
    for s in range(len(scenario.sites)):
        _draw_site(figure.add_subplot(sites[s]), scenario, views, time_s, s)
    rows = columns[1].subgridspec(4, 1, hspace=0.34)
    panels = [figure.add_subplot(rows[row]) for row in range(4)]
    _draw_pools(panels[:3], scenario, views, time_s)
    _draw_endings(panels[3], views, time_s)
    for axes in figure.axes:
        _finish(axes, scenario)
    _write_header(figure, scenario, time_s[-1])
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _steps(time_s: FloatArray, values: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Corners of the staircase that holds `values[i]` from `time_s[i]` to `time_s[i + 1]`."""
    return np.repeat(time_s, 2)[1:-1], np.repeat(values.astype(np.float64), 2)


def _draw_site(axes: Axes, scenario: Scenario, views: Record, time_s: FloatArray, s: int) -> None:
    """Power under its cap; the announced cap ahead; braked and dark spells shaded."""
    unit_w, unit = _power_unit(float(views["cap_w"].max()))
    step_s, power = _steps(time_s, views["site_power_w"][1:, s] / unit_w)
    _, cap = _steps(time_s, views["cap_w"][:-1, s] / unit_w)
    axes.fill_between(step_s, power, color=POWER, alpha=0.14, linewidth=0)
    axes.fill_between(step_s, cap, power, where=(power > cap).tolist(), color=ALARM, alpha=0.5, linewidth=0)
    axes.plot(step_s, power, color=POWER, linewidth=1.4)
    axes.plot(step_s, cap, color=CAP, linewidth=1.4)
    ahead_s = time_s[-1] + np.array([0.0, *scenario.announced_lead_s])
    announced = np.concatenate([views["cap_w"][-1:, s], views["announced_cap_w"][-1, s]]) / unit_w
    axes.plot(ahead_s, announced, color=CAP, linewidth=1.4, linestyle=DOTTED)
    for name, colour in (("braked", ALARM), ("dark_remaining_s", INK)):
        _, spell = _steps(time_s, views[name][:-1, s] > 0.0)
        height = axes.get_xaxis_transform()
        axes.fill_between(
            step_s, 0, 1, where=(spell > 0).tolist(), color=colour, alpha=0.12, linewidth=0, transform=height
        )
    axes.set_ylim(0.0, 1.12 * float(np.concatenate([announced, cap, power]).max()))
    axes.set_title(f"{list(scenario.sites)[s]}: power [{unit}]", loc="left", fontsize=TITLE_SIZE)
    state = _site_state(Record(views.layout, views.rows[-1:]), s)
    axes.set_title(state, loc="right", fontsize=TITLE_SIZE, color=MUTED if state == "ok" else ALARM)


def _draw_pools(panels: list[Axes], scenario: Scenario, views: Record, time_s: FloatArray) -> None:
    """Queues, clocks and awake replicas, one colour a pool."""
    replicas = np.array([pool.replicas for pool in scenario.pools.values()])
    waiting, clock, awake = panels
    for p in range(len(scenario.pools)):
        style: dict[str, Any] = {"color": POOL_COLOURS[p % len(POOL_COLOURS)], "linewidth": 1.4}
        waiting.plot(time_s, views["waiting_requests"][:, p], **style)
        clock.plot(*_steps(time_s, views["clock_fraction"][1:, p]), **style)
        awake.plot(*_steps(time_s, views["awake_replicas"][1:, p] / replicas[p]), **style)
    waiting.set_title("waiting requests", loc="left", fontsize=TITLE_SIZE)
    waiting.set_ylim(0.0, max(5.0, 1.1 * float(views["waiting_requests"].max())))
    for axes, title in ((clock, "clock"), (awake, "awake replicas")):
        axes.set_title(title, loc="left", fontsize=TITLE_SIZE)
        axes.set_ylim(0.0, 1.08)
        axes.set_yticks([0.0, 0.5, 1.0], ["0", "50 %", "100 %"])


def _draw_endings(axes: Axes, views: Record, time_s: FloatArray) -> None:
    """How requests ended in each tick, stacked."""
    step_s, in_slo = _steps(time_s, views["completed_in_slo"][1:].sum(axis=1))
    _, late = _steps(time_s, views["completed_late"][1:].sum(axis=1))
    _, lost = _steps(time_s, (views["refused"] + views["expired"])[1:].sum(axis=1))
    axes.stackplot(step_s, in_slo, late, lost, colors=list(ENDING_COLOURS.values()), alpha=0.75, linewidth=0)
    axes.set_title("requests ended in a tick", loc="left", fontsize=TITLE_SIZE)
    axes.set_ylim(0.0, max(5.0, 1.1 * float((in_slo + late + lost).max(initial=0.0))))


def _finish(axes: Axes, scenario: Scenario) -> None:
    axes.set_xlim(0.0, scenario.horizon_s)
    axes.tick_params(labelsize=8, colors=MUTED, length=0)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    place = axes.get_subplotspec()
    if place is not None and place.is_last_row():
        axes.set_xlabel("seconds", fontsize=8, color=MUTED)
    else:
        axes.tick_params(labelbottom=False)


def _write_header(figure: Figure, scenario: Scenario, time_s: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(0.05, 0.95, f"tokenfleet: {scenario.name}", fontsize=12, color=INK, weight="bold")
    figure.text(0.985, 0.95, f"{time_s:.0f} s of {scenario.horizon_s:.0f} s", fontsize=10, color=MUTED, ha="right")
    power = [
        Line2D([], [], color=POWER, label="power"),
        Line2D([], [], color=CAP, label="cap"),
        Line2D([], [], color=CAP, linestyle=DOTTED, label="announced"),
        Patch(color=ALARM, alpha=0.5, label="above"),
        Patch(color=ALARM, alpha=0.12, label="braked"),
        *[Patch(color=colour, alpha=0.75, label=ending) for ending, colour in ENDING_COLOURS.items()],
    ]
    pools = [
        Line2D([], [], color=POOL_COLOURS[p % len(POOL_COLOURS)], label=name) for p, name in enumerate(scenario.pools)
    ]
    style: dict[str, Any] = {
        "frameon": False,
        "fontsize": 8,
        "handlelength": 1.2,
        "columnspacing": 1.2,
        "borderaxespad": 0.0,
    }
    figure.legend(handles=power, loc="upper left", bbox_to_anchor=(0.05, 0.925), ncols=len(power), **style)
    figure.legend(handles=pools, loc="upper right", bbox_to_anchor=(0.985, 0.925), ncols=POOLS_PER_LEGEND_ROW, **style)


def _power_unit(highest_w: float) -> tuple[float, str]:
    return (1e6, "MW") if highest_w >= 1e6 else (1e3, "kW")
