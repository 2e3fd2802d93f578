"""Closed-loop sessions of agents: the starts of sessions, and the sessions already under way when the episode began."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator
from typing_extensions import Self, override

from tokenfleet.envs.catalog import Recording, load_sessions
from tokenfleet.envs.layers.agents.behaviour import AgentSpec, load_agent
from tokenfleet.envs.layers.agents.invention import invent_sessions
from tokenfleet.envs.layers.agents.replay import Copies, replay
from tokenfleet.envs.layers.agents.streams import Demand, Split, StreamSpec, named_by
from tokenfleet.envs.spec import Name, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, TokenCount
from tokenfleet.envs.traces import SessionTrace


class SessionStream(StreamSpec):
    """Sessions that begin at random, each a graph of calls; subclasses say where the sessions come from.

    Sessions begin as a Poisson process, or in bursts: then starts come in clusters of geometric size, each session of a
    cluster an exponential time after its first.

    Sessions last for hours, episodes for minutes. With `warm` an episode is a window of a process that has always run:
    besides the sessions that begin in it, it holds those under way with a call in it. Where starts are a
    Poisson process, the k-th calls of a given session come as a Poisson process too. Let gap be the time since the call
    before. The number of sessions that enter the window with their k-th call has mean rate * min(gap, horizon)
    over all starts, and that call is uniform in [0, min(gap, horizon)). Such length-biased sampling is exact for a
    fleet that answers as fast as the record; sessions under way come without bursts. Long sessions and long waits
    become as frequent as an observer of the fleet sees them.

    Attributes:
        rate_sessions_per_s: sessions that begin per second.
        mean_burst_sessions: mean number of sessions of a cluster; 1 is a Poisson process.
        burst_spread_s: mean delay of a cluster's sessions behind its first [s]; assumption.
        warm: begin with sessions under way; without it the episode begins empty.
        max_context_tokens: the model's context; longer prompts are cut (see `replay`). Default: Llama 3.1's window.
    """

    rate_sessions_per_s: PositiveFloat
    mean_burst_sessions: float = Field(default=1.0, ge=1, allow_inf_nan=False)
    burst_spread_s: NonNegativeFloat = 10.0
    warm: bool = True
    max_context_tokens: TokenCount = Field(default=131_072, ge=2)
    _age_s: float = PrivateAttr(default=0.0)  # without `warm`: for how long it has run

    rate_keys = ("rate_sessions_per_s",)

    @abstractmethod
    def sessions(self) -> SessionTrace:
        """The sessions that episodes are made of; those of a split are all equally likely."""

    @property
    @override
    def has_sessions(self) -> bool:
        return True

    @property
    @override
    def mean_rate_rps(self) -> float:
        trace = self.sessions()
        return self.rate_sessions_per_s * len(trace.calls_of("train")) / len(trace.sessions_of("train"))

    @property
    @override
    def mean_prompt_tokens(self) -> float:
        trace = self.sessions()
        return float(np.minimum(trace.prompt_tokens[trace.calls_of("train")], self.max_context_tokens).mean())

    @property
    @override
    def mean_output_tokens(self) -> float:
        trace = self.sessions()
        return float(np.minimum(trace.output_tokens[trace.calls_of("train")], self.max_context_tokens).mean())

    def sample(self, rng: np.random.Generator, horizon_s: float, split: Split) -> Demand:
        """See `StreamSpec.sample`."""
        trace = self.sessions()
        copies = self._begun(rng, trace, horizon_s, split)
        if self.warm:
            copies = copies.and_also(self._under_way(rng, trace, horizon_s, split))
        elif self._age_s > 0.0:
            copies = copies.and_also(self._begun_before(rng, trace, split))
        return replay(trace, copies, horizon_s, self.max_context_tokens)

    @override
    def going_on(self, known: np.random.Generator, begin_s: float, horizon_s: float, split: Split) -> Self:
        later = self.model_copy()
        later._age_s = self._age_s + begin_s
        return later

    def _begun_before(self, rng: np.random.Generator, trace: SessionTrace, split: Split) -> Copies:
        """Sessions that have begun since the stream began to run, by their first call from now on."""
        begun = self._begun(rng, trace, self._age_s, split)
        rows, last, since_s = [], [], []
        for first, end, at_s in zip(*begun, strict=True):
            made_s = trace.recorded_s[first:end] - trace.recorded_s[first] + at_s - self._age_s
            if made_s[-1] >= 0.0:
                to_come = int(np.searchsorted(made_s, 0.0))
                rows.append(first + to_come)
                last.append(end)
                since_s.append(made_s[to_come])
        return Copies(np.array(rows, np.int64), np.array(last, np.int64), np.array(since_s, np.float64))

    def _begun(self, rng: np.random.Generator, trace: SessionTrace, horizon_s: float, split: Split) -> Copies:
        """Sessions that begin in the episode."""
        clusters = rng.poisson(self.rate_sessions_per_s * horizon_s / self.mean_burst_sessions)
        sizes = rng.geometric(1.0 / self.mean_burst_sessions, clusters)
        first_s = np.repeat(rng.uniform(0.0, horizon_s, clusters), sizes)
        later = np.arange(len(first_s)) != np.repeat(np.cumsum(sizes) - sizes, sizes)
        # A cluster's delays wrap around the episode's end, so that no start is lost and the rate holds.
        at_s = np.mod(first_s + later * rng.exponential(self.burst_spread_s, len(first_s)), horizon_s)
        choices = trace.sessions_of(split)
        chosen = choices[rng.integers(len(choices), size=len(at_s))]
        return Copies(trace.first_call[chosen], trace.first_call[chosen + 1], at_s)

    def _under_way(self, rng: np.random.Generator, trace: SessionTrace, horizon_s: float, split: Split) -> Copies:
        """Sessions that began before the episode, by their first call in it."""
        rows, gap_s = _gaps(trace, horizon_s, split)
        bounds_s = np.cumsum(gap_s)
        sessions = len(trace.sessions_of(split))
        count = rng.poisson(self.rate_sessions_per_s * bounds_s[-1] / sessions)
        point_s = rng.uniform(0.0, bounds_s[-1], count)
        place = np.searchsorted(bounds_s, point_s, side="right")
        return Copies(rows[place], trace.first_call[trace.session[rows[place]] + 1], bounds_s[place] - point_s)


class AgentSessionsStream(SessionStream):
    """Recorded sessions, replayed whole.

    Attributes:
        trace: a catalogue name or the path of an archive of sessions.
    """

    kind: Literal["agent_sessions"] = "agent_sessions"
    trace: Recording = "coding-agents"

    @model_validator(mode="after")
    def _trace_can_be_read(self) -> Self:
        with named_by("trace", "trace"):
            _ = self._record
        return self

    def sessions(self) -> SessionTrace:
        """See `SessionStream.sessions`."""
        return self._record

    @cached_property
    def _record(self) -> SessionTrace:
        return load_sessions(self.trace, self.search_paths)


class AgentGeneratorStream(SessionStream):
    """Sessions invented from a fitted description of an agent; more of them, and other ones, than were recorded.

    Episodes are drawn from a library that is invented once a process; the libraries of splits have nothing in common.

    Attributes:
        agent: a name of the catalogue (`catalog/agent`).
        library_sessions: sessions of each split's library.
        library_seed: another seed is another library.
    """

    kind: Literal["agent_generator"] = "agent_generator"
    agent: Name = "coding-agent"
    library_sessions: PositiveInt = 500
    library_seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _agent_is_known(self) -> Self:
        with named_by("agent", "agent"):
            load_agent(self.agent, self.search_paths)
        return self

    def sessions(self) -> SessionTrace:
        """See `SessionStream.sessions`."""
        agent = load_agent(self.agent, self.search_paths)
        return _library(agent.model_dump_json(), self.library_sessions, self.library_seed)


@lru_cache(maxsize=4)
def _library(agent: str, sessions: int, seed: int) -> SessionTrace:
    """Invented once a process; the description as text is the key."""
    return invent_sessions(AgentSpec.model_validate_json(agent), sessions, seed)


@lru_cache(maxsize=16)
def _gaps(trace: SessionTrace, horizon_s: float, split: Split) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Calls of a split that another call of their session precedes, and the time since it, at most the horizon [s]."""
    rows = trace.calls_of(split)
    rows = rows[rows != trace.first_call[trace.session[rows]]]
    gap_s = np.minimum(trace.recorded_s[rows] - trace.recorded_s[rows - 1], horizon_s)
    return rows[gap_s > 0], gap_s[gap_s > 0]
