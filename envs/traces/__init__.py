"""Requests as columns: the table the engines take, and readers of public trace formats.

| module | subject |
|---|---|
| `columns`, `table` | the columns of requests, and the table that the engines take |
| `trace`, `sessions`, `clients` | records: a stream of requests, sessions of calls, clients by window |
| `readers`, `archive` | files of these records |
| `formats`, `rows`, `importing` | tables of requests in public formats |
| `parts`, `deal` | train, validation and test parts of a record |
"""

from __future__ import annotations

from tokenfleet.envs.traces.clients import ClientTable, read_clients, write_clients
from tokenfleet.envs.traces.columns import DEFAULTS, NONE
from tokenfleet.envs.traces.formats import FORMATS
from tokenfleet.envs.traces.importing import MISSING, UNITS, ZERO_OUTPUTS, How, Imported, import_trace
from tokenfleet.envs.traces.parts import SplitPart, check_parts, parts
from tokenfleet.envs.traces.readers import TRACE_SUFFIXES, read_trace, trace_bytes, write_trace
from tokenfleet.envs.traces.sessions import SessionTrace, read_sessions, write_sessions
from tokenfleet.envs.traces.table import RequestTable, arrival_order
from tokenfleet.envs.traces.trace import Trace

__all__ = [
    "DEFAULTS",
    "FORMATS",
    "MISSING",
    "NONE",
    "TRACE_SUFFIXES",
    "UNITS",
    "ZERO_OUTPUTS",
    "ClientTable",
    "How",
    "Imported",
    "RequestTable",
    "SessionTrace",
    "SplitPart",
    "Trace",
    "arrival_order",
    "check_parts",
    "import_trace",
    "parts",
    "read_clients",
    "read_sessions",
    "read_trace",
    "trace_bytes",
    "write_clients",
    "write_sessions",
    "write_trace",
]
