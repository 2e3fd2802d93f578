"""Windows of a recorded trace of independent requests."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from pydantic import PrivateAttr, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_trace
from tokenfleet.envs.layers.agents.streams import Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import PositiveFloat, SpecError
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import SplitPart, Trace, check_parts, parts


class TraceStream(StreamSpec):
    """Random windows of a recorded trace, at a rescaled rate.

    The trace is cut into short blocks, dealt to train, validation and test so that the three are alike in rate, tokens
    and burstiness (`tokenfleet.envs.traces.parts`). An episode overlays as many windows of its split's part as the rate
    needs, each with its own random start (wrapping at the part's end), and thins the last excess at random: within a
    block the recorded gaps, and so the burstiness, stay as they were.

    As a whole, the trace is a test set of one episode: every request is offered once, at its recorded time, whatever
    the seed, and nothing of it may be trained on.

    Attributes:
        trace: a catalogue name or the path of a trace file (`.csv`, `.jsonl`, `.npz`; see
            `tokenfleet.envs.traces.readers`).
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
        if not self.whole:
            check_parts(f"trace {self.trace!r}", self._parts, horizon_s)
        elif horizon_s <= self._span_s():
            raise ValueError(
                f"whole: trace {self.trace!r} lasts {self._span_s():g} s, an episode only {horizon_s:g} s; raise "
                "horizon_ticks or tick_s beyond it, or replay windows of it (whole: false)"
            )

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        if self.whole:
            return self._all(split)
        trace, part = self._record, self._parts[SPLITS.index(split)]
        windows = max(1, math.ceil(self.mean_rate_rps / self._recorded_rate_rps() - 1e-9))
        keep = min(self.mean_rate_rps / (windows * self._recorded_rate_rps()), 1.0)
        start_s = rng.uniform(0.0, part.span_s, windows)
        # A window is two runs of events: up to the part's end, and what wraps to its beginning.
        begin_s = np.stack([start_s, np.zeros(windows)], axis=1)
        end_s = np.stack([np.minimum(start_s + horizon_s, part.span_s), start_s + horizon_s - part.span_s], axis=1)
        shift_s = np.stack([-start_s, part.span_s - start_s], axis=1)
        first, last = part.at_s.searchsorted([begin_s, np.maximum(begin_s, end_s)])
        event = np.concatenate([np.arange(*run) for run in zip(first.flat, last.flat, strict=True)])
        shift_s = np.repeat(shift_s, (last - first).ravel())
        if keep < 1.0:
            kept = np.flatnonzero(rng.random(len(event)) < keep)
            event, shift_s = event.take(kept), shift_s.take(kept)
        row = part.row.take(event)
        return Demand(part.at_s.take(event) + shift_s, trace.prompt_tokens.take(row), trace.output_tokens.take(row))

    def _all(self, split: Split) -> Demand:
        """Every request at its recorded time."""
        trace = self._record
        if split != "test":
            raise SpecError(
                [
                    f"workload: the whole of trace {self.trace!r} is a test set, not for split {split!r}; evaluate on "
                    "split=test, or replay windows of it (whole: false)"
                ]
            )
        rows = slice(int(trace.arrival_s.searchsorted(self._begin_s)), None)
        return Demand(trace.arrival_s[rows] - self._begin_s, trace.prompt_tokens[rows], trace.output_tokens[rows])

    @property
    def _parts(self) -> tuple[SplitPart, ...]:
        return _parts_of(self._record)

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


@lru_cache(maxsize=32)
def _parts_of(trace: Trace) -> tuple[SplitPart, ...]:
    """What each split has of a trace; all streams of the process share one deal of each record."""
    amounts = np.stack([trace.prompt_tokens, trace.output_tokens], axis=1).astype(np.float64)
    return parts(trace.arrival_s, float(trace.arrival_s[-1]), amounts)
