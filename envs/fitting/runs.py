"""Benchmark results: one run of a server at a steady load a row of a CSV, or a JSON file of `vllm bench serve`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.envs.files import PathLike
from tokenfleet.envs.files.limits import JSON_BYTES, RUN_ROWS
from tokenfleet.envs.fitting.columns import Heading, headings, missing, moment_s, quantities
from tokenfleet.envs.fitting.records import JSON_SUFFIXES, json_records, table_rows
from tokenfleet.envs.spec import SpecError

FULL_SHARE = 0.8  # a server that decodes fewer of the requests in flight keeps the others waiting


@dataclass(frozen=True)
class Run:
    """One run; None where the benchmark does not say it.

    Attributes:
        place: file, and line of a table; what messages call it.
        name: what the report calls it.
        batch: mean number of sequences that run at a time.
        prompt_tokens: mean prompt [tokens].
        output_tokens: mean answer [tokens].
        context_tokens: mean context of a decoding sequence, prompt and what it has generated [tokens].
        median_step_s: median time between two tokens of a sequence [s].
        mean_step_s: its mean, pauses for other requests' prompts included [s].
        ttft_s: from sending a request to its first token [s].
        power_w: mean power of all boards of the replica together [W].
        start_s: beginning, in seconds since 1970.
        end_s: end, likewise.
    """

    place: str
    name: str
    batch: float
    prompt_tokens: float
    output_tokens: float
    context_tokens: float
    median_step_s: float | None = None
    mean_step_s: float | None = None
    ttft_s: float | None = None
    power_w: float | None = None
    start_s: float | None = None
    end_s: float | None = None


def read_runs(paths: Sequence[PathLike]) -> tuple[list[Run], list[str]]:
    """Read every run of some files.

    Args:
        paths: CSV tables, JSON files, or folders of JSON files.

    Returns:
        The runs, and remarks on how they were read.

    Raises:
        SpecError: one line per mistake, with the file, the line of a table, and the column.
    """
    runs: list[Run] = []
    notes: list[str] = []
    problems: list[str] = []
    for path in _files(paths):
        is_json = path.name.endswith(JSON_SUFFIXES)
        records = list(json_records(path) if is_json else table_rows(path, RUN_ROWS, JSON_BYTES))
        if not records:
            raise SpecError([f"{path}: holds no run"])
        names = dict.fromkeys(name for _, row in records for name in row)
        known, unknown = headings(str(path) if is_json else f"{path}:1", names)
        if unknown and not is_json:
            notes.append(f"{path}: columns that are not used: {', '.join(unknown)}")
        for place, row in records:
            try:
                run, remarks = _run(place, known, row)
            except SpecError as error:
                problems += error.problems
            else:
                runs.append(run)
                notes += remarks
    if problems:
        raise SpecError(problems)
    return runs, notes


def _files(paths: Sequence[PathLike]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        # Where asked to, vLLM writes each result a second time, in the format of PyTorch's dashboard.
        found = [
            file
            for file in sorted(path.iterdir())
            if file.name.endswith(JSON_SUFFIXES) and not file.stem.endswith(".pytorch")
        ]
        if not found:
            raise SpecError([f"{path}: no .json file in this folder; name a folder of vllm bench serve --save-result"])
        yield from found


def _run(place: str, known: Mapping[str, Heading], row: Mapping[str, Any]) -> tuple[Run, list[str]]:
    found = quantities(place, known, row)
    problems = missing(place, found)
    if problems:
        raise SpecError(problems[:1])
    prompt = found.get("prompt_tokens") or found["total_input_tokens"] / found["completed"]
    output = found.get("output_tokens") or found["total_output_tokens"] / found["completed"]
    name = str(row.get("run") or Path(place).name)
    batch, notes = _batch(name, found, output)
    decodes = output > 1.0
    start_s, end_s = _span(place, row, found)
    run = Run(
        place=place,
        name=name,
        batch=batch,
        prompt_tokens=prompt,
        output_tokens=output,
        context_tokens=found.get("context_tokens") or _context_tokens(row, prompt, output),
        median_step_s=found.get("median_itl") if decodes else None,
        mean_step_s=_mean_step_s(found, batch, output) if decodes else None,
        ttft_s=found.get("ttft"),
        power_w=found.get("power"),
        start_s=start_s,
        end_s=end_s,
    )
    return run, notes


def _batch(name: str, found: Mapping[str, float], output_tokens: float) -> tuple[float, list[str]]:
    """Sequences at a time: as given, or the requests in flight unless the server decoded far fewer (Little's law)."""
    if "batch" in found:
        return found["batch"], []
    in_flight = found.get("max_concurrency")
    if "output_tokens_per_s" not in found or "mean_tpot" not in found or output_tokens <= 1.0:
        return in_flight or 1.0, []
    decoding = found["output_tokens_per_s"] * found["mean_tpot"]
    if in_flight is not None and decoding >= FULL_SHARE * in_flight:
        return in_flight, []
    if in_flight is None:
        return decoding, []
    return decoding, [f"{name}: {in_flight:g} requests in flight, but tokens/s x TPOT = {decoding:.1f} of them decode"]


def _mean_step_s(found: Mapping[str, float], batch: float, output_tokens: float) -> float | None:
    """Mean time between tokens: as given, or what is left of a request (Little's law) after its first token."""
    if "mean_tpot" in found or "output_tokens_per_s" not in found:
        return found.get("mean_tpot")
    request_s = batch * output_tokens / found["output_tokens_per_s"]
    left_s = (request_s - found["ttft"]) / (output_tokens - 1.0) if "ttft" in found else request_s / output_tokens
    return left_s if left_s > 0.0 else None


def _context_tokens(row: Mapping[str, Any], prompt_tokens: float, output_tokens: float) -> float:
    """Mean over the generated tokens of what stands before them; for answers of one length where none is listed."""
    prompts, outputs = row.get("input_lens"), row.get("output_lens")
    if not (isinstance(prompts, list) and isinstance(outputs, list) and len(prompts) == len(outputs) and sum(outputs)):
        return prompt_tokens + 0.5 * output_tokens
    stood = sum(output * (prompt + 0.5 * output) for prompt, output in zip(prompts, outputs, strict=True))
    return float(stood / sum(outputs))


def _span(place: str, row: Mapping[str, Any], found: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Beginning and end; vLLM dates a result when the run has ended."""
    given = {key: moment_s(place, key, row[key]) for key in ("start", "end", "date") if row.get(key)}
    end_s = given.get("end", given.get("date"))
    start_s = given.get("start")
    if start_s is None and end_s is not None and "duration" in found:
        start_s = end_s - found["duration"]
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise SpecError([f"{place}: end: must be after start (got {row.get('end', row.get('date'))!r})"])
    return start_s, end_s
