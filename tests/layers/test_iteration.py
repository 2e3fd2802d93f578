"""Time and energy of an iteration: published numbers, hand-made sums, and properties over the whole range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import Draw, busy_floor_w, load_gpu
from tokenfleet.envs.layers.llm import (
    TOKEN_KNOTS,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
)
from tokenfleet.envs.layers.llm.bound import physical_bound_s
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import (
    Batch,
    at_tokens,
    iteration_energy_j,
    iteration_power_w,
    iteration_time_s,
    prefill_pairs,
)
from tokenfleet.envs.layers.llm.work import EXPERT_FLOP_COST, UNPACKED_BYTE_FLOPS

PROFILES = [ProfileSpec.parse(load_entry("profile", name)) for name in catalog_names("profile")]
ROOFLINE = load_profile("llama-3.1-70b", "b200-sxm", 8)
profiles = st.sampled_from([*PROFILES, ROOFLINE])
batches = st.tuples(
    st.integers(0, 512).map(float), st.integers(0, 400_000).map(float), st.integers(0, 8192).map(float)
)  # B, C, P
clocks = st.floats(0.1, 1.0)


def law_of(profile: ProfileSpec) -> Coefficients:
    return Coefficients.of(load_gpu(profile.gpu), load_model(profile.model), profile)


def decoding(sequences: float, context: float) -> Batch:
    return Batch(sequences, context, 0.0, 0.0)


def prompt(tokens: float) -> Batch:
    return Batch(0.0, 0.0, tokens, prefill_pairs(tokens))


def mixed(sequences: float, context: float, tokens: float) -> Batch:
    return Batch(sequences, context, tokens, prefill_pairs(tokens))


@pytest.mark.parametrize("profile", [*PROFILES, ROOFLINE], ids=lambda profile: profile.name)
def test_no_iteration_beats_the_physical_bound(profile):
    gpu, model = load_gpu(profile.gpu), load_model(profile.model)
    capacity = kv_capacity_tokens(gpu, model, profile.tensor_parallel)
    sequences, context, prefill = (
        axis.ravel()
        for axis in np.meshgrid(
            np.array([0.0, 1, 2, 8, 64, 256, 512]), np.linspace(0, capacity, 9), np.array([0.0, 1, 64, 512, 2048, 8192])
        )
    )
    for prior in (0, 100_000):
        batch = Batch(sequences, context, prefill, prefill_pairs(prefill, prior))
        bound_s = physical_bound_s(gpu, model, profile.tensor_parallel, batch)
        assert (iteration_time_s(profile, batch) >= bound_s).all()


def test_the_equation_term_by_term():
    spec = ProfileSpec(
        name="m_g_tp1", model="llama-3.1-8b", gpu="h100-sxm", tensor_parallel=1, origin="measured",
        host_s=1.0, token_s=[1.0, 1.0, *(float(2**j) for j in range(2, 15))], token_memory_share=[1.0] * 4 + [0.0] * 11,
        decode_s=0.1, context_s=0.01, prefill_attention_s=0.0001,
        decode_memory_fraction=0.5, prefill_memory_fraction=0.0,
    )  # fmt: skip
    assert iteration_time_s(spec, decoding(2.0, 30.0)) == pytest.approx(1.0 + 1.0 + 0.2 + 0.3)
    assert iteration_time_s(spec, prompt(10.0)) == pytest.approx(1.0 + 10.0 + 0.0055)
    # 12 tokens: between 8 (memory-bound, stretched 1.5 times) and 16 (compute-bound, twice); the host keeps its time
    token_s = (1.5 * 8.0 + 2.0 * 16.0) / 2
    time_s = iteration_time_s(law_of(spec).at_clock(0.5), mixed(2.0, 30.0, 10.0))
    assert time_s == pytest.approx(1.0 + token_s + 1.5 * 0.5 + 2.0 * 0.0055)


def test_contexts_are_read_more_slowly_beside_a_prefill():
    spec = ROOFLINE.model_copy(update={"mixed_context_s": 2e-6})
    batch = mixed(np.array([4.0, 4.0]), 1000.0, np.array([0.0, 10.0]))
    slower_s = iteration_time_s(spec, batch) - iteration_time_s(ROOFLINE, batch)
    np.testing.assert_allclose(slower_s, [0.0, 2e-3], atol=1e-12)


def test_between_knots_time_is_affine_and_beyond_the_last_it_goes_on():
    values = np.array(TOKEN_KNOTS) ** 2.0
    assert [at_tokens(values, n) for n in (1.0, 3.0, 4.0, 6.0)] == [1.0, 10.0, 16.0, 40.0]
    assert at_tokens(values, 2.0**15) == 4.0**14 + 2 * (4.0**14 - 4.0**13)
    assert at_tokens(values, 0.0) == 1.0
    np.testing.assert_array_equal(at_tokens(values, np.array([[3.0], [6.0]])), [[10.0], [40.0]])


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
    assert 1e3 * iteration_time_s(profile, decoding(batch, context)) == pytest.approx(itl_ms, rel=0.05)
    if watts:
        power_w = iteration_power_w(law_of(profile).at_clock(1.0), decoding(batch, context))
        assert power_w / degree == pytest.approx(watts, rel=0.1)


def test_llama_2_70b_prefill_of_splitwise_is_matched_by_the_newer_software_within_half():
    """Splitwise, H100, TP 4 (2023 software): 106 ms for 1024 tokens, 954 ms for 8192; ours is faster."""
    profile = load_profile("llama-3.1-70b", "h100-sxm", 4)
    for tokens, splitwise_s in ((1024, 0.1056), (8192, 0.9536)):
        ours_s = iteration_time_s(profile, prompt(float(tokens)))
        assert 0.5 * splitwise_s < ours_s < splitwise_s


@given(profiles, batches, clocks, clocks)
def test_time_grows_with_work_and_shrinks_with_clock(profile, work, one, other):
    low, high = (law_of(profile).at_clock(clock) for clock in sorted((one, other)))
    sequences, context, tokens = work
    here_s = iteration_time_s(low, mixed(*work))
    assert here_s >= iteration_time_s(high, mixed(*work)) > 0
    for more in ((sequences + 1, context, tokens), (sequences, context + 1, tokens), (sequences, context, tokens + 1)):
        assert iteration_time_s(low, mixed(*more)) > here_s


@given(profiles, batches, clocks)
def test_power_stays_between_idle_and_limit(profile, work, clock):
    gpu = load_gpu(profile.gpu)
    physics = law_of(profile).at_clock(max(clock, gpu.clock_floor_fraction))
    power_w = iteration_power_w(physics, mixed(*work))
    assert profile.tensor_parallel * gpu.idle_w <= power_w <= profile.tensor_parallel * gpu.limit_w
    energy_j = iteration_energy_j(physics, mixed(*work))
    assert energy_j == pytest.approx(power_w * iteration_time_s(physics, mixed(*work)), rel=1e-12)


@given(profiles, batches, clocks)
def test_energy_grows_with_work(profile, work, clock):
    physics = law_of(profile).at_clock(clock)
    sequences, context, tokens = work
    here_j = iteration_energy_j(physics, mixed(*work))
    assert 0 < here_j < iteration_energy_j(physics, mixed(sequences + 1, context + 1, tokens))
    assert here_j < iteration_energy_j(physics, mixed(sequences, context, tokens + 1))


@given(st.sampled_from(PROFILES), batches, clocks)
def test_one_replica_gives_what_many_side_by_side_give(profile, work, clock):
    """Plain numbers, with whole tokens as an engine has them, and arrays: the same to the last bit."""
    fleet = Coefficients.stack([law_of(other) for other in (ROOFLINE, profile)])
    physics, alone = fleet.at_clock(np.full(2, clock)), fleet.replica(1).at_clock(clock)
    batch = mixed(*(np.full(2, quantity) for quantity in work))
    plain = mixed(*(int(quantity) for quantity in work))
    assert iteration_time_s(physics, batch)[1] == iteration_time_s(alone, plain)
    assert iteration_energy_j(physics, batch)[1] == iteration_energy_j(alone, plain)


def test_full_clock_leaves_the_coefficients_as_they_are():
    law = law_of(ROOFLINE)
    physics = law.at_clock(1.0)
    np.testing.assert_array_equal(physics.token_s, law.token_s)
    np.testing.assert_array_equal(physics.work_j, law.work_j)
    for name in ("host_s", "decode_s", "context_s", "prefill_attention_s", "context_j", "token_j", "attention_j"):
        assert getattr(physics, name) == getattr(law, name)


def test_energy_below_the_knee_is_the_sum_of_its_parts():
    gpu, law = load_gpu("h100-sxm"), law_of(load_profile("llama-3.1-70b", "h100-sxm", 4))
    physics = law.at_clock(0.8)
    moved_j = (1 - gpu.core_byte_fraction * 0.36) * law.work_j[2]
    attended_j = (1 - gpu.core_context_fraction * 0.36) * 4000 * law.context_j
    work_j = moved_j + attended_j + 0.64 * 4 * law.token_j
    expected_j = 4 * busy_floor_w(gpu, 0.8) * iteration_time_s(physics, decoding(4.0, 4000.0)) + work_j
    assert iteration_energy_j(physics, decoding(4.0, 4000.0)) == pytest.approx(expected_j)


def test_a_flop_of_an_expert_costs_more_than_one_of_a_layer_that_all_pass_until_its_tile_is_full():
    """Eight of 128 experts a token, so 1024 tokens give each 64 rows."""
    gpu, model = load_gpu("h100-sxm"), load_model("qwen3-30b-a3b")
    profile = load_profile("qwen3-30b-a3b", "h100-sxm", 2)
    law, read_j = law_of(profile), gpu.joule_per_byte * model.weight_bytes_read(np.array(TOKEN_KNOTS, float))
    dearer_j = gpu.joule_per_flop * (EXPERT_FLOP_COST - 1) * model.expert_flops_per_token
    padded = np.minimum(TOKEN_KNOTS, 1024)
    np.testing.assert_allclose(law.work_j / profile.power_factor - read_j, dearer_j * padded, rtol=1e-9)
    assert law.token_j == pytest.approx(profile.power_factor * gpu.joule_per_flop * model.flops_per_token)


def test_a_byte_of_packed_experts_costs_more_than_one_that_needs_no_unpacking():
    gpu = load_gpu("h100-sxm")
    for name, flops in (("gpt-oss-120b", UNPACKED_BYTE_FLOPS), ("qwen3-30b-a3b", 0.0)):
        model, profile = load_model(name), load_profile(name, "h100-sxm", 2)
        vain_flops = 8 * (EXPERT_FLOP_COST - 1) * model.expert_flops_per_token + flops * model.expert_bytes_read(8.0)
        work_j = gpu.joule_per_byte * model.weight_bytes_read(8.0) + gpu.joule_per_flop * vain_flops
        assert law_of(profile).work_j[3] == pytest.approx(profile.power_factor * work_j)


def test_energy_beyond_the_knee_grows_by_the_shoulder():
    """Between 64 and 65 sequences, both between knee and limit: time at the shoulder's watts, work at its slope."""
    gpu, law = load_gpu("h100-sxm"), law_of(load_profile("llama-3.1-70b", "h100-sxm", 4))
    batches = [decoding(64.0, 64e3), decoding(65.0, 65e3)]
    joules, seconds = (
        [of(law.at_clock(1.0), batch) for batch in batches] for of in (iteration_energy_j, iteration_time_s)
    )
    more_j = law.token_j + 1e3 * law.context_j
    shoulder_w = 4 * Draw.at_clock(gpu, 1.0).shoulder_w
    expected_j = shoulder_w * (seconds[1] - seconds[0]) + gpu.shoulder_slope * more_j
    assert joules[1] - joules[0] == pytest.approx(expected_j)


def test_a_long_prefill_runs_at_the_limit():
    profile = load_profile("llama-3.1-8b", "a100-sxm-80gb", 1)
    power_w = iteration_power_w(law_of(profile).at_clock(1.0), prompt(4096.0))
    assert power_w == pytest.approx(load_gpu("a100-sxm-80gb").limit_w, rel=0.05)


def test_slower_clocks_save_decode_energy_as_published():
    """Clock locking saves up to 32 % of decode energy at little loss of throughput (arXiv:2605.11999, H200)."""
    physics = law_of(load_profile("llama-3.1-8b", "h200-sxm", 1)).at_clock(np.linspace(0.4, 1.0, 61))
    energy_j = iteration_energy_j(physics, decoding(8.0, 8000.0))
    assert 0.2 < 1 - energy_j.min() / energy_j[-1] < 0.45


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_chunks_see_as_many_pairs_as_the_whole_prompt(prior, first, second):
    whole = prefill_pairs(first + second, prior)
    assert prefill_pairs(first, prior) + prefill_pairs(second, prior + first) == whole


def test_pairs_of_a_small_prompt_counted_by_hand():
    assert prefill_pairs(3) == 1 + 2 + 3
    assert prefill_pairs(2, prior_tokens=10) == 11 + 12
