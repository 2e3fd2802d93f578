"""Laws that every board, model and way of sharing it keeps, measured or not, drawn from the whole catalogue."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import LargestBatch, kv_capacity_tokens, load_model, load_profile
from tokenfleet.envs.layers.llm.bound import physical_bound_s
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import (
    Batch,
    iteration_effort,
    iteration_time_s,
    iteration_work_j,
    unlimited_time_s,
)
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.spec import SpecError

LARGEST_BATCH = LargestBatch(token_budget=8192, max_batch=256)
WAYS = [
    *(Parallelism(boards) for boards in (1, 2, 4, 8)),
    Parallelism(1, 8, 8), Parallelism(2, 4, 8), Parallelism(1, 8), Parallelism(2, pipeline=2),
]  # fmt: skip
NVLINK = ("a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200-sxm")
Served = tuple[str, str, Parallelism]


def kv_tokens(served: Served) -> int:
    """KV cache of a replica, none where the model does not fit or cannot be shared so."""
    gpu, model, shared = load_gpu(served[0]), load_model(served[1]), served[2]
    try:
        shared.check(model.name, model.attention_heads, model.experts, model.layers)
        return kv_capacity_tokens(gpu, model, shared, largest_batch=LARGEST_BATCH)
    except SpecError:
        return 0


SERVED = [served for served in product(catalog_names("gpu"), catalog_names("model"), WAYS) if kv_tokens(served)]
replicas = st.sampled_from(SERVED)
clocks = st.floats(0.3, 1.0)


@cache
def law(served: Served) -> Coefficients:
    gpu, model, shared = served
    return Coefficients.of(load_gpu(gpu), load_model(model), load_profile(model, gpu, shared))


def work(served: Served, sequences: int, context: float, prompt: int) -> Batch[float]:
    """So many sequences of so much context each, and a prompt."""
    model = load_model(served[1])
    attended = sequences * float(model.attended_tokens(context))
    return Batch(float(sequences), attended, float(prompt), float(model.attended_pairs(float(prompt))))


batches = st.tuples(st.integers(1, 512), st.floats(1.0, 32_000.0), st.sampled_from([0, 1, 100, 2048, 8192]))


@given(replicas, batches)
def test_no_replica_beats_physics(served, batch):
    bound_s = physical_bound_s(load_gpu(served[0]), load_model(served[1]), served[2], work(served, *batch))
    assert iteration_time_s(law(served).at_clock(1.0), work(served, *batch)) >= bound_s * (1 - 1e-9)


@given(replicas, batches, clocks)
def test_more_sequences_and_longer_contexts_take_longer(served, batch, clock):
    (sequences, context, prompt), physics = batch, law(served).at_clock(clock)
    here_s = iteration_time_s(physics, work(served, *batch))
    assert iteration_time_s(physics, work(served, sequences + 1, context, prompt)) > here_s
    assert iteration_time_s(physics, work(served, sequences, 2.0 * context, prompt)) > here_s


@given(replicas, batches, clocks, clocks)
def test_a_slower_clock_is_never_quicker_and_never_draws_more(served, batch, one, other):
    slow, fast = (iteration_effort(law(served).at_clock(clock), work(served, *batch)) for clock in sorted((one, other)))
    assert slow.time_s >= fast.time_s * (1 - 1e-9)
    assert slow.power_w <= fast.power_w * (1 + 1e-9)


@given(replicas, batches, clocks)
def test_boards_draw_at_least_what_idle_ones_do_and_at_most_their_limit(served, batch, clock):
    gpu = load_gpu(served[0])
    asked = max(clock, gpu.clock_floor_fraction)
    watts = iteration_effort(law(served).at_clock(asked), work(served, *batch)).power_w / served[2].boards
    assert gpu.idle_w * (1 - 1e-9) <= watts <= gpu.limit_w * (1 + 1e-9)


@given(replicas, batches)
def test_no_work_costs_more_than_all_units_at_their_peak_for_as_long(served, batch):
    """Arithmetic in bf16 at its peak rate and all of the bandwidth; vain arithmetic goes through the same units."""
    (gpu, model, shared), physics = served, law(served).at_clock(1.0)
    board, factor = load_gpu(gpu), load_profile(model, gpu, shared).power_factor
    byte_j = max(board.joule_per_byte, board.joule_per_context_byte)
    peak_w = board.joule_per_flop * board.peak_bf16_flops + byte_j * board.memory_bandwidth_bytes_per_s
    most_j = shared.boards * factor * peak_w * unlimited_time_s(physics, work(served, *batch))
    assert iteration_work_j(physics, work(served, *batch)) <= most_j * (1 + 1e-9)


@pytest.mark.parametrize("gpu", NVLINK)
@pytest.mark.parametrize("boards", [1, 2, 4])
def test_twice_the_boards_of_a_dense_model_help_and_do_not_work_wonders(gpu, boards):
    """Over NVLink, of steps and of prompts; more than twice as fast only by what less throttled boards gain."""
    for model in (name for name in catalog_names("model") if load_model(name).experts == 1):
        few, many = (gpu, model, Parallelism(boards)), (gpu, model, Parallelism(2 * boards))
        if not kv_tokens(few):
            continue
        assert kv_tokens(many) > 2 * kv_tokens(few)
        for batch in ((1, 1000.0, 0), (64, 1000.0, 0), (1, 1.0, 8192)):
            pair = [iteration_time_s(law(one).at_clock(1.0), work(one, *batch)) for one in (few, many)]
            assert 1.03 < pair[0] / pair[1] < 2.25, (model, batch)


@given(st.sampled_from(WAYS), st.sampled_from(catalog_names("model")))
def test_every_generation_of_boards_serves_prompts_faster(shared, model):
    generations = [(gpu, model, shared) for gpu in ("a100-sxm-80gb", "h100-sxm", "b200-sxm")]
    fitting = [served for served in generations if kv_tokens(served)]
    assume(len(fitting) > 1)
    times_s = [iteration_time_s(law(served).at_clock(1.0), work(served, 1, 1.0, 8192)) for served in fitting]
    assert np.all(np.diff(times_s) < 0.0)
