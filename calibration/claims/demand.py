"""Claims of layer 7: what records say beside what streams draw.

A process fitted to the one recorded hour of Azure chat is judged on that hour. The users' command of fitting is judged
on an unseen part of a record. The invented agent is judged on the validation split, which took no part in the fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from calibration.claims.comparison import Claim, Comparison
from calibration.fit.demand import arrivals, streams
from calibration.fit.demand.agents import generated
from calibration.fit.demand.sessions import Statistics, prefill_overstatement, statistics
from tokenfleet.envs.catalog import load_clients, load_sessions, load_trace
from tokenfleet.envs.demand.cascade_fit import Counted
from tokenfleet.envs.demand.counts import fano_factor
from tokenfleet.envs.demand.fit import on_a_fine_clock
from tokenfleet.envs.demand.judge import HELD_OUT, Judged, judge
from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.agents import DemandSpec, HawkesStream, ServeGenStream, TokenLengthSpec
from tokenfleet.envs.traces import Trace

QUARTILES = (0.25, 0.5, 0.75)
QUANTITIES = ("calls_per_session", "prompt_tokens", "new_tokens", "output_tokens", "tool_wait_s")
SHARES = ("reusable_share", "busy_share", "calls_per_turn", "resets_per_call")
PUBLISHED_OVERSTATEMENT = 27.0
FITTED_WINDOWS_S = (1.0, 10.0, 60.0, 600.0)
HOURS = 300


def chat_burstiness() -> Comparison:
    """Fano factors of an hour of Azure chat, and the median of those of 60 hours of the fitted process."""
    recorded = arrivals.recorded_fano_factors()
    length = TokenLengthSpec(median_tokens=1, sigma=0)
    rate_rps = load_trace("azure-chat-2023").mean_rate_rps
    stream = HawkesStream(request_class="chat", rate_rps=rate_rps, prompt=length, output=length)
    drawn = arrivals.generated_fano_factors(stream, 60, 3500.0)
    medians = np.array([np.median(drawn[window_s]) for window_s in recorded])
    return Comparison(np.array(list(recorded.values())), medians, tuple(f"{window_s:g} s" for window_s in recorded))


def week_burstiness() -> Comparison:
    """Fano factors in windows of ten minutes of the recorded clients' week, and of draws of it."""
    drawn = arrivals.drawn_servegen_fano_factors(3.0, 4)
    recorded = np.full(len(drawn), arrivals.servegen_fano_factor(3.0))
    return Comparison(recorded, drawn, tuple(f"draw {number}" for number in range(len(drawn))))


def coding_burstiness() -> Comparison:
    """Fano factors of the recorded hour of coding, and the means of those of 300 such hours of the fitted stream."""
    return _drawn_beside(streams.recorded_counts(), streams.coding(), streams.CODING_CLOCK_S)


def fitted_chat_burstiness() -> Comparison:
    """The same of chat, ten minutes included."""
    arrival_s = load_trace("azure-chat-2023").arrival_s
    span_s = float(arrival_s[-1])
    fano = np.array([fano_factor(arrival_s, window_s, span_s) for window_s in FITTED_WINDOWS_S])
    windows_s = np.array(FITTED_WINDOWS_S)
    counted = Counted(len(arrival_s) / span_s, span_s, windows_s, fano, span_s / windows_s)
    return _drawn_beside(counted, streams.chat(), 0.0)


def held_out_bursts() -> Comparison:
    """Fano factors and rates of the last 40 % of records, and of draws of a fit to the first 60 %."""
    return _held_out(lambda name: name == "rate_rps" or name.startswith("fano_"))


def held_out_lengths() -> Comparison:
    """Means and quartiles of prompts and answers of the same."""
    return _held_out(lambda name: name.endswith(("_mean", "_25_pct", "_50_pct", "_75_pct")))


def invented_sessions() -> Comparison:
    """Quartiles of the invented agent's sessions, and of the validation split."""

    def quartiles(found: Statistics) -> Array:
        return np.concatenate([np.quantile(getattr(found, name), QUARTILES) for name in QUANTITIES])

    names = tuple(f"{name} {p:.0%}" for name in QUANTITIES for p in QUARTILES)
    return Comparison(quartiles(_recorded()), quartiles(_invented()), names)


def invented_shares() -> Comparison:
    """Shares and odds of the invented agent, and of the validation split."""

    def shares(found: Statistics) -> Array:
        return np.array([getattr(found, name) for name in SHARES])

    return Comparison(shares(_recorded()), shares(_invented()), SHARES)


def prefix_reuse() -> Comparison:
    """How many times as many tokens are prefilled without reuse: as published, recorded and invented."""
    record, invented = load_sessions("coding-agents"), generated()
    calls = (record, np.flatnonzero(record.conversation == 0)), (invented, invented.calls_of("train"))
    found = np.array([prefill_overstatement(*each) for each in calls])
    return Comparison(np.full(2, PUBLISHED_OVERSTATEMENT), found, ("recorded", "invented"))


CLAIMS = (
    Claim(
        "coding burstiness", coding_burstiness, 0.1, of_each=True,
        judged_by="stream fitted, demand azure-coding, is on and off as the hour of coding whose Fano factors its "
        "bursts are fitted to",
    ),
    Claim(
        "chat burstiness, fitted", fitted_chat_burstiness, 0.15, of_each=True,
        judged_by="stream fitted, demand azure-chat, is as bursty as the hour of chat that it is fitted to",
    ),
    Claim(
        "bursts held out", held_out_bursts, 0.25,
        judged_by="stream fitted, fitted to the first 60 % of an hour of chat, 40 minutes of chat and a week of "
        "clients, judged by the rest",
    ),
    Claim("lengths held out", held_out_lengths, 0.15, judged_by="the same streams, judged by the same rest"),
    Claim(
        "chat burstiness", chat_burstiness, 0.2, of_each=True,
        judged_by="stream hawkes is as bursty as the hour of chat that its two parameters are fitted to",
    ),
    Claim(
        "week burstiness", week_burstiness, 0.2, of_each=True,
        judged_by="stream servegen is as bursty over ten minutes as the recorded rates and gaps make it; nothing is "
        "fitted here",
    ),
    Claim(
        "invented sessions", invented_sessions, 0.2, of_each=True,
        judged_by="stream agent_generator, fitted to the training split, has the quartiles of the validation split",
    ),
    Claim(
        "invented shares", invented_shares, 0.15, of_each=True,
        judged_by="stream agent_generator, fitted to the training split, reuses, waits and begins anew as the "
        "validation split",
    ),
    Claim(
        "prefix reuse", prefix_reuse, 0.1, of_each=True,
        judged_by="ignoring prefix reuse overstates what coding agents prefill 27 times",
    ),
)  # fmt: skip


def _drawn_beside(counted: Counted, demand: DemandSpec, clock_s: float) -> Comparison:
    """Recorded Fano factors, and the means over draws as long as the record."""
    rngs = np.random.default_rng(0).spawn(HOURS)
    draws = [demand.sample_arrivals(rng, counted.span_s, clock_s) for rng in rngs]
    found = [
        float(np.mean([fano_factor(arrival_s, window_s, counted.span_s) for arrival_s in draws]))
        for window_s in counted.window_s.tolist()
    ]
    return Comparison(counted.fano, np.array(found), tuple(f"{window_s:g} s" for window_s in counted.window_s))


def _held_out(chosen: Callable[[str], bool]) -> Comparison:
    found = [(name, one) for name, judged in _judged().items() for one in judged.compared if chosen(one.name)]
    measured, predicted = (np.array([getattr(one, side) for _, one in found]) for side in ("recorded", "middle"))
    return Comparison(measured, predicted, tuple(f"{name}, {one.name}" for name, one in found))


@cache
def _judged() -> dict[str, Judged]:
    """Record -> a fit to its first part, and what it makes of the rest."""
    chat, mooncake = load_trace("azure-chat-2023"), load_sessions("mooncake-chat")
    made_s = mooncake.start_s[mooncake.session] + mooncake.recorded_s
    records = {
        "chat 2023": chat,
        "Mooncake": _in_order(made_s, mooncake.prompt_tokens, mooncake.output_tokens),
        "clients": _in_order(*_week_of_clients()),
    }
    return {name: judge("held-out", on_a_fine_clock(trace), None, 1.0 - HELD_OUT) for name, trace in records.items()}


def _week_of_clients() -> tuple[Array, NDArray[np.int32], NDArray[np.int32]]:
    """Arrivals and lengths of the recorded clients, their whole week drawn once."""
    stream, rng = ServeGenStream(request_class="chat", rate_rps=0.5), np.random.default_rng(0)
    demand = stream.sample(rng, load_clients(stream.clients).span_s - 1.0, "train")
    return demand.arrival_s, demand.prompt_tokens, demand.output_tokens


def _in_order(arrival_s: Array, prompt_tokens: NDArray[np.int32], output_tokens: NDArray[np.int32]) -> Trace:
    order = np.argsort(arrival_s, kind="stable")
    return Trace("record", arrival_s[order] - arrival_s.min(), prompt_tokens[order], output_tokens[order])


def _recorded() -> Statistics:
    return statistics(load_sessions("coding-agents"), "validation")


def _invented() -> Statistics:
    return statistics(generated(), "train")
