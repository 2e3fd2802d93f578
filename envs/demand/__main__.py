"""`python -m tokenfleet.envs.demand`; see the package."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from tqdm import tqdm

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.demand.counts import clock_step_s
from tokenfleet.envs.demand.fit import fit_demand, on_a_fine_clock
from tokenfleet.envs.demand.importers import IMPORTERS, ImportRequest, Progress, convert
from tokenfleet.envs.demand.judge import HELD_OUT, Judged, judge
from tokenfleet.envs.demand.report import ENTRY_COMMENT, entry, report
from tokenfleet.envs.files import check_free, entry_text, write_whole
from tokenfleet.envs.layers.agents import DemandSpec
from tokenfleet.envs.layers.agents.fitted import DAY_S, DAYS
from tokenfleet.envs.spec import SpecError, shown
from tokenfleet.envs.traces import FORMATS, MISSING, UNITS, ZERO_OUTPUTS, How, Imported, import_trace

COMMAND = "python -m tokenfleet.envs.demand"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
IMPORT_EXAMPLES = f"""examples:
  {COMMAND} import azure-2024 week.csv.gz --out week.npz
  {COMMAND} import burstgpt BurstGPT.csv --out burstgpt.csv --zero-outputs drop
  {COMMAND} import auto log.csv --out mine.csv --column arrival=time --column prompt=in --column output=out

records:
""" + "\n".join(f"  {name:24} {importer.doc}" for name, importer in IMPORTERS.items())
FIT_EXAMPLES = f"""examples:
  {COMMAND} fit mine.csv --name my-chat --out mine
  {COMMAND} fit week.csv.gz --name my-week --out mine --held-out 0.2

In a scenario, with catalog.search_paths=[mine]:
  workload:
    chat: {{kind: fitted, demand: my-chat, request_class: chat}}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    typed = _parser().parse_args(words)
    return exit_status(lambda: (_import if typed.command == "import" else _fit)(typed, words))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Demand of your own. docs/workloads.md has an example.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plain = argparse.RawDescriptionHelpFormatter
    importing = commands.add_parser(
        "import", help="convert a record to a trace", description="Convert a record of requests to a trace.",
        epilog=IMPORT_EXAMPLES, formatter_class=plain,
    )  # fmt: skip
    importing.add_argument("record", choices=IMPORTERS, metavar="RECORD", help="kind of record, one of those below")
    importing.add_argument("source", metavar="FILE", help="what to read; .gz is inflated")
    importing.add_argument("--out", required=True, help="file to write: .csv, .csv.gz or .npz")
    importing.add_argument("--model", help="which model, of a record of several")
    _add_reading(importing)
    fitting = commands.add_parser(
        "fit", help="fit a stream to a trace",
        description="Fit arrivals and lengths to a trace, and print the error on a part that the fit has not seen.",
        epilog=FIT_EXAMPLES, formatter_class=plain,
    )  # fmt: skip
    fitting.add_argument("trace", metavar="TRACE", help="a trace, or any table of requests that can be imported")
    fitting.add_argument("--name", help="of the stream's description (default: the file's name)")
    fitting.add_argument("--out", default=".", help="catalogue folder to write to (default: this folder)")
    fitting.add_argument("--record", choices=FORMATS, metavar="RECORD", help="format (default: by its columns)")
    fitting.add_argument("--start", help="when the trace begins, such as 2024-05-10T09:00; dates in the file say it")
    fitting.add_argument(
        "--held-out", type=float, default=HELD_OUT,
        help=f"share at the trace's end that judges a fit to the rest (default: {HELD_OUT}); 0 judges nothing",
    )  # fmt: skip
    fitting.add_argument(
        "--leave-out", action="store_true", help="write the fit that was judged; by default one to the whole trace"
    )
    _add_reading(fitting)
    return parser


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--column", action="append", default=[], metavar="ROLE=NAME",
        help="column of arrival, prompt or output, such as arrival=timestamp; dots lead into JSON objects",
    )  # fmt: skip
    parser.add_argument("--time-unit", default="auto", help=f"of arrival: {', '.join(UNITS)} (default: auto)")
    parser.add_argument(
        "--zero-outputs", default="refuse", help=f"answers of no token: {', '.join(ZERO_OUTPUTS)} (default: refuse)"
    )
    parser.add_argument(
        "--missing", default="refuse", help=f"rows without a time or a prompt: {', '.join(MISSING)} (default: refuse)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite what is already there")


def _how(typed: argparse.Namespace, record: str | None) -> How:
    columns = {}
    for text in typed.column:
        role, equals, name = text.partition("=")
        if not (equals and role and name):
            raise SpecError([f"--column: must be ROLE=NAME, as in arrival=timestamp (got {shown(text)})"])
        columns[role] = name
    return How(record, columns or None, typed.time_unit, typed.zero_outputs, typed.missing)


def _import(typed: argparse.Namespace, words: Sequence[str]) -> None:
    out = Path(typed.out)
    check_free(out, typed.force)
    with _rows_read() as progress:
        request = ImportRequest(Path(typed.source), out, _how(typed, None), typed.model, progress)
        found = convert(typed.record, request)
    (path,) = write_whole({out: found.data})
    print(found.summary + (f", from {found.begins:%A %Y-%m-%d %H:%M} UTC on" if found.begins else ""))
    for note in found.notes:
        print(f"note: {note}")
    print(f"wrote {path}")
    print(f"in a scenario: {found.use}")


def _fit(typed: argparse.Namespace, words: Sequence[str]) -> None:
    how, given_s = _how(typed, typed.record), _given_start_s(typed.start)
    if not 0.0 <= typed.held_out <= 0.9:
        raise SpecError([f"--held-out: must be from 0 to 0.9 (got {typed.held_out:g})"])
    if typed.leave_out and typed.held_out == 0.0:
        raise SpecError(["--leave-out: nothing is held out; give --held-out a share above 0"])
    source = Path(typed.trace)
    name = _name(typed.name, source)
    path = Path(typed.out) / "demand" / f"{name}.yaml"
    check_free(path, typed.force)
    with _rows_read() as progress:
        found = import_trace(source, how, progress)
    start_s = given_s if given_s is not None or found.begins is None else _since_monday_s(found.begins)
    demand, requests, judged = _fitted(name, found, start_s, typed)
    sources = (
        f"fitted to {requests:,} requests of {source.name}"
        + (f", the first {1 - typed.held_out:.0%} of its time" if typed.leave_out else ""),
        f"command: {COMMAND} {shlex.join(words)}",
    )
    data = entry(demand, sources, judged)
    DemandSpec.parse(data, f"demand.{name}")
    print(report(demand, requests, judged))
    for note in _notes(found, start_s):
        print(f"note: {note}")
    for written in write_whole({path: entry_text(data, ENTRY_COMMENT).encode()}):
        print(f"wrote {written}")
    print(
        f"in a scenario: {{kind: fitted, demand: {name}, request_class: ...}} with catalog.search_paths=[{typed.out}]"
    )


def _fitted(
    name: str, found: Imported, start_s: float | None, typed: argparse.Namespace
) -> tuple[DemandSpec, int, Judged | None]:
    """The description to write, how many requests it was fitted to, and what the held-out part says."""
    trace, parts = on_a_fine_clock(found.trace), 1 + (typed.held_out > 0.0) - typed.leave_out
    if trace.duration_s <= 0.0:
        raise SpecError([f"{trace.name}: all requests come at one time; a fit needs a record that lasts"])
    with tqdm(total=parts, desc="fitting", unit="fit", disable=None, leave=False) as bar:
        judged = judge(name, trace, start_s, 1.0 - typed.held_out) if typed.held_out else None
        bar.update()
        if judged and typed.leave_out:
            return judged.demand, judged.fitted_requests, judged
        return fit_demand(name, trace, trace.duration_s, start_s), len(trace), judged


def _notes(found: Imported, start_s: float | None) -> list[str]:
    notes, step_s = list(found.notes), clock_step_s(found.trace.arrival_s)
    if step_s:
        notes.append(f"its clock has steps of {step_s:g} s: requests are spread evenly over them")
    if start_s is None and found.trace.duration_s >= DAY_S:
        notes.append("nothing says when the trace begins: it is taken to be a Monday's midnight; say it with --start")
    return notes


def _given_start_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return _since_monday_s(datetime.fromisoformat(text))
    except ValueError:
        raise SpecError([f"--start: must be a date, such as 2024-05-10T09:00 (got {shown(text)})"]) from None


def _since_monday_s(moment: datetime) -> float:
    in_utc = moment.astimezone(timezone.utc) if moment.tzinfo else moment
    midnight_s = (in_utc.hour * 60 + in_utc.minute) * 60 + in_utc.second
    return in_utc.weekday() % DAYS * DAY_S + midnight_s


def _name(given: str | None, source: Path) -> str:
    """A name that is free in the shipped catalogue."""
    name = given or re.sub(r"[^A-Za-z0-9._-]+", "-", source.name.split(".")[0]).strip("-._")
    if not NAME.fullmatch(name):
        raise SpecError([f"--name: must be letters, digits, '.', '_' and '-' (got {shown(name)})"])
    if name in catalog_names("demand"):
        raise SpecError([f"--name: {name!r} is a description of the shipped catalogue; choose a name of your own"])
    return name


@contextmanager
def _rows_read() -> Iterator[Progress]:
    """A bar that counts rows, at a terminal."""
    with tqdm(desc="reading", unit=" rows", unit_scale=True, disable=None, leave=False) as bar:

        def progress(rows: int) -> None:
            bar.update(rows)

        yield progress


if __name__ == "__main__":
    sys.exit(main())
