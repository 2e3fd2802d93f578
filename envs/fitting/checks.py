"""No run may beat physics, hold more context than memory, or draw what its boards do not."""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.fitting.bench import Bench
from tokenfleet.envs.fitting.runs import Run
from tokenfleet.envs.layers.llm import kv_capacity_tokens
from tokenfleet.envs.layers.llm.bound import physical_bound_s
from tokenfleet.envs.layers.llm.iteration import Batch, prefill_pairs
from tokenfleet.envs.spec import SpecError

OVER_TDP = 1.05  # a mean above it is of more boards, or of the whole server


def check_runs(runs: Sequence[Run], bench: Bench) -> None:
    """Refuse runs that these boards cannot have done.

    Raises:
        SpecError: one line per run: faster than physics allows, more context than memory, watts beyond the boards'.
    """
    problems = [problem for run in runs for problem in (*_too_fast(run, bench), *_too_large(run, bench))]
    problems += [problem for run in runs for problem in _too_hot_or_cold(run, bench)]
    if problems:
        raise SpecError(problems)


def _too_fast(run: Run, bench: Bench) -> list[str]:
    batch, bound_by = max(run.batch, 1.0), (bench.gpu, bench.model, bench.parallelism)
    whose = f"{bench.model.name} on {bench.boards} x {bench.gpu.name} in {bench.model.arithmetic}"
    step = Batch(batch, batch * run.prompt_tokens, 0.0, 0.0)
    prompt = Batch(0.0, 0.0, run.prompt_tokens, prefill_pairs(round(run.prompt_tokens)))
    step_s, prompt_s = physical_bound_s(*bound_by, step), physical_bound_s(*bound_by, prompt)
    cases = (
        ("the median time between tokens", run.median_step_s, step_s, "speculative decoding"),
        ("the mean time between tokens", run.mean_step_s, step_s, "speculative decoding"),
        ("TTFT", run.ttft_s, prompt_s, "prompts that a prefix cache held"),
    )
    return [
        f"{run.place}: {what} of {1e3 * value:.4g} ms is faster than physics allows for {whose}, at least "
        f"{1e3 * bound:.4g} ms; likely another --gpu, --tensor-parallel or precision, or {also}"
        for what, value, bound, also in cases
        if value is not None and value < bound
    ]


def _too_large(run: Run, bench: Bench) -> list[str]:
    held = kv_capacity_tokens(bench.gpu, bench.model, bench.parallelism, memory_utilisation=1.0)
    needed = run.batch * bench.model.attended_tokens(run.context_tokens) / (1.0 + bench.model.window_ratio)
    if needed <= held:
        return []
    return [
        f"{run.place}: {run.batch:.4g} sequences of {run.context_tokens:.4g} tokens need a KV cache of {needed:.4g} "
        f"tokens, but at most {held} fit on {bench.boards} x {bench.gpu.name}; "
        "give the mean number that ran as 'batch', or check --gpu and --tensor-parallel"
    ]


def _too_hot_or_cold(run: Run, bench: Bench) -> list[str]:
    if run.power_w is None:
        return []
    board_w, gpu = run.power_w / bench.boards, bench.gpu
    if gpu.asleep_w <= board_w <= OVER_TDP * gpu.tdp_w:
        return []
    return [
        f"{run.place}: power of {run.power_w:.4g} W is {board_w:.4g} W a board; {gpu.name} draws {gpu.asleep_w:g} to "
        f"{gpu.tdp_w:g} W; give the sum over the {bench.boards} boards of the replica, without the server"
    ]
