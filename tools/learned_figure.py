"""Draw what a learned policy does that a rule does not: `python tools/learned_figure.py docs/images/learned.png`.

`retry-storm` under the best rule and under what was learned there: what each site draws, and the share of requests
that are in time. Of twenty test episodes it is the one with the median difference in what the two earn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import AutoresetMode

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation import Candidate, evaluate_policy, record_timeline
from tokenfleet.evaluation.figures import draw_power_area
from tokenfleet.evaluation.style import GREEN, MUTED, house_style, new_figure, save
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenfleet.evaluation.timeline import Timeline

SCENARIO = "retry-storm"
POLICIES = {
    "supervisor": "The best rule",
    f"pretrained/{SCENARIO}": "Learned",
}
EPISODES, SEED = 20, 0
WINDOW_S = 60.0
"""Over which the share in time is averaged."""


@dataclass(frozen=True)
class Run:
    """One test episode under a policy, tick by tick, and what it earned [USD]."""

    timeline: Timeline
    usd: float


def main() -> None:
    """Find the episode, run it under both policies, and draw it."""
    path = typed_path(__doc__, "the picture to write")
    rows = [evaluate_policy(make_env, candidate(policy), EPISODES, SEED) for policy in POLICIES]
    usd = np.array([[row.metrics["net_value_usd"] for row in of_policy] for of_policy in rows])
    median = int(np.argsort(usd[1] - usd[0])[EPISODES // 2])
    seed = rows[0][median].seed
    timelines = [record_timeline(make_env, candidate(policy), seed) for policy in POLICIES]
    runs = [Run(timeline, float(earned)) for timeline, earned in zip(timelines, usd[:, median], strict=True)]
    sites = timelines[0].sites
    with house_style():
        figure, panels = new_figure(len(sites) + 1, len(runs), 10.0, 5.6, sharex=True, sharey="row")
        for column, one in enumerate(runs):
            for site in range(len(sites)):
                draw_power_area(panels[site, column], one.timeline, site)
            draw_in_time(panels[-1, column], one.timeline)
            tell(panels[0, column], one)
        for row, label in enumerate([*(f"{site} [kW]" for site in sites), "in time [%]"]):
            panels[row, 0].set_ylabel(label)
            panels[row, 0].set_ylim(bottom=0.0)
        panels[-1, -1].legend(*panels[0, 0].get_legend_handles_labels(), loc="lower center", ncols=3)
        save(figure, path)


def make_env(count: int) -> FleetVectorEnv:
    """Test episodes."""
    return FleetVectorEnv(SCENARIO, count, split="test", autoreset_mode=AutoresetMode.NEXT_STEP)


def candidate(policy: str) -> Candidate:
    """A policy by name."""
    env = make_env(1)
    made = Candidate(make_policy(policy, PolicyContext.from_env(env)), policy)
    env.close()
    return made


def tell(axes: Axes, one: Run) -> None:
    """Write above a column whose run it is, what the run earned, and how many requests were in time."""
    timeline = one.timeline
    in_slo = timeline.completed_in_slo.sum() / timeline.arrived.sum()
    dark_s = (timeline.power_w == 0.0).sum() * timeline.tick_s
    axes.set_title(f"{POLICIES[timeline.policy]}: {one.usd:.2f} USD", pad=18)
    told = f"{100 * in_slo:.0f} % of requests in time, {dark_s:.0f} s of a site without power"
    axes.text(0.0, 1.05, told, transform=axes.transAxes, color=MUTED, fontsize=9)


def draw_in_time(axes: Axes, timeline: Timeline) -> None:
    """Requests answered in time over requests arrived, in the window before each tick."""
    ticks = round(WINDOW_S / timeline.tick_s)
    in_time, arrived = (
        np.convolve(counts.sum(axis=1), np.ones(ticks))[: len(counts)]
        for counts in (timeline.completed_in_slo, timeline.arrived)
    )
    percent = 100.0 * np.minimum(in_time / np.maximum(arrived, 1.0), 1.0)
    axes.stairs(percent, np.arange(len(percent) + 1) * timeline.tick_s, baseline=None, color=GREEN, linewidth=1.8)
    axes.set_ylim(0.0, 105.0)
    axes.set_xlabel("time in the episode [s]")


if __name__ == "__main__":
    main()
