"""`python -m tokenfleet.envs.fitting`; see the package."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenfleet.envs.catalog import catalog_names, find, load_entry
from tokenfleet.envs.commands import exit_status
from tokenfleet.envs.files import check_free
from tokenfleet.envs.fitting import clocks
from tokenfleet.envs.fitting.bench import TOKEN_BUDGET, Bench
from tokenfleet.envs.fitting.checks import check_runs
from tokenfleet.envs.fitting.entry import gpu_entry, is_there, profile_entry, write_entries
from tokenfleet.envs.fitting.fit import FitOutcome, fit_profile
from tokenfleet.envs.fitting.power_log import read_power_log, with_power
from tokenfleet.envs.fitting.report import fitted_numbers, kept_from_start, report
from tokenfleet.envs.fitting.request_fit import fit_requests
from tokenfleet.envs.fitting.request_log import is_request_log, read_request_log
from tokenfleet.envs.fitting.request_report import request_report
from tokenfleet.envs.fitting.runs import Run, read_runs
from tokenfleet.envs.layers.gpu import GpuSpec, load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    Parallelism,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
    profile_name,
    roofline_profile,
)
from tokenfleet.envs.spec import Name, PositiveInt, Spec, SpecError, counted

COMMAND = "python -m tokenfleet.envs.fitting"


class Options(Spec):
    """What is typed; see `--help`."""

    runs: tuple[str, ...]
    model: Name
    gpu: Name
    tensor_parallel: PositiveInt
    data_parallel: PositiveInt
    expert_parallel: PositiveInt
    pipeline_parallel: PositiveInt
    out: str
    own_gpu: Name | None
    catalog: tuple[str, ...]
    start: Literal["catalogue", "roofline"]
    power_log: str | None
    boards: str
    token_budget: PositiveInt
    max_batch: PositiveInt
    kv_tokens: PositiveInt | None
    requests: bool
    force: bool

    @property
    def parallelism(self) -> Parallelism:
        """How the boards of a replica share the model."""
        return Parallelism(self.tensor_parallel, self.data_parallel, self.expert_parallel, self.pipeline_parallel)


@dataclass(frozen=True)
class Told:
    """What measurements tell of a profile.

    Attributes:
        profile: with its numbers fitted.
        estimates: what became of each number.
        measured: how many measurements there were, and of what.
        report: what a person is shown.
    """

    profile: ProfileSpec
    estimates: list[FitOutcome]
    measured: str
    report: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see the package."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["clocks"]:
        return exit_status(lambda: clocks.run(words[1:]))
    typed = _parser().parse_args(words)
    return exit_status(lambda: _run(Options.parse(vars(typed)), words))


def _run(chosen: Options, words: Sequence[str]) -> None:
    folders = _search_paths(chosen)
    bench = _bench(chosen, folders)
    name = profile_name(chosen.model, chosen.own_gpu or chosen.gpu, chosen.parallelism)
    _check_target(chosen, name, folders)
    start = _start(chosen, folders, bench)
    told = (_told_by_requests if _is_log(chosen) else _told_by_runs)(chosen, folders, bench, start)
    gpu_data = load_entry("gpu", chosen.gpu, folders)
    entries = [gpu_entry(gpu_data, chosen.own_gpu)] if chosen.own_gpu else []
    entries = [entry for entry in entries if not is_there(chosen.out, entry)]
    gpu = bench.gpu.model_copy(update={"name": chosen.own_gpu or chosen.gpu})
    profile = _described(told, start, gpu, words, chosen)
    entries.append(profile_entry(profile, gpu, bench.model))
    print(told.report.replace(told.profile.name, profile.name))
    for path in write_entries(chosen.out, entries):
        print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Fit a catalogue profile to benchmark results and print its error.",
        epilog="`clocks SWEEP.csv` fits a board's clock law instead. docs/your-own-hardware.md has examples.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        help="CSV of runs, JSON of vllm bench serve --save-result or a folder of it, or one log of requests",
    )
    parser.add_argument("--model", required=True, help="catalogue name of the model, such as llama-3.1-8b")
    parser.add_argument("--gpu", required=True, help="catalogue name of the GPU, such as h100-sxm")
    parser.add_argument("--tensor-parallel", type=int, default=1, help="boards that split every matrix (default: 1)")
    parser.add_argument(
        "--data-parallel", type=int, default=1, help="groups of such boards, of a mixture of experts (default: 1)"
    )
    parser.add_argument(
        "--expert-parallel", type=int, default=1, help="boards that experts are shared out among, all or 1 (default: 1)"
    )
    parser.add_argument("--pipeline-parallel", type=int, default=1, help="stages of such boards (default: 1)")
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
    parser.add_argument(
        "--requests", action="store_true", help="the file is a log of requests; of a CSV, its columns say so"
    )
    parser.add_argument(
        "--max-batch", type=int, default=256, help="max_num_seqs of vLLM, for a log of requests (default: 256)"
    )
    parser.add_argument(
        "--kv-tokens", type=int, help="KV cache of the replica, for a log of requests (default: what memory leaves)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite an entry that is already there")
    return parser


def _search_paths(chosen: Options) -> list[str]:
    """The user's folders; what was written before stands in the folder that is written to."""
    out = [chosen.out] if Path(chosen.out).is_dir() else []
    return list(dict.fromkeys([*chosen.catalog, *out]))


def _bench(chosen: Options, folders: Sequence[str]) -> Bench:
    gpu, model = load_gpu(chosen.gpu, folders), load_model(chosen.model, folders)
    chosen.parallelism.check(model.name, model.attention_heads, model.experts, model.layers)
    kv_capacity_tokens(gpu, model, chosen.parallelism)
    return Bench(gpu, model, chosen.parallelism, chosen.token_budget)


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
    check_free(Path(chosen.out) / "profile" / f"{name}.yaml", chosen.force)


def _is_log(chosen: Options) -> bool:
    """Whether a log of requests was given, by its columns or because the user says so."""
    if not chosen.requests and not any(is_request_log(Path(path)) for path in chosen.runs):
        return False
    if len(chosen.runs) > 1:
        raise SpecError([f"runs: one log of requests at a time (got {len(chosen.runs)} files)"])
    if chosen.power_log is not None or chosen.boards:
        raise SpecError(["--power-log: a log of requests says nothing of watts; fit them to runs"])
    return True


def _told_by_runs(chosen: Options, folders: Sequence[str], bench: Bench, start: ProfileSpec) -> Told:
    runs, notes = _runs(chosen)
    check_runs(runs, bench)
    fit = fit_profile(bench, start, runs)
    return Told(fit.profile, fit.estimates, counted(len(runs), "run"), report(fit, notes))


def _told_by_requests(chosen: Options, folders: Sequence[str], bench: Bench, start: ProfileSpec) -> Told:
    pool = {
        "gpu": chosen.gpu,
        "model": chosen.model,
        **{f"{way}_parallel": count for way, count in chosen.parallelism._asdict().items()},
        "token_budget": chosen.token_budget,
        "max_batch": chosen.max_batch,
        "kv_tokens": chosen.kv_tokens,
        "kv_policy": "grow",
        "kv_watermark": 0.0,
        "prefix_cache": True,
    }
    fit = fit_requests(bench, start, read_request_log(Path(chosen.runs[0])), pool, tuple(folders))
    return Told(fit.profile, fit.estimates, f"{len(fit.log)} requests", request_report(fit))


def _runs(chosen: Options) -> tuple[list[Run], list[str]]:
    runs, notes = read_runs(chosen.runs)
    boards = [board.strip() for board in chosen.boards.split(",") if board.strip()]
    if chosen.power_log is None:
        if boards:
            raise SpecError(["--boards: there is no --power-log that it could choose from; leave it out"])
        return runs, notes
    runs, remarks = with_power(runs, read_power_log(chosen.power_log), chosen.parallelism.boards, boards)
    return runs, notes + remarks


def _start(chosen: Options, folders: Sequence[str], bench: Bench) -> ProfileSpec:
    """The catalogue's profile of the pair unless it is the entry that is written anew, or a roofline."""
    wired = load_interconnect(bench.gpu.interconnect, folders)
    roofline = roofline_profile(bench.gpu, bench.model, chosen.parallelism, wired)
    own = Path(chosen.out) / "profile" / f"{roofline.name}.yaml"
    if chosen.start == "roofline" or own.exists():
        return roofline
    return load_profile(chosen.model, chosen.gpu, chosen.parallelism, folders)


def _described(told: Told, start: ProfileSpec, gpu: GpuSpec, words: Sequence[str], chosen: Options) -> ProfileSpec:
    """The profile under its GPU's name, with what it comes from."""
    files = ", ".join([*chosen.runs, *([chosen.power_log] if chosen.power_log else [])])
    begun = "a roofline" if start.origin == "roofline" else start.name
    kept = [*kept_from_start(told.estimates), "decode_memory_fraction", "prefill_memory_fraction"]
    sources = [
        f"{', '.join(fitted_numbers(told.estimates))}: fitted to {told.measured} of {files}",
        f"{', '.join(kept)}: kept from {begun}, which the {told.measured.split()[-1]} do not tell",
        f"command: {COMMAND} {shlex.join(words)}",
        *(f"{begun}: {source}" for source in start.sources),
    ]
    name = profile_name(told.profile.model, gpu.name, told.profile.parallelism)
    return told.profile.model_copy(update={"name": name, "gpu": gpu.name, "sources": tuple(sources)})


if __name__ == "__main__":
    sys.exit(main())
