"""Windows of a recorded trace of conversations, on the record's own clock."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_sessions
from tokenfleet.envs.layers.agents.replay import Copies, replay
from tokenfleet.envs.layers.agents.streams import Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import PositiveFloat, SpecError, TokenCount
from tokenfleet.envs.splits import SPLITS
from tokenfleet.envs.traces import SessionTrace, SplitPart, check_parts, parts


class _Calls(NamedTuple):
    """Calls of a part's conversations on the part's clock, `[M]` each, conversation by conversation."""

    row: NDArray[np.int64]
    made_s: NDArray[np.float64]  # in [0, 2 span), so that a window that begins in [0, span) never ends outside
    visit: NDArray[np.int64]  # the conversation, once more for each turn of the clock

    @classmethod
    def of(cls, record: SessionTrace, part: SplitPart) -> _Calls:
        """Of the conversations of a part."""
        count = np.diff(record.first_call)[part.row]
        visit = np.repeat(np.arange(len(part.row)), count)
        row = np.arange(len(visit)) - np.repeat(np.cumsum(count) - count, count) + record.first_call[part.row][visit]
        made_s = part.at_s[visit] + record.recorded_s[row]
        turns = math.ceil(float(made_s.max()) / part.span_s)
        turned = [made_s + turn * part.span_s for turn in range(-turns, 2)]
        visits = [visit + turn * len(part.row) for turn in range(len(turned))]
        kept = np.flatnonzero((np.concatenate(turned) >= 0.0) & (np.concatenate(turned) < 2.0 * part.span_s))
        return cls(np.tile(row, len(turned))[kept], np.concatenate(turned)[kept], np.concatenate(visits)[kept])


class ConversationStream(StreamSpec):
    """Recorded conversations: each begins at its recorded time, and goes on when its last answer has been read.

    As with `trace`, the record is dealt to splits in short blocks, an episode overlays as many windows of its split's
    part as the rate needs, and conversations are left out at random for the last excess. A conversation belongs where
    it began, with all of its calls; what is left of it at the part's end goes on at the part's beginning.

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
    def has_sessions(self) -> bool:
        return True

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
        check_parts(f"trace {self.trace!r}", self._parts, horizon_s)

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        windows = max(1, math.ceil(self.mean_rate_rps / self._recorded_rate_rps - 1e-9))
        keep = min(self.mean_rate_rps / (windows * self._recorded_rate_rps), 1.0)
        number = SPLITS.index(split)
        starts_s = rng.uniform(0.0, self._parts[number].span_s, windows)
        copies = [self._window(rng, self._calls[number], start_s, horizon_s, keep) for start_s in starts_s]
        together = Copies(*(np.concatenate(columns) for columns in zip(*copies, strict=True)))
        return replay(self._record, together, horizon_s, self.max_context_tokens)

    def _window(
        self, rng: np.random.Generator, calls: _Calls, start_s: float, horizon_s: float, keep: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Columns of `Copies`: each conversation with a call in the `horizon_s` after `start_s`, from that call on."""
        inside = np.flatnonzero((calls.made_s >= start_s) & (calls.made_s < start_s + horizon_s))
        first = inside[np.diff(calls.visit[inside], prepend=-1) != 0]
        first = first[rng.random(len(first)) < keep]
        row = calls.row[first]
        return row, self._record.first_call[self._record.session[row] + 1], calls.made_s[first] - start_s

    @cached_property
    def _parts(self) -> tuple[SplitPart, ...]:
        """What each split has of the conversations, by the time at which they began."""
        record, first = self._record, self._record.first_call[:-1]
        calls = np.diff(self._record.first_call)
        tokens = [np.add.reduceat(column, first) for column in (record.prompt_tokens, record.output_tokens)]
        order = np.argsort(record.start_s, kind="stable")
        found = parts(record.start_s[order], self._span_s, np.stack([calls, *tokens], axis=1).astype(np.float64)[order])
        return tuple(SplitPart(order[part.row], part.at_s, part.span_s) for part in found)

    @cached_property
    def _calls(self) -> tuple[_Calls, ...]:
        return tuple(_Calls.of(self._record, part) for part in self._parts)

    @cached_property
    def _record(self) -> SessionTrace:
        return load_sessions(self.trace, self.search_paths)

    @cached_property
    def _span_s(self) -> float:
        record = self._record
        return float((record.start_s[record.session] + record.recorded_s).max())

    @cached_property
    def _recorded_rate_rps(self) -> float:
        return len(self._record.prompt_tokens) / self._span_s
