"""Draw the picture of the README: `python tools/curtailment_figure.py docs/images/curtailment.png`.

One test episode of `default` under two policies: what the east site draws while the grid takes a quarter of its power
away.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.vector import AutoresetMode

from tokenfleet.envs.commands import typed_path
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation import Candidate, record_timeline
from tokenfleet.evaluation.figures import draw_power_area
from tokenfleet.evaluation.style import MUTED, house_style, new_figure, save
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tokenfleet.evaluation.timeline import Timeline

SEED = 3
SITE = "east"
POLICIES = {
    "max_clock": "Ignore the cap",
    "feedback_capping": "Manage the power",
}


def main() -> None:
    """Run the episode under both policies and draw it."""
    path = typed_path(__doc__, "the picture to write")
    timelines = [timeline(policy) for policy in POLICIES]
    highest_kw = 1.05 * max(run.power_w[:, run.sites.index(SITE)].max() for run in timelines) / 1e3
    with house_style():
        figure, panels = new_figure(1, len(timelines), 10.0, 3.6, sharex=True, sharey=True)
        for axes, run in zip(panels[0], timelines, strict=True):
            draw(axes, run)
            axes.set_ylim(0.0, highest_kw)
        panels[0, 0].set_ylabel("power of one site [kW]")
        save(figure, path)


def timeline(policy: str) -> Timeline:
    """One test episode."""
    make_env = partial(FleetVectorEnv, "default", split="test", autoreset_mode=AutoresetMode.NEXT_STEP)
    env = make_env(num_envs=1)
    candidate = Candidate(make_policy(policy, PolicyContext.from_env(env)), policy)
    env.close()
    return record_timeline(lambda count: make_env(num_envs=count), candidate, SEED)


def draw(axes: Axes, run: Timeline) -> None:
    """Power and cap of the site; red where power is above the cap."""
    site = run.sites.index(SITE)
    power_kw, cap_kw = run.power_w[:, site] / 1e3, run.cap_w[:, site] / 1e3
    draw_power_area(axes, run, site)
    in_slo = run.completed_in_slo.sum() / run.arrived.sum()
    axes.set_title(f"{POLICIES[run.policy]}: {100 * in_slo:.0f} % of requests in time", pad=18)
    above_s = (power_kw > cap_kw).sum() * run.tick_s
    told = f"{run.policy}: {above_s:.0f} s above the cap, {braked_s(run, site):.0f} s under the brake"
    axes.text(0.0, 1.03, told, transform=axes.transAxes, color=MUTED, fontsize=9)
    lowest_kw = cap_kw.min()
    middle_s = np.flatnonzero(cap_kw == lowest_kw).mean() * run.tick_s
    axes.text(
        middle_s,
        (lowest_kw + cap_kw.max()) / 2,
        f"the grid asks\nfor {100 * (1 - lowest_kw / cap_kw.max()):.0f} % less",
        ha="center",
        va="center",
    )
    axes.legend(loc="lower center", ncols=3)
    axes.set_xlabel("time in the episode [s]")


def braked_s(run: Timeline, site: int) -> float:
    """How long the brake held the clocks of the site down."""
    return float((run.braked[:, site] > 0.0).sum() * run.tick_s)


if __name__ == "__main__":
    main()
