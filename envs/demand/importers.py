"""What can be imported: each importer is an entry of `IMPORTERS`, and the command reads nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tokenfleet.envs.demand import mooncake, servegen
from tokenfleet.envs.spec import SpecError, counted
from tokenfleet.envs.traces import FORMATS, How, import_trace, trace_bytes, write_clients, write_sessions

AUTO = "auto"
NPZ = (".npz",)
TABLES = (".csv", ".csv.gz", ".npz")
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ImportRequest:
    """What a user asks for.

    Attributes:
        source: file or folder to read.
        out: file to write.
        how: how to read tables of requests.
        model: which of a record's models.
        progress: called with numbers of rows that have been read.
    """

    source: Path
    out: Path
    how: How
    model: str | None
    progress: Progress


@dataclass(frozen=True)
class Converted:
    """A record in a form of the catalogue.

    Attributes:
        data: contents of the file.
        summary: what it holds.
        use: how a scenario names it.
        begins: when it begins; None where nobody knows.
        notes: what was changed.
    """

    data: bytes
    summary: str
    use: str
    begins: datetime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Importer:
    """One kind of record.

    Attributes:
        doc: what it reads.
        suffixes: endings that the result may have.
        convert: does the import.
        tables: whether it reads a table of requests, so that options on columns, times and empty answers apply.
        models: whether its record has several models.
    """

    doc: str
    suffixes: tuple[str, ...]
    convert: Callable[[ImportRequest], Converted]
    tables: bool = False
    models: bool = False


def _requests(asked: ImportRequest) -> Converted:
    found = import_trace(asked.source, asked.how, asked.progress)
    trace = found.trace
    summary = f"{counted(len(trace), 'request')} in {trace.duration_s:,.0f} s, {trace.mean_rate_rps:.3g} a second"
    data = trace_bytes(trace, asked.out.name)
    return Converted(data, summary, f"{{kind: trace, trace: {asked.out}}}", found.begins, found.notes)


def _of_format(name: str) -> Callable[[ImportRequest], Converted]:
    return lambda asked: _requests(replace(asked, how=replace(asked.how, format=name)))


def _conversations(asked: ImportRequest) -> Converted:
    sessions = mooncake.conversations(mooncake.read_requests(asked.source))
    file = io.BytesIO()
    write_sessions(sessions, file)
    summary = f"{counted(len(sessions.prompt_tokens), 'request')} in {counted(len(sessions), 'conversation')}"
    note = f"answers are taken to come at {1 / mooncake.ASSUMED_TPOT_S:g} tokens a second: the record has no durations"
    return Converted(file.getvalue(), summary, f"{{kind: conversations, trace: {asked.out}}}", notes=(note,))


def _clients(asked: ImportRequest) -> Converted:
    table = servegen.read_clients_of(asked.source, asked.model)
    file = io.BytesIO()
    write_clients(table, file)
    days, clients = table.span_s / 86_400, counted(len(table.rate_rps), "client")
    summary = f"{clients} over {days:.3g} days, {table.mean_rate_rps:.4g} requests/s"
    return Converted(file.getvalue(), summary, f"{{kind: servegen, clients: {asked.out}}}")


IMPORTERS: dict[str, Importer] = {
    AUTO: Importer("a table of requests, its format by its columns", TABLES, _requests, tables=True),
    **{name: Importer(form.doc, TABLES, _of_format(name), tables=True) for name, form in FORMATS.items()},
    "mooncake-conversations": Importer(
        "Mooncake, requests joined to conversations by their blocks", NPZ, _conversations
    ),
    "servegen": Importer("a folder of ServeGen's client_rates and client_token_stats", NPZ, _clients, models=True),
}


def convert(name: str, asked: ImportRequest) -> Converted:
    """Convert a record by the importer of a name.

    Raises:
        SpecError: the record cannot be read, or an option does not belong to this importer.
    """
    importer = IMPORTERS[name]
    if not asked.out.name.endswith(importer.suffixes):
        raise SpecError([f"--out: must end in {' or '.join(importer.suffixes)} for {name} (got {asked.out.name!r})"])
    if asked.how != How() and not importer.tables:
        options = "--column, --time-unit, --zero-outputs and --missing"
        raise SpecError([f"{options}: {name} is no table of requests; leave them out"])
    if asked.model is not None and not importer.models:
        of_several = " or ".join(known for known, one in IMPORTERS.items() if one.models)
        advice = "leave it out; of a table of several models, give the rows of one"
        raise SpecError([f"--model: goes with {of_several}, not with {name}; {advice}"])
    return importer.convert(asked)
