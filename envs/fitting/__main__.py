"""`python -m tokenfleet.envs.fitting`; see the package."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tokenfleet.envs.catalog import catalog_names, find, load_entry
from tokenfleet.envs.fitting import clocks
from tokenfleet.envs.fitting.bench import TOKEN_BUDGET, Bench
from tokenfleet.envs.fitting.checks import check_runs
from tokenfleet.envs.fitting.entry import check_free, gpu_entry, is_there, profile_entry, write_entries
from tokenfleet.envs.fitting.fit import Fit, fit_profile
from tokenfleet.envs.fitting.power_log import read_power_log, with_power
from tokenfleet.envs.fitting.report import fitted_numbers, kept_from_start, report
from tokenfleet.envs.fitting.runs import Run, read_runs
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
    profile_name,
    roofline_profile,
)
from tokenfleet.envs.spec import Name, PositiveInt, Spec, SpecError

COMMAND = "python -m tokenfleet.envs.fitting"
USER_MISTAKE = 2


class Options(Spec):
    """What is typed; see `--help`."""

    runs: tuple[str, ...]
    model: Name
    gpu: Name
    tensor_parallel: PositiveInt
    out: str
    own_gpu: Name | None
    catalog: tuple[str, ...]
    start: Literal["catalogue", "roofline"]
    power_log: str | None
    boards: str
    token_budget: PositiveInt
    force: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["clocks"]:
            clocks.run(words[1:])
            return 0
        typed = _parser().parse_args(words)
        _run(Options.parse(vars(typed)), words)
    except SpecError as error:
        print(error, file=sys.stderr)
        return USER_MISTAKE
    return 0


def _run(chosen: Options, words: Sequence[str]) -> None:
    folders = _search_paths(chosen)
    bench = _bench(chosen, folders)
    name = profile_name(chosen.model, chosen.own_gpu or chosen.gpu, chosen.tensor_parallel)
    _check_target(chosen, name, folders)
    runs, notes = _runs(chosen)
    check_runs(runs, bench)
    fit = fit_profile(bench, _start(chosen, folders, bench), runs)
    gpu_data = load_entry("gpu", chosen.gpu, folders)
    entries = [gpu_entry(gpu_data, chosen.own_gpu)] if chosen.own_gpu else []
    entries = [entry for entry in entries if not is_there(chosen.out, entry)]
    gpu = bench.gpu.model_copy(update={"name": chosen.own_gpu or chosen.gpu})
    fit = replace(fit, profile=_described(fit, gpu, words, chosen))
    entries.append(profile_entry(fit.profile, gpu, bench.model))
    print(report(fit, notes))
    for path in write_entries(chosen.out, entries):
        print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Fit a catalogue profile to benchmark results and print its error.",
        epilog="`clocks SWEEP.csv` fits a board's clock law instead. docs/your-own-hardware.md has examples.",
    )
    parser.add_argument(
        "runs", nargs="+", help="CSV of runs, JSON of vllm bench serve --save-result, or a folder of it"
    )
    parser.add_argument("--model", required=True, help="catalogue name of the model, such as llama-3.1-8b")
    parser.add_argument("--gpu", required=True, help="catalogue name of the GPU, such as h100-sxm")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="boards of a replica (default: 1)")
    parser.add_argument("--out", default=".", help="catalogue folder to write to (default: this folder)")
    parser.add_argument("--own-gpu", help="name of your own for these boards; needed for a shipped pair")
    parser.add_argument("--catalog", action="append", default=[], help="catalogue folder with your GPUs and models")
    parser.add_argument(
        "--start", choices=("catalogue", "roofline"), default="catalogue",
        help="what to start from: the catalogue's profile of the pair if it has one (default), or a roofline",
    )  # fmt: skip
    parser.add_argument("--power-log", help="CSV of nvidia-smi, logged while the runs lasted")
    parser.add_argument(
        "--boards", default="", help="boards of the log that served the runs, such as 0,1 (default: all)"
    )
    parser.add_argument(
        "--token-budget", type=int, default=TOKEN_BUDGET,
        help=f"max_num_batched_tokens of vLLM (default: {TOKEN_BUDGET}, as vLLM has it on an H100; on an A100 2048)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="overwrite an entry that is already there")
    return parser


def _search_paths(chosen: Options) -> list[str]:
    """The user's folders; what was written before stands in the folder that is written to."""
    out = [chosen.out] if Path(chosen.out).is_dir() else []
    return list(dict.fromkeys([*chosen.catalog, *out]))


def _bench(chosen: Options, folders: Sequence[str]) -> Bench:
    gpu, model = load_gpu(chosen.gpu, folders), load_model(chosen.model, folders)
    kv_capacity_tokens(gpu, model, chosen.tensor_parallel)
    return Bench(gpu, model, chosen.tensor_parallel, chosen.token_budget)


def _check_target(chosen: Options, name: str, folders: Sequence[str]) -> None:
    """Refuse a name that is taken before any work is done."""
    if chosen.own_gpu and chosen.own_gpu in catalog_names("gpu"):
        raise SpecError([f"--own-gpu: {chosen.own_gpu!r} is a GPU of the shipped catalogue; choose a name of your own"])
    if name in catalog_names("profile"):
        raise SpecError(
            [f"--own-gpu: the shipped catalogue has {name}; give your boards a name, as in --own-gpu my-{chosen.gpu}"]
        )
    elsewhere = [folder for folder in folders if Path(folder).resolve() != Path(chosen.out).resolve()]
    if name in catalog_names("profile", elsewhere):
        raise SpecError(
            [f"--catalog: {find('profile', name, elsewhere)} is there already; write to its folder (--out)"]
        )
    check_free(chosen.out, f"profile/{name}.yaml", chosen.force)


def _runs(chosen: Options) -> tuple[list[Run], list[str]]:
    runs, notes = read_runs(chosen.runs)
    boards = [board.strip() for board in chosen.boards.split(",") if board.strip()]
    if chosen.power_log is None:
        if boards:
            raise SpecError(["--boards: there is no --power-log that it could choose from; leave it out"])
        return runs, notes
    runs, remarks = with_power(runs, read_power_log(chosen.power_log), chosen.tensor_parallel, boards)
    return runs, notes + remarks


def _start(chosen: Options, folders: Sequence[str], bench: Bench) -> ProfileSpec:
    """The catalogue's profile of the pair unless it is the entry that is written anew, or a roofline."""
    wired = load_interconnect(bench.gpu.interconnect, folders)
    roofline = roofline_profile(bench.gpu, bench.model, chosen.tensor_parallel, wired)
    own = Path(chosen.out) / "profile" / f"{roofline.name}.yaml"
    if chosen.start == "roofline" or own.exists():
        return roofline
    return load_profile(chosen.model, chosen.gpu, chosen.tensor_parallel, folders)


def _described(fit: Fit, gpu: GpuSpec, words: Sequence[str], chosen: Options) -> ProfileSpec:
    """The profile under its GPU's name, with what it comes from."""
    files = ", ".join([*chosen.runs, *([chosen.power_log] if chosen.power_log else [])])
    start = "a roofline" if fit.start.origin == "roofline" else fit.start.name
    kept = [*kept_from_start(fit), "decode_memory_fraction", "prefill_memory_fraction"]
    sources = [
        f"{', '.join(fitted_numbers(fit))}: fitted to {len(fit.runs)} runs of {files}",
        f"{', '.join(kept)}: kept from {start}, which the runs do not tell",
        f"command: {COMMAND} {shlex.join(words)}",
        *(f"{start}: {source}" for source in fit.start.sources),
    ]
    name = profile_name(fit.profile.model, gpu.name, fit.profile.tensor_parallel)
    return fit.profile.model_copy(update={"name": name, "gpu": gpu.name, "sources": tuple(sources)})


if __name__ == "__main__":
    sys.exit(main())
