"""Draw what a learned policy does that a rule does not: `python tools/learned_figure.py docs/images/learned.png`.

One test episode of `rolling-outage` under the best rule and under what was learned there: what each site draws, and how
many requests wait.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import AutoresetMode

from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation import Candidate, record_timeline
from tokenfleet.evaluation.style import BLUE, INK, MUTED, ORANGE, RED, house_style, new_figure, save
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenfleet.evaluation.timeline import Timeline

SCENARIO = "rolling-outage"
SEED = 0
POLICIES = {"tuned/rolling-outage/rule": "The best rule, tuned", "pretrained/rolling-outage": "Learned feedback"}


@dataclass(frozen=True)
class Run:
    """One test episode under a policy, tick by tick, and what it earned [USD]."""

    timeline: Timeline
    usd: float


def main() -> None:
    """Run the episode under both policies and draw it."""
    runs = [run(policy) for policy in POLICIES]
    sites = runs[0].timeline.sites
    with house_style():
        figure, panels = new_figure(len(sites) + 1, len(runs), 10.0, 5.6, sharex=True, sharey="row")
        for column, one in enumerate(runs):
            for site, name in enumerate(sites):
                draw_power(panels[site, column], one.timeline, site)
                panels[site, 0].set_ylabel(f"{name} [kW]")
            draw_waiting(panels[-1, column], one.timeline)
            tell(panels[0, column], one)
        panels[-1, 0].set_ylabel("requests that wait")
        panels[0, -1].legend(loc="upper right", ncols=4)
        save(figure, Path(sys.argv[1]))


def run(policy: str) -> Run:
    """The episode under a policy."""
    make_env = partial(FleetVectorEnv, SCENARIO, split="test", autoreset_mode=AutoresetMode.NEXT_STEP)
    env = make_env(num_envs=1)
    candidate = Candidate(make_policy(policy, PolicyContext.from_env(env)), policy)
    env.close()
    timeline = record_timeline(lambda count: make_env(num_envs=count), candidate, SEED)
    return Run(timeline, 0.0)


def tell(axes: Axes, one: Run) -> None:
    """Who it is, and what came of it."""
    timeline = one.timeline
    in_slo = timeline.completed_in_slo.sum() / timeline.arrived.sum()
    braked_s = (timeline.braked > 0.0).sum() * timeline.tick_s
    axes.set_title(f"{POLICIES[timeline.policy]}: {100 * in_slo:.0f} % of requests in time", pad=18)
    told = f"{braked_s:.0f} s under the brake"
    axes.text(0.0, 1.05, told, transform=axes.transAxes, color=MUTED, fontsize=9)


def draw_power(axes: Axes, timeline: Timeline, site: int) -> None:
    """Power and cap of a site; red where power is above the cap, orange where the brake holds clocks down."""
    power_kw, cap_kw = timeline.power_w[:, site] / 1e3, timeline.cap_w[:, site] / 1e3
    edges_s = np.arange(len(power_kw) + 1) * timeline.tick_s
    axes.stairs(power_kw, edges_s, baseline=0.0, fill=True, color=BLUE, alpha=0.35, linewidth=0, label="power")
    above = np.where(power_kw > cap_kw, power_kw, np.nan)
    axes.stairs(above, edges_s, baseline=cap_kw, fill=True, color=RED, linewidth=0, label="above the cap")
    axes.stairs(cap_kw, edges_s, baseline=None, color=INK, linewidth=1.8, label="cap")
    axes.set_xlim(0.0, edges_s[-1])
    axes.set_ylim(bottom=0.0)


def draw_waiting(axes: Axes, timeline: Timeline) -> None:
    """Requests in the queues of all replicas."""
    waiting = timeline.queued_requests.sum(axis=1)
    axes.stairs(
        waiting, np.arange(len(waiting) + 1) * timeline.tick_s, baseline=0.0, fill=True, color=ORANGE, linewidth=0
    )
    axes.set_xlabel("time in the episode [s]")


if __name__ == "__main__":
    main()
