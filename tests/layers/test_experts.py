"""Mixtures of experts: how boards wait for each other, their memory, and the times of formats and of sharing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    ModelSpec,
    Parallelism,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
    roofline_profile,
)
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.experts import busiest_board, expert_chances, experts_part
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, iteration_work_j, prefill_pairs
from tokenfleet.envs.layers.llm.work import (
    EXPERT_FLOP_COST,
    EXPERT_TILE_ROWS,
    FP8_EXPERT_BYTE_FLOPS,
    UNPACKED_BYTE_FLOPS,
)
from tokenfleet.envs.spec import SpecError

QWEN = load_model("qwen3-235b-a22b-fp8")
TOKENS = np.array([1.0, 8.0, 64.0, 512.0, 4096.0])
ALL_TO_EXPERTS = Parallelism(tensor=1, data=8, expert=8)


def even(model: ModelSpec) -> ModelSpec:
    return model.model_copy(update={"routing_skew": 0.0})


def drawn(model: ModelSpec, boards: int, tokens: int, draws: int = 400) -> tuple[float, float]:
    """Experts touched and pairs on the busiest board, counted over random routings that are even."""
    rng = np.random.default_rng(0)
    order = np.argsort(rng.random((draws, tokens, model.experts)), axis=2)[:, :, : model.experts_per_token]
    counts = np.zeros((draws, model.experts))
    for draw in range(draws):
        np.add.at(counts[draw], order[draw].ravel(), 1)
    held = counts.reshape(draws, boards, -1)
    return float((held > 0).sum(axis=2).max(axis=1).mean()), float(held.sum(axis=2).max(axis=1).mean())


@pytest.mark.parametrize("boards", [1, 4, 8])
@pytest.mark.parametrize("tokens", [1, 8, 64])
def test_the_busiest_board_is_what_routings_give(boards, tokens):
    found = busiest_board(even(QWEN), boards, np.array([float(tokens)]))
    touched, rows = drawn(QWEN, boards, tokens)
    single = tokens == 1 and boards > 1  # the largest of few pairs is not that of normal variables
    assert found.touched[0] == pytest.approx(touched, rel=0.05 if single else 0.01)
    assert found.rows[0] == pytest.approx(rows, rel=0.07 if single else 0.02)


def test_popular_experts_leave_others_untouched():
    touched = [
        busiest_board(QWEN.model_copy(update={"routing_skew": skew}), 1, TOKENS).touched for skew in (0.0, 0.6, 1.2)
    ]
    assert (touched[0][1:4] > touched[1][1:4]).all()
    assert (touched[1][1:4] > touched[2][1:4]).all()
    assert touched[0][0] == pytest.approx(QWEN.experts_per_token)


@pytest.mark.parametrize("skew", [0.0, 0.6, 1.0, 3.0])
def test_a_token_takes_each_expert_at_most_once_and_as_many_as_the_model_says(skew):
    chances = expert_chances(32, 4, skew)
    assert chances.sum() == pytest.approx(4.0)
    assert (chances > 0.0).all()
    assert chances.max() <= 1.0 + 1e-12


@pytest.mark.parametrize("gpu", ["h100-sxm", "b200-sxm", "mi300x", "l40s"])
def test_more_tokens_take_longer_and_more_boards_less(gpu):
    one, eight = (
        experts_part(load_gpu(gpu), QWEN, shared, TOKENS).time_s for shared in (Parallelism(), ALL_TO_EXPERTS)
    )
    assert (np.diff(one) > 0.0).all()
    assert (eight < one).all()


def seconds(gpu: str, model: ModelSpec, tokens: float = 64.0) -> float:
    return float(experts_part(load_gpu(gpu), model, Parallelism(), np.array([tokens])).time_s[0])


@pytest.mark.parametrize("gpu", ["h200-sxm", "l40s"])
def test_four_bits_save_most_where_memory_is_slow_for_the_arithmetic_that_unpacks_them(gpu):
    """Of the time in bf16, 64 tokens of gpt-oss-120b take the share of bytes, 27 %, on L40S, and 37 % on H200."""
    packed = even(load_model("gpt-oss-120b"))
    whole = packed.model_copy(update={"bytes_per_expert_parameter": 2.0})
    share = {"h200-sxm": 0.37, "l40s": 0.265}[gpu]
    assert seconds(gpu, packed) / seconds(gpu, whole) == pytest.approx(share, abs=0.005)


def test_unpacking_four_bits_gains_little_from_faster_memory():
    """43 % more bandwidth on H200 than on H100 takes 8 % off."""
    model = even(load_model("gpt-oss-120b"))
    assert seconds("h200-sxm", model) / seconds("h100-sxm", model) == pytest.approx(0.925, abs=0.005)


def test_every_group_of_data_parallelism_holds_all_that_is_not_routed():
    gpu, model = load_gpu("h200-sxm"), load_model("deepseek-v3")
    sliced, shared = (kv_capacity_tokens(gpu, model, way) for way in (Parallelism(8), ALL_TO_EXPERTS))
    token_bytes = model.kv_bytes_per_token
    free_bytes = 8 * 0.9 * gpu.memory_bytes - model.weight_bytes
    assert sliced == pytest.approx(free_bytes / (8 * token_bytes), rel=1e-6)  # eight boards hold the same cache
    assert shared == pytest.approx((free_bytes - 7 * model.common_weight_bytes) / token_bytes, rel=1e-6)


def roofline(model: str, gpu: str, shared: Parallelism) -> ProfileSpec:
    board = load_gpu(gpu)
    return roofline_profile(board, load_model(model), shared, load_interconnect(board.interconnect))


def test_data_parallelism_spreads_contexts_and_tensor_parallelism_repeats_a_latent_cache():
    sliced, shared = (roofline("deepseek-v3", "h200-sxm", way) for way in (Parallelism(8), ALL_TO_EXPERTS))
    assert shared.context_s < 0.3 * sliced.context_s


def test_a_profile_of_shared_out_experts_is_found_by_its_name():
    profile = load_profile("qwen3-235b-a22b-fp8", "h100-sxm", ALL_TO_EXPERTS)
    assert profile.name == "qwen3-235b-a22b-fp8_h100-sxm_tp1_dp8_ep8"
    assert profile.parallelism == ALL_TO_EXPERTS


@pytest.mark.parametrize(("model", "shared", "message"), [
    ("llama-3.1-70b", Parallelism(3), "tensor_parallel: must divide llama-3.1-70b's 64 heads"),
    ("llama-3.1-70b", Parallelism(1, 8), "data_parallel: llama-3.1-70b is dense; write replicas: 8"),
    ("llama-3.1-70b", Parallelism(8, 1, 8), "expert_parallel: llama-3.1-70b is dense"),
    ("deepseek-v3", Parallelism(1, 8, 4), r"expert_parallel: must be 1 or tensor_parallel \* data_parallel, 8"),
    ("llama-4-scout", Parallelism(4, 8, 32), "expert_parallel: llama-4-scout has 16 experts a layer"),
])  # fmt: skip
def test_a_model_that_cannot_be_shared_so_is_refused(model, shared, message):
    spec = load_model(model)
    with pytest.raises(SpecError, match=message):
        shared.check(spec.name, spec.attention_heads, spec.experts, spec.layers)


@pytest.mark.parametrize(("model", "shared"), [
    ("deepseek-v3", Parallelism(8)), ("deepseek-v3", ALL_TO_EXPERTS), ("llama-2-70b", Parallelism(8)),
    ("llama-2-70b", Parallelism(4)), ("llama-3.1-405b-fp8", Parallelism(8)),
])  # fmt: skip
def test_boards_stand_in_the_order_of_public_benchmarks(model, shared):
    """Steps of 64 and prompts of 4096: B200 before H200 before MI300X, whatever data sheets say of the last two."""
    for batch in (Batch(64.0, 64 * 2000.0, 0.0, 0.0), Batch(0.0, 0.0, 4096.0, prefill_pairs(4096.0))):
        times = [iteration_time_s(roofline(model, gpu, shared), batch) for gpu in ("b200-sxm", "h200-sxm", "mi300x")]
        assert times == sorted(times)


def test_the_page_states_what_experts_cost():
    page = " ".join((Path(__file__).parents[2] / "docs" / "layers.md").read_text(encoding="utf-8").split())
    assert f"with fewer than {EXPERT_TILE_ROWS} rows counts {EXPERT_FLOP_COST:g} times" in page
    assert f"{UNPACKED_BYTE_FLOPS:g} FLOPs for a byte of 4-bit weights" in page
    assert f"{FP8_EXPERT_BYTE_FLOPS:g} for one in fp8" in page


def test_a_byte_of_experts_in_fp8_costs_more_than_one_of_other_weights():
    gpu, model = load_gpu("h100-sxm"), QWEN
    profile = roofline(model.name, gpu.name, ALL_TO_EXPERTS)
    work_j = iteration_work_j(Coefficients.of(gpu, model, profile).at_clock(1.0), Batch(8.0, 0.0, 0.0, 0.0))
    read_j = gpu.joule_per_byte * model.weight_bytes_read(8.0, ALL_TO_EXPERTS.data)
    assert work_j > 2.0 * read_j


def test_a_board_with_little_arithmetic_for_its_bandwidth_is_not_taken_to_compute_whole_tiles():
    h200 = load_gpu("h200-sxm")
    slow = h200.model_copy(update={"peak_bf16_flops": 148e12, "peak_fp8_flops": 296e12})
    tokens = np.array([1.0, 32.0, 4096.0])
    whole, least = (experts_part(gpu, QWEN, Parallelism(8), tokens).time_s for gpu in (h200, slow))
    # Few tokens wait for the weights, which come as quickly; many wait for arithmetic, a seventh as quick.
    assert (least[:2] < 1.5 * whole[:2]).all()
    assert least[2] > 3.0 * whole[2]
