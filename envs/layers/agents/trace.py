"""Windows of a recorded trace of independent requests."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import PrivateAttr, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_trace
from tokenfleet.envs.layers.agents.streams import SPLIT_BOUNDS, Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import PositiveFloat, SpecError
from tokenfleet.envs.traces import Trace


class TraceStream(StreamSpec):
    """Random windows of a recorded trace, at a rescaled rate.

    The trace is cut into disjoint blocks of time for train, validation and test (`SPLIT_BOUNDS`). An episode overlays
    as many windows of its split's block as the rate needs, each with its own random start (wrapping at the block's
    end), and thins the last excess at random: within a window the recorded gaps, and so the burstiness, stay as they
    were.

    As a whole, the trace is a test set of one episode: every request is offered once, at its recorded time, whatever
    the seed, and nothing of it may be trained on.

    Attributes:
        trace: a catalogue name or the path of a trace file.
        rate_rps: mean arrival rate [requests/s]; by default the trace's own.
        whole: replay the whole trace once instead of windows of it.
    """

    kind: Literal["trace"] = "trace"
    trace: Recording
    rate_rps: PositiveFloat | None = None
    whole: bool = False
    _begin_s: float = PrivateAttr(default=0.0)  # of the whole, where it goes on

    @model_validator(mode="after")
    def _trace_can_be_read(self) -> Self:
        with named_by("trace", "trace"):
            _ = self._record
        if self.whole and self.rate_rps is not None:
            raise SpecError(["rate_rps: a whole trace keeps its own rate; leave rate_rps or whole out"])
        return self

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps if self.rate_rps is not None else self._recorded_rate_rps()

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return float(self._record.prompt_tokens.mean())

    @property
    @override
    def mean_output_tokens(self) -> float:
        return float(self._record.output_tokens.mean())

    def check(self, horizon_s: float) -> None:
        """See `StreamSpec.check`."""
        if self.whole:
            if horizon_s <= self._span_s():
                raise ValueError(
                    f"whole: trace {self.trace!r} lasts {self._span_s():g} s, an episode only {horizon_s:g} s; raise "
                    "horizon_ticks or tick_s beyond it, or replay windows of it (whole: false)"
                )
            return
        shortest_s = min(high - low for low, high in SPLIT_BOUNDS.values()) * self._span_s()
        if horizon_s > shortest_s:
            raise ValueError(
                f"trace {self.trace!r} is too short: its smallest split spans {shortest_s:.0f} s, "
                f"an episode {horizon_s:.0f} s; lower horizon_ticks or tick_s, or give a longer trace"
            )

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        trace = self._record
        if self.whole:
            if split != "test":
                raise SpecError(
                    [f"workload: the whole of trace {self.trace!r} is a test set, not for split {split!r}; evaluate on "
                     "split=test, or replay windows of it (whole: false)"]
                )  # fmt: skip
            first = int(trace.arrival_s.searchsorted(self._begin_s))
            rows = slice(first, None)
            return Demand(trace.arrival_s[rows] - self._begin_s, trace.prompt_tokens[rows], trace.output_tokens[rows])
        low, high = (bound * self._span_s() for bound in SPLIT_BOUNDS[split])
        windows = max(1, math.ceil(self.mean_rate_rps / self._recorded_rate_rps() - 1e-9))
        keep = min(self.mean_rate_rps / (windows * self._recorded_rate_rps()), 1.0)
        start_s = rng.uniform(low, high, windows)
        # A window is two runs of rows: up to the block's end, and what wraps to its beginning.
        begin_s = np.stack([start_s, np.full(windows, low)], axis=1)
        end_s = np.stack([np.minimum(start_s + horizon_s, high), start_s + horizon_s - (high - low)], axis=1)
        shift_s = np.stack([-start_s, high - low - start_s], axis=1)
        first, last = trace.arrival_s.searchsorted([begin_s, np.maximum(begin_s, end_s)])
        row = np.concatenate([np.arange(*run) for run in zip(first.flat, last.flat, strict=True)])
        shift_s = np.repeat(shift_s, (last - first).ravel())
        if keep < 1.0:
            kept = np.flatnonzero(rng.random(len(row)) < keep)
            row, shift_s = row.take(kept), shift_s.take(kept)
        return Demand(trace.arrival_s.take(row) + shift_s, trace.prompt_tokens.take(row), trace.output_tokens.take(row))

    @override
    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> TraceStream:
        if not self.whole:
            return self
        later = self.model_copy()  # there is no other one
        later._begin_s = self._begin_s + begin_s
        return later

    @cached_property
    def _record(self) -> Trace:
        return load_trace(self.trace, self.search_paths)

    def _span_s(self) -> float:
        return float(self._record.arrival_s[-1])

    def _recorded_rate_rps(self) -> float:
        return len(self._record) / self._span_s()
