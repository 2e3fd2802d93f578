"""Layer 7, agents: clients' requests for tokens, their patience, payments and times of arrival.

A *request class* is a service level and a price; a *stream* is a source of requests of one class. Streams are data: a
kind shipped here (`STREAM_KINDS`), or a user's own class as `module:Class`.

| module | subject |
|---|---|
| `classes` | request classes: service level, price, what a client does when it is not served |
| `agreement` | what a class gets back where too few of its requests are in time |
| `streams` | what every stream answers, and how a kind becomes a class |
| `poisson` | arrivals without memory, and in bursts |
| `hawkes` | arrivals that draw others after them |
| `fitted`, `cascade`, `joint_lengths` | arrivals and lengths fitted to any trace, through the hours of a week |
| `servegen` | many clients, each a renewal process of its own |
| `diurnal` | any stream through the hours of a day |
| `trace`, `conversations` | windows of a recorded trace, of independent requests or of conversations |
| `sessions`, `replay` | closed-loop sessions of agents: who starts when; recorded sessions cut to an episode |
| `behaviour`, `invention` | a fitted description of an agent, and sessions drawn from it |
| `quantiles`, `lengths` | quantities by their measured quantiles; lognormal token counts |
| `clients`, `merge` | what is drawn for clients; streams become one table |
"""

from __future__ import annotations

from tokenfleet.envs.layers.agents.agreement import MAX_TIERS, AgreementSpec
from tokenfleet.envs.layers.agents.classes import PriceRangeSpec, PriceToleranceSpec, RequestClassSpec
from tokenfleet.envs.layers.agents.clients import client_columns, region_problems
from tokenfleet.envs.layers.agents.conversations import ConversationStream
from tokenfleet.envs.layers.agents.diurnal import DiurnalStream
from tokenfleet.envs.layers.agents.fitted import DemandSpec, FittedStream
from tokenfleet.envs.layers.agents.hawkes import HawkesStream
from tokenfleet.envs.layers.agents.lengths import TokenLengthSpec
from tokenfleet.envs.layers.agents.merge import merge
from tokenfleet.envs.layers.agents.poisson import MmppStream, PoissonStream
from tokenfleet.envs.layers.agents.quantiles import QuantileSpec
from tokenfleet.envs.layers.agents.servegen import ServeGenStream
from tokenfleet.envs.layers.agents.sessions import AgentGeneratorStream, AgentSessionsStream, SessionStream
from tokenfleet.envs.layers.agents.streams import (
    STREAM_KINDS,
    AnyStream,
    Demand,
    Split,
    StreamSpec,
    check_stream,
    draw_demand,
    register_stream,
)
from tokenfleet.envs.layers.agents.trace import TraceStream

__all__ = [
    "MAX_TIERS",
    "STREAM_KINDS",
    "AgentGeneratorStream",
    "AgentSessionsStream",
    "AgreementSpec",
    "AnyStream",
    "ConversationStream",
    "Demand",
    "DemandSpec",
    "DiurnalStream",
    "FittedStream",
    "HawkesStream",
    "MmppStream",
    "PoissonStream",
    "PriceRangeSpec",
    "PriceToleranceSpec",
    "QuantileSpec",
    "RequestClassSpec",
    "ServeGenStream",
    "SessionStream",
    "Split",
    "StreamSpec",
    "TokenLengthSpec",
    "TraceStream",
    "check_stream",
    "client_columns",
    "draw_demand",
    "merge",
    "region_problems",
    "register_stream",
]

register_stream("trace", TraceStream)
register_stream("poisson", PoissonStream)
register_stream("mmpp", MmppStream)
register_stream("hawkes", HawkesStream)
register_stream("fitted", FittedStream)
register_stream("servegen", ServeGenStream)
register_stream("diurnal", DiurnalStream)
register_stream("conversations", ConversationStream)
register_stream("agent_sessions", AgentSessionsStream)
register_stream("agent_generator", AgentGeneratorStream)
