"""Layer 7, agents: who asks for tokens, how long they wait, what they pay, and when they arrive.

A *request class* is a service level and a price; a *stream* is a source of requests of one class. Streams are data: a
kind shipped here (`trace`, `poisson`, `mmpp`), or a user's own class as `module:Class`.
"""

from __future__ import annotations

import importlib
import math
from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, SerializeAsAny, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import load_trace
from tokenfleet.envs.spec import (
    Name,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Spec,
    SpecError,
    UnitFraction,
    suggest,
)
from tokenfleet.envs.traces import Trace

Split = Literal["train", "validation", "test"]
SPLIT_BOUNDS: dict[str, tuple[float, float]] = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
"""Shares of a trace's time span that belong to each split; they never overlap."""


class Demand(NamedTuple):
    """Requests of one stream in one episode, in any order, R of them."""

    arrival_s: NDArray[np.float64]  # [R], in [0, horizon)
    prompt_tokens: NDArray[np.int32]  # [R], at least 1
    output_tokens: NDArray[np.int32]  # [R], at least 1


class RequestClassSpec(Spec):
    """A service level and its price.

    Attributes:
        model: name of the model that the class asks for.
        ttft_s, tpot_s: limits on time to first token and mean time per further output token [s]; both hold for
            a request to be within its SLO. MLPerf Inference states them as p99 limits per model.
        deadline_s: limit on the whole request from its arrival [s].
        patience_s: a request that has waited longer than this for its first iteration leaves the queue [s].
        deferrable: held back on arrival and released at the brain's rate.
        usd_per_million_input_tokens, usd_per_million_output_tokens: list prices.
        late_value_fraction: share of the price that is paid when the SLO is missed; assumption.
        lost_penalty_fraction: credit owed for a refused or expired request, as a share of its price; assumption.
        expected_output_tokens: what the operator's statistics say of an answer's length; the router weighs an
            unfinished request by it.
    """

    model: Name
    ttft_s: PositiveFloat | None = None
    tpot_s: PositiveFloat | None = None
    deadline_s: PositiveFloat | None = None
    patience_s: PositiveFloat = 60.0
    deferrable: bool = False
    usd_per_million_input_tokens: NonNegativeFloat
    usd_per_million_output_tokens: NonNegativeFloat
    late_value_fraction: UnitFraction = 0.25
    lost_penalty_fraction: NonNegativeFloat = 0.5
    expected_output_tokens: PositiveInt = 200


class StreamSpec(Spec):
    """A source of requests of one class; subclasses say when they arrive and how long they are."""

    kind: str
    request_class: Name

    @property
    @abstractmethod
    def mean_rate_rps(self) -> float:
        """Requests per second in the long run."""

    @property
    @abstractmethod
    def mean_prompt_tokens(self) -> float:
        """Mean prompt length [tokens]."""

    @property
    @abstractmethod
    def mean_output_tokens(self) -> float:
        """Mean output length [tokens]."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """Requests of one episode, all chance drawn from `rng`; different splits must not share requests."""

    def check(self, horizon_s: float) -> None:
        """Raise `ValueError` when the stream cannot fill an episode of `horizon_s`."""


class TokenLengthSpec(Spec):
    """Lognormal token counts, rounded up and cut at `max_tokens`."""

    median_tokens: PositiveFloat
    sigma: NonNegativeFloat
    max_tokens: PositiveInt = 32_768

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.int32]:
        """`count` lengths [tokens], at least 1."""
        return self._tokens(rng.standard_normal(count))

    @property
    def mean_tokens(self) -> float:
        """Mean of the rounded, cut distribution, by 4,001 equally likely quantiles."""
        from scipy.special import ndtri  # costs 0.1 s to import; only scenarios with synthetic lengths pay it

        return float(self._tokens(ndtri((np.arange(4001) + 0.5) / 4001)).mean())

    def _tokens(self, normal: NDArray[np.float64]) -> NDArray[np.int32]:
        tokens = np.ceil(np.minimum(self.median_tokens * np.exp(self.sigma * normal), self.max_tokens))
        return np.maximum(tokens, 1).astype(np.int32)


class _SyntheticLengths(StreamSpec):
    prompt: TokenLengthSpec
    output: TokenLengthSpec

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        return self.prompt.mean_tokens

    @property
    @override
    def mean_output_tokens(self) -> float:
        return self.output.mean_tokens

    def _with_lengths(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> Demand:
        count = len(arrival_s)
        return Demand(arrival_s, self.prompt.sample(rng, count), self.output.sample(rng, count))


class PoissonStream(_SyntheticLengths):
    """Memoryless arrivals at `rate_rps` with lognormal lengths."""

    kind: Literal["poisson"] = "poisson"
    rate_rps: PositiveFloat

    @property
    @override
    def mean_rate_rps(self) -> float:
        return self.rate_rps

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        count = rng.poisson(self.rate_rps * horizon_s)
        return self._with_lengths(rng.uniform(0.0, horizon_s, count), rng)


class MmppStream(_SyntheticLengths):
    """Bursts: a two-state Markov-modulated Poisson process with lognormal lengths.

    Attributes:
        quiet_rate_rps, burst_rate_rps: arrival rate in each state.
        mean_quiet_s, mean_burst_s: mean stay in each state [s]; stays are exponential, the first state is stationary.
    """

    kind: Literal["mmpp"] = "mmpp"
    quiet_rate_rps: NonNegativeFloat
    burst_rate_rps: PositiveFloat
    mean_quiet_s: PositiveFloat
    mean_burst_s: PositiveFloat

    @property
    @override
    def mean_rate_rps(self) -> float:
        cycle_s = self.mean_quiet_s + self.mean_burst_s
        return (self.quiet_rate_rps * self.mean_quiet_s + self.burst_rate_rps * self.mean_burst_s) / cycle_s

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        bounds_s, rates_rps = self._states(rng, horizon_s)
        counts = rng.poisson(rates_rps * np.diff(bounds_s))
        start_s = np.repeat(bounds_s[:-1], counts)
        length_s = np.repeat(np.diff(bounds_s), counts)
        return self._with_lengths(start_s + length_s * rng.random(len(start_s)), rng)

    def _states(self, rng: np.random.Generator, horizon_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boundaries `[M + 1]` [s] and rates `[M]` [requests/s] of the states that cover the horizon."""
        bursting = bool(rng.random() < self.mean_burst_s / (self.mean_quiet_s + self.mean_burst_s))
        bounds_s, rates_rps = [0.0], []
        while bounds_s[-1] < horizon_s:
            stay_s = float(rng.exponential(self.mean_burst_s if bursting else self.mean_quiet_s))
            bounds_s.append(min(bounds_s[-1] + stay_s, horizon_s))
            rates_rps.append(self.burst_rate_rps if bursting else self.quiet_rate_rps)
            bursting = not bursting
        return np.array(bounds_s), np.array(rates_rps)


class TraceStream(StreamSpec):
    """Random windows of a recorded trace, at a rescaled rate.

    The trace is cut into disjoint blocks of time for train, validation and test (`SPLIT_BOUNDS`). An episode overlays
    as many windows of its split's block as the rate needs, each with its own random start (wrapping at the block's
    end), and thins the last excess at random: within a window the recorded gaps, and so the burstiness, stay as they
    were.

    Attributes:
        trace: a catalogue name or the path of a trace file.
        rate_rps: mean arrival rate [requests/s]; by default the trace's own.
    """

    kind: Literal["trace"] = "trace"
    trace: str
    rate_rps: PositiveFloat | None = None

    @model_validator(mode="after")
    def _trace_can_be_read(self) -> Self:
        try:
            _ = self._record
        except SpecError as error:
            raise SpecError(f"trace: {problem.removeprefix('trace: ')}" for problem in error.problems) from None
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
        shortest_s = min(high - low for low, high in SPLIT_BOUNDS.values()) * self._span_s()
        if horizon_s > shortest_s:
            raise ValueError(
                f"trace {self.trace!r} is too short: its smallest split spans {shortest_s:.0f} s, "
                f"an episode {horizon_s:.0f} s; lower horizon_ticks or tick_s, or give a longer trace"
            )

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        trace = self._record
        low, high = (bound * self._span_s() for bound in SPLIT_BOUNDS[split])
        windows = max(1, math.ceil(self.mean_rate_rps / self._recorded_rate_rps() - 1e-9))
        keep = min(self.mean_rate_rps / (windows * self._recorded_rate_rps()), 1.0)
        arrivals, rows = [], []
        for start_s in rng.uniform(low, high, windows):
            for first_s, last_s, shift_s in (
                (start_s, min(start_s + horizon_s, high), -start_s),
                (low, start_s + horizon_s - (high - low), high - low - start_s),
            ):
                first, last = np.searchsorted(trace.arrival_s, [first_s, max(first_s, last_s)])
                kept = np.arange(first, last)
                if keep < 1.0:
                    kept = kept[rng.random(last - first) < keep]
                arrivals.append(trace.arrival_s[kept] + shift_s)
                rows.append(kept)
        row = np.concatenate(rows)
        return Demand(np.concatenate(arrivals), trace.prompt_tokens[row], trace.output_tokens[row])

    @cached_property
    def _record(self) -> Trace:
        return load_trace(self.trace)

    def _span_s(self) -> float:
        return float(self._record.arrival_s[-1])

    def _recorded_rate_rps(self) -> float:
        return len(self._record) / self._span_s()


STREAM_KINDS: dict[str, type[StreamSpec]] = {"trace": TraceStream, "poisson": PoissonStream, "mmpp": MmppStream}


def register_stream(kind: str, stream: type[StreamSpec]) -> None:
    """Make `stream` available to scenarios as `kind`."""
    STREAM_KINDS[kind] = stream


def _build_stream(data: Any) -> Any:
    """Pick the class that `kind` names and validate the rest of the mapping with it."""
    if isinstance(data, StreamSpec) or not isinstance(data, dict):
        return data
    kind = str(data.get("kind", ""))
    stream = STREAM_KINDS.get(kind) or (_import_stream(kind) if ":" in kind else None)
    if stream is None:
        raise SpecError([f"kind: unknown stream kind {kind!r}{suggest(kind, STREAM_KINDS)}, or 'module:Class'"])
    return stream.parse(data)


def _import_stream(kind: str) -> type[StreamSpec]:
    module, _, name = kind.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SpecError([f"kind: cannot import {kind!r} ({error}); write 'module:Class' of a StreamSpec"]) from None
    if not (isinstance(found, type) and issubclass(found, StreamSpec)):
        raise SpecError([f"kind: {kind!r} is not a StreamSpec"])
    return found


AnyStream = Annotated[SerializeAsAny[StreamSpec], BeforeValidator(_build_stream)]
