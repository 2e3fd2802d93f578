"""Draw the demand for docs/workloads.md: `python tools/demand_figures.py docs/images`.

Four pictures: how bursty each process is; the invented agent beside the recorded ones; one recorded session; what a
fleet computes with and without reuse.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tokenfleet.envs.commands import typed_path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from calibration.fit.demand import agents, sessions  # noqa: E402
from tokenfleet.envs.catalog import load_sessions, load_trace  # noqa: E402
from tokenfleet.envs.demand.counts import fano_factor  # noqa: E402
from tokenfleet.envs.layers.agents import (  # noqa: E402
    HawkesStream,
    MmppStream,
    PoissonStream,
    ServeGenStream,
    TokenLengthSpec,
)
from tokenfleet.evaluation.style import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, house_style, new_figure  # noqa: E402

DPI = 100
SESSION_LEGEND = (
    Line2D([], [], color=BLUE, label="the session's context"),
    Line2D([], [], color=ORANGE, label="a sub-agent's"),
    Line2D([], [], color=INK, label="new in a prompt"),
    Line2D([], [], color=GREEN, marker="^", linestyle="", label="a person speaks"),
)
LENGTH = TokenLengthSpec(median_tokens=1, sigma=0)
SHOWN = 28  # a session of the record with two rounds of sub-agents


def main() -> None:
    """Write every picture."""
    folder = typed_path(__doc__, "the folder of the pictures")
    with house_style():
        pictures = (("burstiness", _burstiness), ("agents", _agents), ("session", _session), ("reuse", _reuse))
        for name, draw in pictures:
            draw().savefig(folder / f"workloads-{name}.png", dpi=DPI)


def _burstiness() -> Figure:
    """Fano factor by window: recorded chat, and the shipped processes at its rate."""
    rate_rps = load_trace("azure-chat-2023").mean_rate_rps
    lengths = {"prompt": LENGTH, "output": LENGTH}
    streams = {
        "hawkes (default)": (HawkesStream(request_class="a", rate_rps=rate_rps, **lengths), BLUE),
        "servegen, at the same rate": (ServeGenStream(request_class="a", rate_rps=rate_rps), GREEN),
        "mmpp of scenario default": (
            MmppStream(
                request_class="a",
                quiet_rate_rps=1.0,
                burst_rate_rps=14.0,
                mean_quiet_s=40.0,
                mean_burst_s=10.0,
                **lengths,
            ),
            PURPLE,
        ),
        "poisson": (PoissonStream(request_class="a", rate_rps=rate_rps, **lengths), MUTED),
    }
    windows_s = np.array([0.5, 1, 2, 5, 10, 20, 30, 60])
    figure, axes = new_figure(1, 1, 7.0, 4.2)
    ax = axes[0, 0]
    for name, (stream, colour) in streams.items():
        draws = [stream.sample(np.random.default_rng(seed), 3500.0, "train").arrival_s for seed in range(40)]
        factors = [[fano_factor(a, w, 3500.0) for w in windows_s] for a in draws]
        low, middle, high = np.quantile(factors, [0.1, 0.5, 0.9], axis=0)
        ax.plot(windows_s, middle, color=colour, label=name)
        ax.fill_between(windows_s, low, high, color=colour, alpha=0.15, linewidth=0)
    recorded = load_trace("azure-chat-2023").arrival_s
    ax.plot(
        windows_s,
        [fano_factor(recorded, w, recorded[-1]) for w in windows_s],
        "o",
        color=INK,
        label="Azure chat, recorded",
    )
    ax.set(xscale="log", yscale="log", xlabel="window [s]", ylabel="variance / mean of counts")
    ax.set_title("Burstiness of one hour (band: 10th to 90th percentile of 40 draws)")
    ax.legend()
    return figure


def _agents() -> Figure:
    """Distributions of recorded and invented sessions."""
    record = load_sessions("coding-agents")
    columns = {
        "recorded, train": (sessions.statistics(record, "train"), ORANGE),
        "recorded, validation": (sessions.statistics(record, "validation"), GREEN),
        "invented": (sessions.statistics(agents.generated(), "train"), BLUE),
    }
    figure, axes = new_figure(2, 3, 10.0, 5.6)
    titles = (
        "calls of a session",
        "prompt [tokens]",
        "new in a prompt [tokens]",
        "answer [tokens]",
        "tool wait [s]",
        "think time [s]",
    )
    for ax, quantity, title in zip(axes.ravel(), sessions.Statistics._fields[:6], titles, strict=True):
        for name, (found, colour) in columns.items():
            values = np.sort(np.maximum(getattr(found, quantity), 1.0))
            ax.plot(values, (np.arange(len(values)) + 0.5) / len(values), color=colour, label=name)
        ax.set(xscale="log", title=title, ylim=(0, 1))
    axes[0, 0].legend()
    axes[0, 0].set_ylabel("share below")
    axes[1, 0].set_ylabel("share below")
    return figure


def _session() -> Figure:
    """One session: its context over time, sub-agents beside it, and what of each prompt is new."""
    record = load_sessions("coding-agents")
    number = int(np.unique(record.session[record.conversation >= 2])[SHOWN % 7])
    rows = np.arange(record.first_call[number], record.first_call[number + 1])[:80]
    at_s = record.recorded_s[rows] - record.recorded_s[rows[0]]
    figure, axes = new_figure(1, 1, 9.0, 4.2)
    ax = axes[0, 0]
    for conversation in np.unique(record.conversation[rows]):
        mine = record.conversation[rows] == conversation
        colour = BLUE if conversation == 0 else ORANGE
        ax.step(at_s[mine] / 60, record.prompt_tokens[rows[mine]] / 1e3, where="post", color=colour, linewidth=1.2)
        new = (record.prompt_tokens - record.reusable_tokens)[rows[mine]] / 1e3
        ax.vlines(
            at_s[mine] / 60,
            record.prompt_tokens[rows[mine]] / 1e3 - new,
            record.prompt_tokens[rows[mine]] / 1e3,
            color=INK,
            linewidth=1.6,
        )
    people = rows[record.begins_turn[rows] == 1]
    ax.plot(
        (record.recorded_s[people] - record.recorded_s[rows[0]]) / 60,
        np.zeros(len(people)),
        "^",
        color=GREEN,
        clip_on=False,
    )
    ax.set(xlabel="minutes since the session's start", ylabel="prompt [thousand tokens]", ylim=(0, None))
    ax.set_title("A recorded session")
    ax.legend(handles=list(SESSION_LEGEND), loc="lower right")
    return figure


def _reuse() -> Figure:
    """Tokens to prefill: whole prompts over what is left when a conversation's cache is kept."""
    record = load_sessions("coding-agents")
    figure, axes = new_figure(1, 1, 6.4, 3.6)
    ax = axes[0, 0]
    groups = {split: record.calls_of(split) for split in ("train", "validation", "test")}
    invented = agents.generated()
    names, times = [], []
    for name, trace, rows in [
        *((s, record, r) for s, r in groups.items()),
        ("invented", invented, invented.calls_of("train")),
    ]:
        main = rows[trace.conversation[rows] == 0]
        names.append(name)
        times.append(sessions.prefill_overstatement(trace, main))
    ax.barh(names[::-1], times[::-1], color=[BLUE, ORANGE, ORANGE, ORANGE])
    for place, value in enumerate(times[::-1]):
        ax.text(value + 0.4, place, f"{value:.1f}", va="center")
    ax.set(xlabel="prefilled tokens without reuse / with reuse", xlim=(0, max(times) * 1.15))
    ax.set_title("Coding agents: what ignoring the prefix costs")
    return figure


if __name__ == "__main__":
    main()
