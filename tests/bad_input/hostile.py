"""Files made to do harm, and their readers; `python -m tests.bad_input.hostile`.

Run as a program it writes every file, reads each in a process of its own under a limit on memory, and prints what the
answer cost: the table of docs/reliability.md.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.bad_input.contents import (
    client_columns,
    crowded,
    doubling,
    inflating,
    lying,
    lzma,
    npy,
    npz,
    pickled,
    raw,
    saved,
    session_columns,
    text,
    zeros,
)
from tokenfleet.envs.catalog.hourly import ColumnSpec, HourlySpec, read_hourly
from tokenfleet.envs.catalog.latency import read_rtt
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.fitting.power_log import read_power_log
from tokenfleet.envs.fitting.runs import read_runs
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.traces import read_clients, read_sessions, read_trace

MEMORY_BYTES = 2**30
CPU_S = 60
"""Ends a reader that would never end; the figures of docs/reliability.md are far below."""
MOONCAKE = b'{"timestamp": 1, "input_length": 1, "output_length": 1}\n'
HEADER = b"arrival_s,prompt_tokens,output_tokens\n"


class Case(NamedTuple):
    """A file: its name, how it is made, who reads it, and what the answer says."""

    file: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    answer: str


def hourly(path: Path) -> Any:
    columns = {"price": ColumnSpec(meaning="price")}
    return read_hourly(path, HourlySpec(name="mine", file=path.name, columns=columns))


def runs(path: Path) -> Any:
    return read_runs([path])


CASES = (
    Case("merges.yaml", text(doubling("{{<<: [*a{0}, *a{0}]}}")), read_yaml, r":\d+: .*more than 20000 keys"),
    Case("aliases.yaml", text(doubling("[*a{0}, *a{0}]")), read_yaml, r":\d+: .*more than 20000 keys"),
    Case("self.yaml", text("a: &a [1, *a]\n"), read_yaml, r":1: .*alias '\*a' stands inside of what it names"),
    Case("self_merge.yaml", text("a: &a\n  <<: *a\n"), read_yaml, r":2: .*alias '\*a' stands inside of what it names"),
    Case("flow.yaml", text("a: " + "[" * 100_000), read_yaml, r":1: .*nested deeper than 32 levels"),
    Case("block.yaml", text("- " * 100_000), read_yaml, r":1: .*nested deeper than 32 levels"),
    Case("long.yaml", text("a: " + "x" * 10**7), read_yaml, r": holds more than 262144 bytes"),
    Case("keys.yaml", text("".join(f"k{n}: 1\n" for n in range(25_000))), read_yaml, r"more than 20000 keys"),
    Case("digits.yaml", text("a: " + "9" * 100_000), read_yaml, r":1: .*a whole number of more than 30 digits"),
    Case("hexadecimal.yaml", text("a: 0x" + "f" * 100_000), read_yaml, r":1: .*a whole number of more than 30 digits"),
    Case("sixties.yaml", text("a: 1" + ":59" * 50_000), read_yaml, r":1: .*a whole number of more than 30 digits"),
    Case("date.yaml", text("a: 2024-02-31\n"), read_yaml, r":1: .*no timestamp: '2024-02-31'"),
    Case("no_number.yaml", text("a: !!int ''\n"), read_yaml, r":1: .*no int: ''"),
    Case("no_time.yaml", text("a: !!timestamp noon\n"), read_yaml, r":1: .*no timestamp: 'noon'"),
    Case("command.yaml", text("a: !!python/object/apply:os.system [ls]\n"), read_yaml, r":1: not valid YAML: .* tag"),
    Case("surrogate.yaml", text('a: "\\ud800"\n'), read_yaml, r":1: .*half of a character"),
    Case("utf16.yaml", raw("a: 1\n".encode("utf-16")), read_yaml, r": not UTF-8 text"),
    Case("zero.yaml", lambda path: path.symlink_to("/dev/zero"), read_yaml, r": it is a device or a pipe; give a file"),
    Case("pipe.yaml", os.mkfifo, read_yaml, r": it is a device or a pipe; give a file"),
    Case("rows.csv.gz", inflating(HEADER, b"1,1,1\n", 5.5), read_trace, r": more than 1000000 lines; .*\.npz"),
    Case("line.csv.gz", inflating(HEADER, b"1", 5.5), read_trace, r":2: a line of more than 1048576 bytes"),
    Case("empty.csv.gz", inflating(HEADER, b"\n", 5.5), read_trace, r": more than 1000000 lines"),
    Case("objects.jsonl.gz", inflating(b"", MOONCAKE, 5.5), read_trace, r"lines|holds more than 128"),
    Case("cut.csv.gz", raw(gzip.compress(HEADER * 9)[:-9]), read_trace, r": cannot be read: "),
    Case("no.csv.gz", raw(HEADER), read_trace, r": cannot be read: Not a gzipped file"),
    Case("cell.csv", raw(HEADER + b"1" * 2 * 10**5 + b",1,1\n"), read_trace, r":2: not CSV: field larger than"),
    Case("quote.csv", raw(HEADER + b'"' + b"1,1,1\n" * 10**5), read_trace, r":\d+: not CSV: field larger than"),
    Case("columns.csv", raw(b"a," * 4 * 10**5 + b"\n"), read_trace, r":1: more than 4096 cells"),
    Case("digits.csv", raw(HEADER + b"0," + b"9" * 50_000 + b",1\n"), read_trace, r":2: prompt_tokens: must be"),
    Case("time.csv", raw(HEADER + b"-1e308,1,1\n1e308,1,1\n"), read_trace, r": requests\.arrival_s: must be"),
    Case("nul.csv", raw(HEADER + b"\x00,1,1\n"), read_trace, r":2: "),
    Case("dates.csv", text("TIMESTAMP,ContextTokens,GeneratedTokens\n0000-13-99 99:99,1,1\n"), read_trace, r":2: TIME"),
    Case("nested.jsonl", text("[" * 10**5), read_trace, r":1: not valid JSON"),
    Case("digits.jsonl", text('{"timestamp": ' + "9" * 10**5 + "}"), read_trace, r":1: "),
    Case(
        "float.jsonl",
        text('{"timestamp": 1' + "0" * 400 + ', "input_length": 1, "output_length": 1}'),
        read_trace,
        r":1: timestamp: not a time",
    ),
    Case("pickle.npz", npz(arrival_s=pickled()), read_trace, r"arrival_s\.npy holds a pickle, not numbers"),
    Case("petabytes.npz", npz(arrival_s=npy("(10**15,)")), read_trace, r"not an archive of numbers"),
    Case("claims.npz", npz(arrival_s=npy("(1000000000000000,)")), read_trace, r"claims 8000000000000000 bytes"),
    Case("negative.npz", npz(arrival_s=npy("(-1,)")), read_trace, r"not an archive of numbers"),
    Case("texts.npz", npz(arrival_s=npy("(1,)", "<U9", bytes(36))), read_trace, r"holds <U9, not numbers"),
    Case("large.npz", zeros(700), read_trace, r": holds more than 512 MiB; give a shorter recording"),
    Case("full.npz", zeros(500), read_trace, r": column 'prompt_tokens' is missing"),
    Case("lies_large.npz", lying(4 * 10**9), read_trace, r": holds more than 512 MiB"),
    Case("lies_small.npz", lying(100), read_trace, r"not an archive of numbers"),
    Case("crowded.npz", crowded, read_trace, r": holds more than 64 arrays"),
    Case("lzma.npz", lzma, read_trace, r"'arrival_s\.npy' is no array of numbers"),
    Case("junk.npz", raw(os.urandom(10**5)), read_trace, r"not an archive of numbers \(it has no end\)"),
    Case("empty.npz", raw(b""), read_trace, r"not an archive of numbers \(it has no end\)"),
    Case("waits.npz", saved(**session_columns(caller=np.array([9, 2]))), read_sessions, r": caller: holds a number"),
    Case("calls.npz", saved(**session_columns(first_call=np.array([0, 9, 9]))), read_sessions, r": first_call: must "),
    Case("grid.npz", saved(**session_columns(wait_s=np.ones((4, 2)))), read_sessions, r": wait_s: must be a row"),
    Case("never.npz", saved(**session_columns(wait_s=np.full(4, np.inf))), read_sessions, r": wait_s: holds a num"),
    Case("rates.npz", saved(**client_columns(rate_rps=np.full((2, 3), np.nan))), read_clients, r": rate_rps: holds"),
    Case("shapes.npz", saved(**client_columns(weibull=np.zeros((3, 2), bool))), read_clients, r": weibull: must have "),
    Case("years.csv", raw(b"price\n" + b"1\n" * 10**6), hourly, r": more than 17520 lines; a year has 8760 hours"),
    Case("places.csv", raw(b"," + b",".join(b"p%d" % n for n in range(2000))), read_rtt, r":1: .*1 to 1000 places"),
    Case("hollow.csv", raw(b""), read_rtt, r":1: .*1 to 1000 places"),
    Case("runs.csv", raw(b"batch,prompt_tokens\n" + b"1,1\n" * 10**5), runs, r": more than 10000 lines"),
    Case("runs.json", text("[" * 10**5), runs, r": not valid JSON|must be an object"),
    Case("bytes.json", raw(b" " * 20 * 2**20), runs, r": holds more than 16 MiB"),
    Case("log.csv", raw(b"timestamp,power [W]\n" + b"2024,1\n" * 2 * 10**6), read_power_log, r"log\.csv:"),
)


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """What reading a file costs in a process of its own that may take `MEMORY_BYTES` more than it has."""
    path = folder / case.file
    case.make(path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, json.dumps(_answer(case, path)).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    _, status, used = os.wait4(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    answer = json.loads(said) if said else {"problem": f"ended with status {status}", "kind": "killed"}
    size = path.stat().st_size if path.is_file() else 0
    path.unlink()
    return {**answer, "file": case.file, "bytes": size, "cpu_s": used.ru_utime + used.ru_stime}


def _answer(case: Case, path: Path) -> dict[str, Any]:
    before = _resident_bytes("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the parent
    resident = _resident_bytes("VmRSS")
    try:
        case.read(path)
        kind, problem = "accepted", ""
    except SpecError as error:
        kind, problem = "SpecError", str(error)
    except BaseException as error:
        kind, problem = type(error).__name__, str(error)[:1000]
    return {"kind": kind, "problem": problem, "peak_bytes": max(0, _resident_bytes("VmHWM") - resident)}


def _resident_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])


def table(costs: list[dict[str, Any]]) -> str:
    """The costs as a table of Markdown."""
    rows = ["| file | on disk | peak memory | CPU time | answer |", "|---|---|---|---|---|"]
    for cost in costs:
        problem = cost["problem"].partition(": ")[0].rpartition("/")[2] + ": " + cost["problem"].partition(": ")[2]
        rows.append(
            f"| `{cost['file']}` | {cost['bytes'] / 1024:,.0f} KiB | {cost['peak_bytes'] / 2**20:.0f} MiB | "
            f"{cost['cpu_s']:.2f} s | {problem[:110]} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure every case; as JSON with `--json`."""
    with tempfile.TemporaryDirectory() as folder:
        costs = [measure(case, Path(folder)) for case in CASES]
    print(json.dumps(costs) if "--json" in sys.argv else table(costs))


if __name__ == "__main__":
    main()
