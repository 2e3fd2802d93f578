"""Benchmarks of servers whose profile is known: what the law of an iteration says, or what the engine did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from tests.engine.runs import run as run_engine
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.fitting import Bench, Run
from tokenfleet.envs.fitting.compare import BOARD_POWER, DECODE_STEP, MEAN_ITERATION, prompt_time_s
from tokenfleet.envs.fitting.numbers import profile_with, start_values
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import ProfileSpec, bounds_s, load_model, roofline_profile
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.traces import RequestTable

H100_8B = Bench(load_gpu("h100-sxm"), load_model("llama-3.1-8b"), 1, token_budget=2048)
H100_70B = Bench(load_gpu("h100-sxm"), load_model("llama-3.1-70b"), 4, token_budget=2048)


def roofline(bench: Bench) -> ProfileSpec:
    return roofline_profile(bench.gpu, bench.model, bench.parallelism, load_interconnect(bench.gpu.interconnect))


def with_numbers(bench: Bench, **values: float) -> ProfileSpec:
    """The roofline of a bench with some of its numbers at known values."""
    start, least = roofline(bench), bounds_s(bench.gpu, bench.model, bench.parallelism)
    return profile_with(start, least, {**start_values(start), **values})


def lawful_runs(
    bench: Bench, truth: ProfileSpec, loads: Sequence[tuple[float, float, float]], noise: float, seed: int = 0
) -> list[Run]:
    """Runs of (batch, prompt, answer) by the law of an iteration, each value off by a normal relative error."""
    rng = np.random.default_rng(seed)
    plain = [Run(f"lab.csv:{i + 2}", f"run {i}", *load, load[1] + load[2] / 2) for i, load in enumerate(loads)]
    columns = [comparison.predicted(truth, bench, plain) for comparison in (DECODE_STEP, MEAN_ITERATION, BOARD_POWER)]
    ttft_s = [prompt_time_s(truth, bench, run.prompt_tokens) for run in plain]
    values = np.array([*columns, ttft_s]) * (1.0 + noise * rng.standard_normal((4, len(plain))))
    return [
        replace(run, median_step_s=median, mean_step_s=mean, power_w=watts, ttft_s=ttft)
        for run, median, mean, watts, ttft in zip(plain, *values.tolist(), strict=True)
    ]


def engine_run(bench: Bench, truth: ProfileSpec, clients: int, prompt: int, answer: int, calls: int = 8) -> Run:
    """What the engine does with some clients that each ask again as soon as they are answered.

    Answers differ, from half to one and a half of their mean, so that requests do not march in step.
    """
    rng = np.random.default_rng(clients)
    total = clients * calls
    outputs = rng.integers(answer // 2, answer + answer // 2 + 1, total).astype(np.int32)
    waits = np.arange(total) >= clients
    requests = RequestTable.of(
        np.where(waits, np.inf, 1e-3 * np.arange(total)),
        np.full(total, prompt, np.int32),
        outputs,
        predecessors=waits.astype(np.int32),
        edges=[(call, call + clients) for call in range(total - clients)],
    )
    arrays = _server(bench, truth, clients)
    memory_fraction = np.array([truth.decode_memory_fraction])
    episode = replace(plain_episode(arrays, requests), decode_memory_fraction=memory_fraction)
    log = run_engine("native", arrays, episode).log
    assert np.all(log.status == 1)
    # The first call of each client finds a cold server, the last ones a server that others have left.
    steady = np.arange(clients, max(total - 2 * clients, clients + 1))
    between_s = (log.finished_s - log.first_token_s)[steady]
    pairs = outputs[steady] - 1
    context = prompt + (outputs[steady].astype(float) ** 2).sum() / (2.0 * outputs[steady].sum())
    return Run(
        place=f"engine:{clients}",
        name=f"{clients} clients",
        batch=float(clients),
        prompt_tokens=float(prompt),
        output_tokens=float(outputs[steady].mean()),
        context_tokens=float(context),
        mean_step_s=float(between_s.sum() / pairs.sum()),
        ttft_s=float(np.median((log.first_token_s - log.asked_s)[steady])),
    )


def _server(bench: Bench, truth: ProfileSpec, max_batch: int) -> FleetArrays:
    """One replica of a profile on its boards, which keep their limit, with nothing else in the way."""
    law = Coefficients.stack([Coefficients.of(bench.gpu, bench.model, truth)])
    columns = {quantity.name for quantity in quantities_of(FleetArrays)}
    return replace(
        one_pool(max_batch=max_batch, token_budget=bench.token_budget, tick_s=10.0, horizon_ticks=60),
        **{field.name: getattr(law, field.name) for field in fields(law) if field.name in columns},
    )
