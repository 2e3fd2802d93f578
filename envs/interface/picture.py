"""A frame as a picture: power against the cap, queues, clocks and how requests ended, since the episode began.

Everything that does not change (axes, grids, titles, legends) is drawn once for each set of axis limits and kept as
pixels; a frame copies these pixels and draws the curves. Limits are round numbers that follow from the views alone:
they change seldom, and the same views give the same picture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from tokenfleet.envs.interface.frame_state import OK, FloatArray, power_unit, site_state, time_s
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

TITLE_SIZE = 9
DOTS_PER_INCH = 100
POOLS_PER_LEGEND_ROW = 4
SIZE_INCHES = (10.8, 6.4)
KEPT_BACKGROUNDS = 16
LINE_WIDTH = 1.4
FEWEST_REQUESTS = 5.0
ROUND_NUMBERS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
POWER, CAP, ALARM = "#2563eb", "#1f2933", "#dc2626"
DOTTED = (0, (1.5, 1.5))
ENDING_COLOURS = {"in SLO": "#16a34a", "late": "#f59e0b", "lost": "#dc2626"}
POOL_COLOURS = ("#0d9488", "#d97706", "#7c3aed", "#db2777", "#65a30d", "#0891b2", "#9f1239", "#4b5563")


class Picture:
    """A figure that is kept from frame to frame.

    Args:
        scenario: of the fleet.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
        self._canvas = FigureCanvasAgg(self._figure)
        self._moving: list[Artist] = []
        sites, (waiting, clock, awake, endings) = self._panels()
        nameplate_w = max(scenario.nameplate_w(name) for name in scenario.sites)
        self._unit_w, unit = power_unit(nameplate_w)
        self._sites = [
            _Site(self, axes, f"{name}: power [{unit}]") for axes, name in zip(sites, scenario.sites, strict=True)
        ]
        self._waiting = self._pool_lines(waiting, "waiting requests")
        self._clock, self._awake = self._pool_lines(clock, "clock"), self._pool_lines(awake, "awake replicas")
        for axes in (clock, awake):
            axes.set_ylim(0.0, 1.08)
            axes.set_yticks([0.0, 0.5, 1.0], ["0", "50 %", "100 %"])
        endings.set_title("requests ended in a tick", loc="left", fontsize=TITLE_SIZE)
        self._endings = [self.area(endings, colour, 0.75) for colour in ENDING_COLOURS.values()]
        self._scaled = (*sites, waiting, endings)
        for axes in self._figure.axes:
            _finish(axes, scenario)
        self._time = self._write_header()
        self._backgrounds: dict[tuple[float, ...], Any] = {}

    def draw(self, views: Record) -> NDArray[np.uint8]:
        """The episode so far, `[640, 1080, 3]`: sites on the left, pools and requests on the right.

        Args:
            views: what the fleet's policy could see at every tick since the episode began, the latest last, `[T, V]`.
        """
        elapsed_s = time_s(self._scenario, views)
        highest = [site.show(views, elapsed_s, s, self._unit_w) for s, site in enumerate(self._sites)]
        self._show_pools(views, elapsed_s)
        highest.append(max(FEWEST_REQUESTS, float(views["waiting_requests"].max())))
        highest.append(max(FEWEST_REQUESTS, self._show_endings(views, elapsed_s)))
        self._time.set_text(f"{elapsed_s[-1]:.0f} s of {self._scenario.horizon_s:.0f} s")
        self._canvas.restore_region(self._background(tuple(_round_up(1.05 * value) for value in highest)))  # type: ignore[no-untyped-call]
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        for artist in self._moving:
            artist.draw(renderer)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]

    def line(self, axes: Axes, colour: str, style: Any = "-") -> Line2D:
        """A curve that moves."""
        (line,) = axes.plot([], [], color=colour, linewidth=LINE_WIDTH, linestyle=style, animated=True)
        self._moving.append(line)
        return line

    def area(self, axes: Axes, colour: str, alpha: float, spans: bool = False) -> PolyCollection:
        """A filled area that moves; with `spans`, height counts from 0 at the panel's foot to 1 at its head."""
        transform = axes.get_xaxis_transform() if spans else axes.transData
        area = PolyCollection([], facecolor=colour, alpha=alpha, linewidth=0, transform=transform, animated=True)
        axes.add_collection(area, autolim=False)
        self._moving.append(area)
        return area

    def text(self, artist: Any) -> Any:
        """A text that moves."""
        artist.set_animated(True)
        self._moving.append(artist)
        return artist

    def _background(self, limits: tuple[float, ...]) -> Any:
        """The pixels of all that stands still, with these upper limits of the axes."""
        for axes, limit in zip(self._scaled, limits, strict=True):
            axes.set_ylim(0.0, limit)
        if limits not in self._backgrounds:
            if len(self._backgrounds) >= KEPT_BACKGROUNDS:
                self._backgrounds.clear()
            self._canvas.draw()  # type: ignore[no-untyped-call]
            self._backgrounds[limits] = self._canvas.copy_from_bbox(self._figure.bbox)  # type: ignore[no-untyped-call]
        return self._backgrounds[limits]

    def _panels(self) -> tuple[list[Axes], list[Axes]]:
        """One panel for each site on the left, four on the right."""
        extra_legend_rows = (len(self._scenario.pools) - 1) // POOLS_PER_LEGEND_ROW
        columns = self._figure.add_gridspec(
            1,
            2,
            left=0.05,
            right=0.985,
            top=0.855 - 0.025 * extra_legend_rows,
            bottom=0.075,
            wspace=0.13,
            width_ratios=(1.2, 1),
        )
        sites = columns[0].subgridspec(len(self._scenario.sites), 1, hspace=0.2)
        rows = columns[1].subgridspec(4, 1, hspace=0.34)
        return (
            [self._figure.add_subplot(sites[s]) for s in range(len(self._scenario.sites))],
            [self._figure.add_subplot(rows[row]) for row in range(4)],
        )

    def _pool_lines(self, axes: Axes, title: str) -> list[Line2D]:
        axes.set_title(title, loc="left", fontsize=TITLE_SIZE)
        return [self.line(axes, _pool_colour(p)) for p in range(len(self._scenario.pools))]

    def _show_pools(self, views: Record, elapsed_s: FloatArray) -> None:
        """Queues, clocks and awake replicas, one colour a pool."""
        for p, pool in enumerate(self._scenario.pools.values()):
            self._waiting[p].set_data(elapsed_s, views["waiting_requests"][:, p])
            self._clock[p].set_data(*_steps(elapsed_s, views["clock_fraction"][1:, p]))
            self._awake[p].set_data(*_steps(elapsed_s, views["awake_replicas"][1:, p] / pool.replicas))

    def _show_endings(self, views: Record, elapsed_s: FloatArray) -> float:
        """How requests ended in each tick, stacked; the most in a tick."""
        in_slo, late = (views[name][1:].sum(axis=1) for name in ("completed_in_slo", "completed_late"))
        lost = (views["refused"] + views["expired"])[1:].sum(axis=1)
        step_s = _steps(elapsed_s, lost)[0]
        foot = np.zeros(len(step_s))
        for area, ended in zip(self._endings, (in_slo, late, lost), strict=True):
            head = foot + _steps(elapsed_s, ended)[1]
            area.set_verts(_between(step_s, foot, head))
            foot = head
        return float(foot.max(initial=0.0))

    def _write_header(self) -> Any:
        """Name, legends and the time, which moves."""
        figure, scenario = self._figure, self._scenario
        figure.text(0.05, 0.95, f"tokenfleet: {scenario.name}", fontsize=12, color=INK, weight="bold")
        power = [
            Line2D([], [], color=POWER, label="power"),
            Line2D([], [], color=CAP, label="cap"),
            Line2D([], [], color=CAP, linestyle=DOTTED, label="announced"),
            Patch(color=ALARM, alpha=0.5, label="above"),
            Patch(color=ALARM, alpha=0.12, label="braked"),
            *[Patch(color=colour, alpha=0.75, label=ending) for ending, colour in ENDING_COLOURS.items()],
        ]
        pools = [Line2D([], [], color=_pool_colour(p), label=name) for p, name in enumerate(scenario.pools)]
        style: dict[str, Any] = {
            "frameon": False,
            "fontsize": 8,
            "handlelength": 1.2,
            "columnspacing": 1.2,
            "borderaxespad": 0.0,
        }
        figure.legend(handles=power, loc="upper left", bbox_to_anchor=(0.05, 0.925), ncols=len(power), **style)
        figure.legend(
            handles=pools, loc="upper right", bbox_to_anchor=(0.985, 0.925), ncols=POOLS_PER_LEGEND_ROW, **style
        )
        return self.text(figure.text(0.985, 0.95, "", fontsize=10, color=MUTED, ha="right"))


class _Site:
    """The panel of a site: power under its cap, the announced cap ahead; braked and dark spells shaded."""

    def __init__(self, picture: Picture, axes: Axes, title: str) -> None:
        self._spells = {
            name: picture.area(axes, colour, 0.12, spans=True)
            for name, colour in (("braked", ALARM), ("dark_remaining_s", INK))
        }
        self._under, self._above = picture.area(axes, POWER, 0.14), picture.area(axes, ALARM, 0.5)
        self._power, self._cap = picture.line(axes, POWER), picture.line(axes, CAP)
        self._announced = picture.line(axes, CAP, DOTTED)
        axes.set_title(title, loc="left", fontsize=TITLE_SIZE)
        self._state = picture.text(axes.set_title("", loc="right", fontsize=TITLE_SIZE))
        self._lead_s = np.array([0.0, *picture._scenario.announced_lead_s])

    def show(self, views: Record, elapsed_s: FloatArray, s: int, unit_w: float) -> float:
        """Bring the panel up to date; the highest power or cap in it."""
        step_s, power = _steps(elapsed_s, views["site_power_w"][1:, s] / unit_w)
        _, cap = _steps(elapsed_s, views["cap_w"][:-1, s] / unit_w)
        announced = np.concatenate([views["cap_w"][-1:, s], views["announced_cap_w"][-1, s]]) / unit_w
        self._under.set_verts(_between(step_s, np.zeros(len(step_s)), power))
        self._above.set_verts(_between(step_s, np.minimum(cap, power), power))
        self._power.set_data(step_s, power)
        self._cap.set_data(step_s, cap)
        self._announced.set_data(elapsed_s[-1] + self._lead_s, announced)
        for name, area in self._spells.items():
            _, spell = _steps(elapsed_s, views[name][:-1, s] > 0.0)
            area.set_verts(_between(step_s, np.zeros(len(step_s)), spell))
        state = site_state(views, s)
        self._state.set(text=state, color=MUTED if state == OK else ALARM)
        return float(np.concatenate([announced, cap, power]).max())


def _steps(elapsed_s: FloatArray, values: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Corners of the staircase that holds `values[i]` from `elapsed_s[i]` to `elapsed_s[i + 1]`."""
    return np.repeat(elapsed_s, 2)[1:-1], np.repeat(values.astype(np.float64), 2)


def _between(x: FloatArray, low: FloatArray, high: FloatArray) -> list[FloatArray]:
    """The polygon between two curves; none where there is no curve yet."""
    if not len(x) or not (high > low).any():
        return []
    return [np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])])]


def _round_up(value: float) -> float:
    """The least round number that is not below a positive `value`.

    >>> _round_up(0.9), _round_up(21.0), _round_up(2600.0)
    (1.0, 25.0, 3000.0)
    """
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(number * magnitude for number in ROUND_NUMBERS if number * magnitude >= value)


def _pool_colour(p: int) -> str:
    return POOL_COLOURS[p % len(POOL_COLOURS)]


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
