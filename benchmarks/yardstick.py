"""What one core of this machine does right now, so that figures of different machines and days can be compared.

Machines are shared and noisy: a figure in requests per second says little without the speed of the machine in the same
minute. The yardstick is SHA-256 over one mebibyte, single-threaded C that every Python has.
"""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

BLOCK = bytes(2**20)


def hash_rate_mib_per_s(seconds: float = 0.3) -> float:
    """MiB of SHA-256 a second."""
    blocks, start_s = 0, time.perf_counter()
    while time.perf_counter() - start_s < seconds:
        hashlib.sha256(BLOCK).digest()
        blocks += 1
    return blocks / (time.perf_counter() - start_s)


def best_rate(
    work: Callable[[], float], repeats: int = 5, before: Callable[[], object] = lambda: None
) -> tuple[float, float]:
    """Best of `repeats` calls of `work`, which does something and returns how much of it.

    `before` runs right before each of them and is not timed. The yardstick empties the caches: let `before` do some of
    the work where this matters.

    Returns:
        Amount per second of the best call, and that over the yardstick's rate beside it [amount per hashed MiB].
    """
    rates = []
    for _ in range(repeats):
        hashed = hash_rate_mib_per_s()
        before()
        start_s = time.perf_counter()
        amount = work()
        rate = amount / (time.perf_counter() - start_s)
        rates.append((rate, rate / hashed))
    return max(rates)


def resident_mib() -> float:
    """Memory that this process holds now [MiB]."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def report(title: str, rows: list[dict[str, object]], output: Path | None) -> None:
    """Print a table, and write the same as JSON with the machine's description."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "measure" else "right")
    for row in rows:
        table.add_row(*(f"{value:,.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console()
    console.print(table)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "processor": processor()}
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"title": title, "machine": machine, "rows": rows}, indent=2), encoding="utf-8")
        console.print(f"written to {output}")


def processor() -> str:
    """The processor's name, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
