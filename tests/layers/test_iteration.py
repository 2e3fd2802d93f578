"""Time and energy of an iteration: published numbers, hand-made sums, and properties over the whole range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import busy_floor_w, load_gpu
from tokenfleet.envs.layers.iteration import (
    EXPERT_FLOP_COST,
    PACKED_BYTE_COST,
    at_tokens,
    iteration_energy_j,
    iteration_time_s,
    largest_batch,
    physical_bound_s,
    prefill_pairs,
    work_energy,
)
from tokenfleet.envs.layers.llm import (
    TOKEN_KNOTS,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
    roofline_profile,
)

PROFILES = [ProfileSpec.parse(load_entry("profile", name)) for name in catalog_names("profile")]
ROOFLINE = roofline_profile(load_gpu("b200-sxm"), load_model("llama-3.1-70b"), 8)
profiles = st.sampled_from([*PROFILES, ROOFLINE])
batches = st.tuples(
    st.integers(0, 512).map(float), st.integers(0, 400_000).map(float), st.integers(0, 8192).map(float)
)  # B, C, P
clocks = st.floats(0.1, 1.0)


def pairs_of(tokens: float) -> float:
    return float(prefill_pairs(0, int(tokens)))


@pytest.mark.parametrize("profile", [*PROFILES, ROOFLINE], ids=lambda profile: profile.name)
def test_no_iteration_beats_the_physical_bound(profile):
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    capacity = kv_capacity_tokens(gpu, model, profile.tensor_parallel)
    decoding, context, prefill = (
        axis.ravel()
        for axis in np.meshgrid(
            np.array([0.0, 1, 2, 8, 64, 256, 512]), np.linspace(0, capacity, 9), np.array([0.0, 1, 64, 512, 2048, 8192])
        )
    )
    for prior in (0, 100_000):
        pairs = prefill * prior + prefill * (prefill + 1) / 2
        bound_s = physical_bound_s(gpu, model, profile.tensor_parallel, decoding, context, prefill, pairs)
        assert (iteration_time_s(profile, decoding, context, prefill, pairs, 1.0) >= bound_s).all()


def test_the_equation_term_by_term():
    spec = ProfileSpec(
        name="m_g_tp1", model="m", gpu="g", tensor_parallel=1, origin="measured",
        host_s=1.0, token_s=[1.0, 1.0, *(float(2**j) for j in range(2, 15))], token_memory_share=[1.0] * 4 + [0.0] * 11,
        decode_s=0.1, context_s=0.01, prefill_attention_s=0.0001,
        decode_memory_fraction=0.5, prefill_memory_fraction=0.0,
    )  # fmt: skip
    assert iteration_time_s(spec, 2.0, 30.0, 0.0, 0.0, 1.0) == pytest.approx(1.0 + 1.0 + 0.2 + 0.3)
    assert iteration_time_s(spec, 0.0, 0.0, 10.0, 55.0, 1.0) == pytest.approx(1.0 + 10.0 + 0.0055)
    # 12 tokens: between 8 (memory-bound, stretched 1.5 times) and 16 (compute-bound, twice); the host keeps its time
    token_s = (1.5 * 8.0 + 2.0 * 16.0) / 2
    assert iteration_time_s(spec, 2.0, 30.0, 10.0, 55.0, 0.5) == pytest.approx(1.0 + token_s + 1.5 * 0.5 + 2.0 * 0.0055)


def test_contexts_are_read_more_slowly_beside_a_prefill():
    spec = ROOFLINE.model_copy(update={"mixed_context_s": 2e-6})
    batch = np.array([4.0, 4.0]), 1000.0, np.array([0.0, 10.0]), np.array([0.0, 55.0])
    slower_s = iteration_time_s(spec, *batch, 1.0) - iteration_time_s(ROOFLINE, *batch, 1.0)
    np.testing.assert_allclose(slower_s, [0.0, 2e-3], atol=1e-12)


def test_between_knots_time_is_affine_and_beyond_the_last_it_goes_on():
    values = np.array(TOKEN_KNOTS) ** 2.0
    assert [at_tokens(values, n) for n in (1.0, 3.0, 4.0, 6.0)] == [1.0, 10.0, 16.0, 40.0]
    assert at_tokens(values, 2.0**15) == 4.0**14 + 2 * (4.0**14 - 4.0**13)
    assert at_tokens(values, 0.0) == 1.0
    np.testing.assert_array_equal(at_tokens(values, np.array([[3.0], [6.0]])), [[10.0], [40.0]])


@given(st.lists(st.floats(1e-5, 1.0), min_size=15, max_size=15), st.floats(1.0, 40_000.0), st.floats(1.0, 5.0))
def test_the_largest_batch_takes_just_its_limit(rises, batch, tokens_per_sequence):
    token_s, fixed_s, sequence_s = np.cumsum(rises), 0.01, 1e-3
    limit_s = fixed_s + at_tokens(token_s, batch * tokens_per_sequence) + sequence_s * batch
    found = largest_batch(token_s, tokens_per_sequence, sequence_s, fixed_s, limit_s)
    assert found == pytest.approx(batch, rel=1e-6)


@pytest.mark.parametrize(("model", "gpu", "degree", "batch", "itl_ms", "watts"), [
    ("llama-3.1-8b", "h100-sxm", 1, 7.98, 7.32, 486),
    ("llama-3.1-8b", "h100-sxm", 1, 127.6, 16.48, None),
    ("llama-3.1-70b", "h100-sxm", 4, 7.99, 16.57, 441),
    ("llama-3.1-70b", "h100-sxm", 4, 127.6, 27.87, None),
    ("llama-3.1-70b", "b200-sxm", 2, 7.98, 16.36, 849),
    ("llama-3.1-70b", "b200-sxm", 2, 127.7, 27.30, None),
])  # fmt: skip
def test_decode_steps_of_vllm(model, gpu, degree, batch, itl_ms, watts):
    """Median inter-token latency (5 %) and mean watts per board (10 %) of ML.ENERGY v3."""
    profile, context = load_profile(model, gpu, degree), batch * (250 + 0.87 * 370)
    tau_s = iteration_time_s(profile, batch, context, 0.0, 0.0, 1.0)
    assert 1e3 * tau_s == pytest.approx(itl_ms, rel=0.05)
    if watts:
        joules = iteration_energy_j(load_gpu(gpu), load_model(model), profile, batch, context, 0.0, 0.0, 1.0)
        assert joules / tau_s / degree == pytest.approx(watts, rel=0.1)


def test_llama_2_70b_prefill_of_splitwise_is_matched_by_the_newer_software_within_half():
    """Splitwise, H100, TP 4 (2023 software): 106 ms for 1024 tokens, 954 ms for 8192; ours is faster."""
    profile = load_profile("llama-3.1-70b", "h100-sxm", 4)
    for tokens, splitwise_s in ((1024, 0.1056), (8192, 0.9536)):
        ours_s = iteration_time_s(profile, 0.0, 0.0, float(tokens), pairs_of(tokens), 1.0)
        assert 0.5 * splitwise_s < ours_s < splitwise_s


@given(profiles, batches, clocks, clocks)
def test_time_grows_with_work_and_shrinks_with_clock(profile, batch, one, other):
    decoding, context, prefill = batch
    low, high = sorted((one, other))

    def time_s(decoding: float, context: float, prefill: float, clock: float) -> float:
        return iteration_time_s(profile, decoding, context, prefill, pairs_of(prefill), clock)

    here_s = time_s(decoding, context, prefill, low)
    assert here_s >= time_s(decoding, context, prefill, high) > 0
    assert time_s(decoding + 1, context, prefill, low) > here_s
    assert time_s(decoding, context + 1, prefill, low) > here_s
    assert time_s(decoding, context, prefill + 1, low) > here_s


@given(profiles, batches, clocks)
def test_power_stays_between_idle_and_limit(profile, batch, clock):
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    decoding, context, prefill = batch
    work = (decoding, context, prefill, pairs_of(prefill), max(clock, gpu.clock_floor_fraction))
    watts = iteration_energy_j(gpu, model, profile, *work) / iteration_time_s(profile, *work)
    assert profile.tensor_parallel * gpu.idle_w <= watts <= profile.tensor_parallel * gpu.limit_w * (1 + 1e-12)


@given(profiles, batches, clocks)
def test_energy_grows_with_work(profile, batch, clock):
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    decoding, context, prefill = batch

    def energy_j(decoding: float, context: float, prefill: float) -> float:
        return iteration_energy_j(gpu, model, profile, decoding, context, prefill, pairs_of(prefill), clock)

    here_j = energy_j(decoding, context, prefill)
    assert 0 < here_j < energy_j(decoding + 1, context + 1, prefill)
    assert here_j < energy_j(decoding, context, prefill + 1)


def test_energy_below_the_limit_is_the_sum_of_its_parts():
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-70b")
    profile = load_profile("llama-3.1-70b", "h100-sxm", 4)
    work = work_energy(gpu, model, profile)
    tau_s = iteration_time_s(profile, 4.0, 4000.0, 0.0, 0.0, 0.8)
    moved_j = (1 - gpu.core_byte_fraction * 0.36) * work.work_j[2]
    attended_j = (1 - gpu.core_context_fraction * 0.36) * 4000 * work.context_j
    work_j = moved_j + attended_j + 0.64 * 4 * work.token_j
    expected_j = 4 * busy_floor_w(gpu, 0.8) * tau_s + profile.power_factor * work_j
    assert iteration_energy_j(gpu, model, profile, 4.0, 4000.0, 0.0, 0.0, 0.8) == pytest.approx(expected_j)


def test_a_flop_of_an_expert_costs_more_than_one_of_a_layer_that_all_pass():
    gpu, model = load_gpu("h100-sxm"), load_model("qwen3-30b-a3b")
    common = model.flops_per_token - model.expert_flops_per_token
    token_j = work_energy(gpu, model, load_profile("qwen3-30b-a3b", "h100-sxm", 2)).token_j
    assert token_j == pytest.approx(gpu.joule_per_flop * (common + EXPERT_FLOP_COST * model.expert_flops_per_token))


def test_a_byte_of_packed_experts_costs_more_than_one_that_needs_no_unpacking():
    gpu = load_gpu("h100-sxm")
    packed, plain = (
        (model, work_energy(gpu, model, load_profile(name, "h100-sxm", 2)).work_j[3])
        for name in ("gpt-oss-120b", "qwen3-30b-a3b")
        for model in (load_model(name),)
    )
    extra_bytes = (PACKED_BYTE_COST - 1) * packed[0].expert_bytes_read(8.0)
    assert packed[1] == pytest.approx(gpu.joule_per_byte * (packed[0].weight_bytes_read(8.0) + extra_bytes))
    assert plain[1] == pytest.approx(gpu.joule_per_byte * plain[0].weight_bytes_read(8.0))


def test_energy_beyond_the_knee_grows_by_the_shoulder():
    """Between 64 and 65 sequences, both between knee and limit: time at the shoulder's watts, work at its slope."""
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-70b")
    profile = load_profile("llama-3.1-70b", "h100-sxm", 4)
    work = work_energy(gpu, model, profile)
    awake_w = busy_floor_w(gpu, 1.0)
    shoulder_w = awake_w + gpu.knee_fraction * (1 - gpu.shoulder_slope) * (gpu.limit_w - awake_w)
    batches = [(64.0, 64e3, 0.0, 0.0, 1.0), (65.0, 65e3, 0.0, 0.0, 1.0)]
    joules = [iteration_energy_j(gpu, model, profile, *batch) for batch in batches]
    more_s = iteration_time_s(profile, *batches[1]) - iteration_time_s(profile, *batches[0])
    more_j = profile.power_factor * (work.token_j + 1e3 * work.context_j)
    assert joules[1] - joules[0] == pytest.approx(4 * shoulder_w * more_s + gpu.shoulder_slope * more_j)


def test_a_long_prefill_runs_at_the_limit():
    gpu, model = load_gpu("a100-sxm-80gb"), load_model("llama-3.1-8b")
    profile = load_profile("llama-3.1-8b", "a100-sxm-80gb", 1)
    work = (0.0, 0.0, 4096.0, pairs_of(4096), 1.0)
    watts = iteration_energy_j(gpu, model, profile, *work) / iteration_time_s(profile, *work)
    assert watts == pytest.approx(gpu.limit_w, rel=0.05)


def test_slower_clocks_save_decode_energy_as_published():
    """Clock locking saves up to 32 % of decode energy at little loss of throughput (arXiv:2605.11999, H200)."""
    gpu, model = load_gpu("h200-sxm"), load_model("llama-3.1-8b")
    profile = load_profile("llama-3.1-8b", "h200-sxm", 1)
    clocks = np.linspace(0.4, 1.0, 61)
    energy_j = [iteration_energy_j(gpu, model, profile, 8.0, 8000.0, 0.0, 0.0, float(clock)) for clock in clocks]
    assert 0.2 < 1 - min(energy_j) / energy_j[-1] < 0.45


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_chunks_see_as_many_pairs_as_the_whole_prompt(prior, first, second):
    whole = prefill_pairs(prior, first + second)
    assert prefill_pairs(prior, first) + prefill_pairs(prior + first, second) == whole


def test_pairs_of_a_small_prompt_counted_by_hand():
    assert prefill_pairs(0, 3) == 1 + 2 + 3
    assert prefill_pairs(10, 2) == 11 + 12
