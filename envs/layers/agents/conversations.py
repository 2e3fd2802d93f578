"""Windows of a recorded trace of conversations, on the record's own clock."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_sessions
from tokenfleet.envs.layers.agents.replay import Copies, replay
from tokenfleet.envs.layers.agents.streams import SPLIT_BOUNDS, Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import PositiveFloat, SpecError, TokenCount
from tokenfleet.envs.traces import SessionTrace


class ConversationStream(StreamSpec):
    """Recorded conversations: each begins when it did, and goes on when its last answer has been read.

    As with `trace`, an episode overlays as many windows of its split's part of the record as the rate needs and leaves
    conversations out at random for the last excess. A call's split is that of its time in the record; a conversation
    that reaches over the border is cut there.

    Attributes:
        trace: a catalogue name or the path of an archive of sessions with start times.
        rate_rps: mean rate of calls [requests/s]; by default the record's own.
        max_context_tokens: the model's context; longer prompts are cut (see `replay`). Default: Llama 3.1's window.
    """

    kind: Literal["conversations"] = "conversations"
    trace: Recording = "mooncake-chat"
    rate_rps: PositiveFloat | None = None
    max_context_tokens: TokenCount = Field(default=131_072, ge=2)

    @model_validator(mode="after")
    def _trace_can_be_read(self) -> Self:
        with named_by("trace", "trace"):
            record = self._record
        if not np.any(record.start_s):
            raise SpecError([f"trace: {self.trace!r} has no clock of its own; replay it with kind: agent_sessions"])
        return self

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps if self.rate_rps is not None else self._recorded_rate_rps

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return float(np.minimum(self._record.prompt_tokens, self.max_context_tokens).mean())

    @property
    @override
    def mean_output_tokens(self) -> float:
        return float(np.minimum(self._record.output_tokens, self.max_context_tokens).mean())

    def check(self, horizon_s: float) -> None:
        """See `StreamSpec.check`."""
        shortest_s = min(high - low for low, high in SPLIT_BOUNDS.values()) * self._span_s
        if horizon_s > shortest_s:
            raise ValueError(
                f"trace {self.trace!r} is too short: its smallest split spans {shortest_s:.0f} s, "
                f"an episode {horizon_s:.0f} s; lower horizon_ticks or tick_s, or give a longer trace"
            )

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        low_s, high_s = (bound * self._span_s for bound in SPLIT_BOUNDS[split])
        windows = max(1, math.ceil(self.mean_rate_rps / self._recorded_rate_rps - 1e-9))
        keep = min(self.mean_rate_rps / (windows * self._recorded_rate_rps), 1.0)
        starts_s = rng.uniform(low_s, high_s - horizon_s, windows)
        copies = [self._window(rng, start_s, horizon_s, high_s, keep) for start_s in starts_s]
        together = Copies(*(np.concatenate(columns) for columns in zip(*copies, strict=True)))
        return replay(self._record, together, horizon_s, self.max_context_tokens)

    def _window(
        self, rng: np.random.Generator, start_s: float, horizon_s: float, end_s: float, keep: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Columns of `Copies`: conversations with a call between `start_s` and the horizon, up to the split's end."""
        trace, made_s = self._record, self._made_s
        rows = np.flatnonzero((made_s >= start_s) & (made_s < start_s + horizon_s))
        first = rows[np.diff(trace.session[rows], prepend=-1) != 0]
        first = first[rng.random(len(first)) < keep]
        in_split = np.bincount(trace.session[made_s < end_s], minlength=len(trace))
        last = trace.first_call[trace.session[first]] + in_split[trace.session[first]]
        return first, last, made_s[first] - start_s

    @cached_property
    def _record(self) -> SessionTrace:
        return load_sessions(self.trace, self.search_paths)

    @cached_property
    def _made_s(self) -> NDArray[np.float64]:
        """When each call was made, on the record's clock [s]."""
        made_s: NDArray[np.float64] = self._record.start_s[self._record.session] + self._record.recorded_s
        return made_s

    @cached_property
    def _span_s(self) -> float:
        return float(self._made_s.max())

    @cached_property
    def _recorded_rate_rps(self) -> float:
        return len(self._made_s) / self._span_s
