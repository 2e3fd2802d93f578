"""The watts of a board from serving runs: one law a GPU, and how far it is from each run.

A run gives the mean power of its boards and, with its batch, throughput and model shape, the bytes and FLOPs that they
moved per second, prefill included. The coefficients of `board_power_w` are fitted to all dense models on a GPU by least
squares of relative error:

- H100 and B200: ML.ENERGY v3, vLLM that keeps the GPU busy;
- H100 and A100 40 GB: ML.ENERGY v2, an earlier vLLM in which the GPU waits for its host most of the time (joules per
  request times requests per second): it tells what a board draws while nothing runs, and the law before its knee;
- A100 80 GB: Splitwise, Llama-2-70B decoding; its joules are shared with the 40 GB board, the same chip.

What a run does not say is assumed: prompts (PROMPT_TOKENS), and the context of a running sequence, prompt + a share of
the mean output (CONTEXT_SHARE). Runs whose KV cache would not fit preempt and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.clock import fit_clock
from calibration.iterations import mean_over_prompts
from calibration.kernels import table
from calibration.shapes import DENSE, SHAPES, Shape
from tokenfleet.envs.layers.gpu import GpuSpec, board_power_w, load_gpu

Array = NDArray[np.float64]
GPU_NAMES = {
    "H100": "h100-sxm",
    "B200": "b200-sxm",
    "NVIDIA H100 80GB HBM3": "h100-sxm",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
    "a100-80gb": "a100-sxm-80gb",
}
# Assumptions: chat as in `calibration.serving`; the others are the sort of prompt that each task asks with.
PROMPT_TOKENS = {"lm-arena-chat": 250, "gpqa": 250, "sourcegraph-fim": 1200, "chat": 250, "code": 150}
# E[L^2] / (2 E[L]^2) of the outputs: 0.87 for chat (`calibration.serving`), nearer 1/2 where all answers are long.
CONTEXT_SHARE = {"lm-arena-chat": 0.87, "gpqa": 0.62, "sourcegraph-fim": 0.87, "chat": 0.7, "code": 0.7}
USABLE_MEMORY = 0.92
SPLITWISE_ANSWER = 128  # tokens generated in each of its runs
BUSY_WEIGHT = 2.0  # runs with a busy GPU count twice: they are what the product simulates
COEFFICIENTS = {
    "joule_per_byte": 1e-10,
    "joule_per_context_byte": 1e-10,
    "joule_per_flop": 1e-12,
    "knee_fraction": 0.5,
    "shoulder_slope": 0.5,
}
STARTS = (0.8, 1.2, 1.6)  # of the knee, in its unit: each has a local minimum
# GPU -> the runs its law is fitted to; boards of one chip share everything but what they draw awake.
CHIPS = {"h100-sxm": ("h100-sxm",), "b200-sxm": ("b200-sxm",), "a100-sxm": ("a100-sxm-40gb", "a100-sxm-80gb")}
PERSEUS_BOARD = "a100-sxm-80gb"  # awake it draws what Perseus measured
# What a byte costs in memory, at any core clock: 3.92 pJ a bit of HBM2 (M. O'Connor et al., "Fine-Grained DRAM", MICRO
# 2017, doi:10.1145/3123939.3124545). Newer stacks are taken to be alike (assumption).
MEMORY_JOULE_PER_BYTE = 8 * 3.92e-12


@dataclass(frozen=True)
class BoardFit:
    """A fitted law: GPU -> its spec with the fitted values, and the runs with predicted watts and errors."""

    gpus: dict[str, GpuSpec]
    runs: pd.DataFrame

    @property
    def errors(self) -> list[float]:
        """Signed relative errors of the runs that keep their GPU busy."""
        return [float(error) for error in self.runs[self.runs.busy].error]


@cache
def runs(dense: bool = True) -> pd.DataFrame:
    """Every run with what a board moves and computes in an iteration, by `work`; treat it as read-only."""
    later, earlier = table("power_runs").assign(busy=True), table("power_runs_earlier").assign(busy=False)
    requests_per_s = earlier.output_throughput_tokens_per_sec / earlier.avg_output_len
    earlier = earlier.assign(avg_power_watts=earlier.joule_per_request * requests_per_s)
    rows = pd.concat([later, earlier.assign(tensor_parallel=earlier.num_gpus)], ignore_index=True)
    rows = rows[rows.model_id.isin(DENSE) == dense]
    rows = rows.assign(gpu=rows.gpu_model.map(GPU_NAMES), prompt=rows.task.map(PROMPT_TOKENS))
    rows = rows.assign(
        tau_s=rows.avg_batch_size / rows.output_throughput_tokens_per_sec,
        watts=rows.avg_power_watts / rows.num_gpus,
        prefill=rows.avg_batch_size / rows.avg_output_len * rows.prompt,
        context=rows.prompt + rows.task.map(CONTEXT_SHARE) * rows.avg_output_len,
    )
    both = pd.concat([rows, _splitwise()] if dense else [rows], ignore_index=True)
    return work(both)


def work(rows: pd.DataFrame) -> pd.DataFrame:
    """Add family and weight_bytes, context_bytes and flops of a board in an iteration, and drop runs that do not fit.

    Of them, expert_flops are of routed experts and packed_bytes of experts in less than 8 bits a weight.
    """
    frames = []
    for model_id, group in rows.groupby("model_id"):
        shape = SHAPES[model_id]
        boards, tp = group.num_gpus.to_numpy(float), group.tensor_parallel.to_numpy(float)
        tokens = (group.avg_batch_size + group.prefill).to_numpy()
        experts = shape.expert_weights * _touched_experts(shape, group)
        weights = shape.common_weights * shape.bytes_per_weight / tp
        attended = group.avg_batch_size * shape.attended(group.context.to_numpy())
        held_bytes = shape.kv_bytes_per_token * attended / boards + weights
        held_bytes += shape.expert_weights * shape.experts * shape.bytes_per_expert_weight / boards
        memory_bytes = group.gpu.map(lambda name: load_gpu(name).memory_bytes)
        expert_bytes = experts * shape.bytes_per_expert_weight / boards
        frames.append(
            group.assign(
                family=shape.family,
                weight_bytes=weights + expert_bytes,
                packed_bytes=expert_bytes * (shape.bytes_per_expert_weight < 1.0),
                context_bytes=shape.kv_bytes_per_token * attended / boards,
                flops=2.0 * (shape.common_weights + shape.expert_weights * shape.routed) * tokens / boards,
                expert_flops=2.0 * shape.expert_weights * shape.routed * tokens / boards,
            )[held_bytes < USABLE_MEMORY * memory_bytes]
        )
    return pd.concat(frames, ignore_index=True)


def _touched_experts(shape: Shape, rows: pd.DataFrame) -> float | Array:
    """Experts of a layer that an iteration reads on average; one of the mean number of tokens would read far more."""
    if not shape.experts:
        return 0.0
    batch, prompt, prefill = (rows[name].to_numpy(float) for name in ("avg_batch_size", "prompt", "prefill"))
    return mean_over_prompts(shape.touched_experts, batch, prompt, prefill / prompt)


@dataclass(frozen=True)
class Rates:
    """What the boards of some runs move and compute in a second, and which of the runs they are."""

    mine: NDArray[np.bool_]
    bytes_per_s: Array
    flops: Array
    context_bytes_per_s: Array

    def lawful_w(self, gpu: GpuSpec) -> Array:
        """Watts by the law of a GPU at full clock."""
        full_clock = np.ones_like(self.flops)
        return board_power_w(gpu, self.bytes_per_s, self.flops, full_clock, self.context_bytes_per_s)


def rates_by_gpu(rows: pd.DataFrame) -> dict[str, Rates]:
    """GPU -> the rates of its runs."""
    per_s = [(rows[name] / rows.tau_s).to_numpy(float) for name in ("weight_bytes", "flops", "context_bytes")]
    masks = {name: (rows.gpu == name).to_numpy() for name in rows.gpu.unique()}
    return {name: Rates(mine, *(rate[mine] for rate in per_s)) for name, mine in masks.items()}


def predicted_w(gpus: Mapping[str, GpuSpec], rates: Mapping[str, Rates]) -> Array:
    """Watts of every run by the law of its GPU."""
    watts = np.empty(len(next(iter(rates.values())).mine))
    for name, own in rates.items():
        watts[own.mine] = own.lawful_w(gpus[name])
    return watts


@cache
def fit_board(chip: str, without: str = "") -> BoardFit:
    """The law of a chip's boards from every dense run on them, but those of the family `without`.

    The A100 80 GB keeps what Perseus measured awake; every other awake power is fitted, from idle power up.
    """
    rows = runs()
    rows = rows[rows.gpu.isin(CHIPS[chip])]
    used = rows[rows.family != without]
    rates, watts = rates_by_gpu(used), used.watts.to_numpy()
    weight = np.where(used.busy, BUSY_WEIGHT, 1.0)
    spec = {name: load_gpu(name) for name in CHIPS[chip]}
    idle = [gpu.idle_w / 100.0 for name, gpu in spec.items() if name != PERSEUS_BOARD]

    def error(x: Array) -> Array:
        return np.asarray(weight * (predicted_w(_with_coefficients(spec, x), rates) / watts - 1.0))

    lower = [0.0, 0.0, 0.0, 0.2, 0.0, *idle]
    upper = [20.0, 20.0, 20.0, 2.0, 2.0] + [3.0] * len(idle)
    found = [
        least_squares(
            error, [1.4, 2.0, 1.6, knee, 1.0] + [2.0] * len(idle), bounds=(lower, upper), loss="soft_l1",
            f_scale=0.03, diff_step=1e-4,
        )
        for knee in STARTS
    ]  # fmt: skip
    gpus = _with_coefficients(spec, min(found, key=lambda solved: float(solved.cost)).x)
    watts_by_law = predicted_w(gpus, rates_by_gpu(rows))
    return BoardFit(gpus, rows.assign(predicted=watts_by_law, error=watts_by_law / rows.watts - 1.0))


def mixture_w(rows: pd.DataFrame, expert_flop_cost: float, packed_byte_cost: float) -> Array:
    """Watts of runs of mixtures of experts by the laws of dense models, experts at costs of their own."""
    gpus = {chip: fit_board(chip).gpus[chip] for chip in rows.gpu.unique()}
    priced = rows.assign(
        flops=rows.flops + (expert_flop_cost - 1.0) * rows.expert_flops,
        weight_bytes=rows.weight_bytes + (packed_byte_cost - 1.0) * rows.packed_bytes,
    )
    return predicted_w(gpus, rates_by_gpu(priced))


@cache
def fit_expert_costs(without: str = "") -> tuple[float, float]:
    """EXPERT_FLOP_COST and PACKED_BYTE_COST by least squares of relative error.

    Every family but `without` counts the same.
    """
    rows = runs(dense=False)
    rows = rows[rows.family != without].reset_index(drop=True)
    weight = np.sqrt(1.0 / rows.groupby("family").watts.transform("size"))

    def error(costs: Array) -> Array:
        return np.asarray(weight * (mixture_w(rows, *costs.tolist()) / rows.watts - 1.0))

    flop_cost, packed_byte_cost = least_squares(error, [3.0, 2.0], bounds=([1.0, 1.0], [10.0, 10.0]), diff_step=1e-4).x
    return float(flop_cost), float(packed_byte_cost)


def _with_coefficients(spec: Mapping[str, GpuSpec], x: Array) -> dict[str, GpuSpec]:
    """The boards of a chip with a vector to fit: COEFFICIENTS in their units, then hundreds of awake watts."""
    shared = {name: float(value) * unit for (name, unit), value in zip(COEFFICIENTS.items(), x, strict=False)}
    awake = iter(x[len(COEFFICIENTS) :])
    return {
        name: gpu.model_copy(
            update={
                **shared,
                "static_w": fit_clock().static_w if name == PERSEUS_BOARD else 100.0 * float(next(awake)),
                "floor_w": 0.0,
            }
        )
        for name, gpu in spec.items()
    }


def coefficients(fitted: GpuSpec) -> dict[str, float]:
    """The fitted values of a board as the catalogue has them; what it draws awake beyond idle is switched clocks."""
    awake_w, idle_w = fitted.static_w, load_gpu(fitted.name).idle_w
    static_w = awake_w if fitted.name == PERSEUS_BOARD else min(awake_w, idle_w)
    shared = {name: getattr(fitted, name) for name in COEFFICIENTS}
    core = 1.0 - MEMORY_JOULE_PER_BYTE / fitted.joule_per_byte
    return {"static_w": static_w, "floor_w": awake_w - static_w, **shared, "core_byte_fraction": core}


def scaled_coefficients(gpu: GpuSpec, chips: tuple[str, ...] = tuple(CHIPS)) -> dict[str, float]:
    """A board that nobody measured, from its data sheet and the ratios of measured chips; an assumption.

    What all its bandwidth, or all its arithmetic, would draw is the same multiple of its limit as on the others
    (geometric mean), the knee is as far up and the shoulder as steep (mean).
    """
    donors = [fit_board(chip).gpus[CHIPS[chip][-1]] for chip in chips]

    def ratio(name: str, rate: str) -> float:
        shares = [getattr(donor, name) * getattr(donor, rate) / donor.limit_w for donor in donors]
        return float(np.exp(np.mean(np.log(shares)))) * gpu.limit_w / float(getattr(gpu, rate))

    joule_per_byte = ratio("joule_per_byte", "memory_bandwidth_bytes_per_s")
    return {
        "joule_per_byte": joule_per_byte,
        "joule_per_context_byte": ratio("joule_per_context_byte", "memory_bandwidth_bytes_per_s"),
        "joule_per_flop": ratio("joule_per_flop", "peak_bf16_flops"),
        "knee_fraction": float(np.mean([donor.knee_fraction for donor in donors])),
        "shoulder_slope": float(np.mean([donor.shoulder_slope for donor in donors])),
        "core_byte_fraction": max(0.0, 1.0 - MEMORY_JOULE_PER_BYTE / joule_per_byte),
    }


def _splitwise() -> pd.DataFrame:
    """Splitwise's A100 80 GB: TP 2 and 4, one to 16 sequences of up to 2048 tokens; TP 8 waits for its host."""
    rows = table("splitwise")
    rows = rows[(rows.hardware == "a100-80gb") & rows.tensor_parallel.isin([2, 4]) & rows.average_power.notna()]
    rows = rows[rows.prompt_size <= 2048]
    return pd.DataFrame(
        {
            "model_id": "llama2-70b",
            "task": "decode",
            "gpu": "a100-sxm-80gb",
            "busy": True,
            "num_gpus": rows.tensor_parallel,
            "tensor_parallel": rows.tensor_parallel,
            "avg_batch_size": rows.batch_size,
            "prefill": 0.0,
            "context": rows.prompt_size + SPLITWISE_ANSWER / 2,
            "tau_s": rows.token_time * 1e-3,
            "watts": rows.average_power * load_gpu("a100-sxm-80gb").tdp_w,
        }
    )
