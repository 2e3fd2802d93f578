"""`python -m tokenfleet.envs.fitting clocks`: a board's clock law from sweeps of clocks and power limits."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.files import check_free
from tokenfleet.envs.fitting.clock_law import ClockLaw, Sweep, best_clock, fit_clock_law
from tokenfleet.envs.fitting.clock_sweep import read_sweeps
from tokenfleet.envs.fitting.entry import gpu_entry, write_entries
from tokenfleet.envs.fitting.errors import mean_error, worst_error
from tokenfleet.envs.fitting.rounding import four_digits
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu
from tokenfleet.envs.spec import Name, PositiveFloat, Spec, SpecError

COMMAND = "python -m tokenfleet.envs.fitting clocks"
BINDS = 0.995  # share of a limit from which on a point counts as held by it


class Options(Spec):
    """What is typed; see `--help`."""

    sweep: str
    gpu: Name
    own_gpu: Name
    out: str
    catalog: tuple[str, ...]
    top_clock_mhz: PositiveFloat | None
    force: bool


def run(words: Sequence[str]) -> None:
    """Read the sweeps, fit the law, print its errors and write the board.

    Raises:
        SpecError: what is wrong with an option, the table or the folder.
    """
    chosen = Options.parse(vars(_parser().parse_args(list(words))))
    if chosen.own_gpu in catalog_names("gpu"):
        raise SpecError([f"--own-gpu: {chosen.own_gpu!r} is a GPU of the shipped catalogue; choose a name of your own"])
    check_free(Path(chosen.out) / "gpu" / f"{chosen.own_gpu}.yaml", chosen.force)
    gpu = load_gpu(chosen.gpu, chosen.catalog)
    sweeps = read_sweeps(chosen.sweep, gpu, chosen.top_clock_mhz)
    law = fit_clock_law(sweeps)
    name, data = gpu_entry(load_entry("gpu", chosen.gpu, chosen.catalog), chosen.own_gpu)
    data |= clock_values(law, sweeps, gpu)
    told = ", ".join(clock_values(law, sweeps, gpu))
    source = f"{told}: fitted to {sum(len(s.time_s) for s in sweeps)} points of {chosen.sweep}"
    data["sources"] = [source, f"command: {COMMAND} {shlex.join(words)}", *data["sources"]]
    GpuSpec.parse(data, f"gpu.{chosen.own_gpu}")
    print(report(sweeps, law))
    if data["tdp_w"] != gpu.tdp_w:
        print(f"note: {data['tdp_w']:g} W is above the {gpu.tdp_w:g} W of {gpu.name}; tdp_w of the entry says so")
    for path in write_entries(chosen.out, [(name, data)]):
        print(f"wrote {path}")


def clock_values(law: ClockLaw, sweeps: Sequence[Sweep], gpu: GpuSpec) -> dict[str, Any]:
    """Keys of a board's entry that sweeps tell, and their values.

    The limit is left out where it never binds, the awake draw where it would lie below idle or not below the limit, and
    the rated watts where no limit was above them.
    """
    values: dict[str, Any] = {
        "voltage_floor_fraction": round(law.board.voltage_floor_fraction, 3),
        "compute_memory_fraction": round(law.board.memory_fraction, 3),
    }
    rated = [law.predicted(sweep)[1] >= BINDS * law.board.held_fraction * sweep.limit_w for sweep in sweeps]
    limit_w = gpu.limit_w
    highest_w = max(float(sweep.limit_w.max()) for sweep in sweeps)
    if highest_w > gpu.tdp_w:
        values["tdp_w"] = four_digits(highest_w)
        limit_w = gpu.limit_fraction * highest_w
    if np.concatenate(rated).any():
        values["limit_fraction"] = round(min(law.board.held_fraction, 1.0), 3)
        limit_w = values["limit_fraction"] * max(gpu.tdp_w, highest_w)
    if gpu.idle_w <= law.board.static_w < limit_w:
        values |= {"static_w": four_digits(law.board.static_w), "floor_w": 0.0}
    return values


def report(sweeps: Sequence[Sweep], law: ClockLaw) -> str:
    """What a person is shown: the law, and how far one half of each sweep is from what the other half says."""
    lines = [
        f"awake {law.board.static_w:.1f} W, voltage floor {law.board.voltage_floor_fraction:.3f}, "
        f"limit held at {law.board.held_fraction:.3f}, compute-bound m {law.board.memory_fraction:.3f}",
        "",
        f"{'mean and worst error of one half by the other':46} {'points':>6}   {'time':15} {'power':15} best clock",
    ]
    for sweep in sweeps:
        even, odd = sweep.at(slice(0, None, 2)), sweep.at(slice(1, None, 2))
        times, watts = fit_clock_law([even]).errors([odd])
        time_s, power_w = law.predicted(sweep)
        best = float(sweep.clock_fraction[(time_s * power_w).argmin()])
        lines.append(
            f"{sweep.job or 'the job':46} {len(sweep.time_s):6d}   {_two(times):15} {_two(watts):15} "
            f"{best:.2f}, measured {best_clock(sweep):.2f}"
        )
    return "\n".join(lines)


def _two(errors: Any) -> str:
    return f"{mean_error(errors):6.1%} {worst_error(errors):+7.1%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Fit a board's clock law to sweeps of clocks or power limits and print its error.",
        epilog="docs/your-own-hardware.md has an example.",
    )
    parser.add_argument(
        "sweep", help="CSV of points: clock_mhz, power_limit_w; time_s or rate; power_w or energy_j; job"
    )
    parser.add_argument("--gpu", required=True, help="catalogue name of the GPU, such as h100-sxm")
    parser.add_argument("--own-gpu", required=True, help="name of your own for these boards")
    parser.add_argument("--out", default=".", help="catalogue folder to write to (default: this folder)")
    parser.add_argument("--catalog", action="append", default=[], help="catalogue folder with your GPUs")
    parser.add_argument("--top-clock-mhz", type=float, help="highest clock of the board (default: of the table)")
    parser.add_argument("--force", action="store_true", help="overwrite an entry that is already there")
    return parser
