"""Times of exchanges between boards, and their effect on a replica of several boards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import LINE_LAWS, InterconnectSpec, load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    TOKEN_KNOTS,
    LargestBatch,
    ProfileSpec,
    kv_capacity_tokens,
    load_model,
    load_profile,
    roofline_profile,
)
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.collectives import all_reduces_s
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.scenario.pools import PoolSpec
from tokenfleet.envs.spec import SpecError

NAMES = catalog_names("interconnect")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
ONE_PIECE = {2: [[0, 1e-5, 1e9]]}
PLAIN = {"name": "plain", "link_bytes_per_s": 1e9} | dict.fromkeys(COLLECTIVES, ONE_PIECE)


@pytest.mark.parametrize("name", catalog_names("gpu"))
def test_every_board_names_an_interconnect_of_the_catalogue(name):
    assert "interconnect" in load_entry("gpu", name)
    assert load_gpu(name).interconnect in NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("collective", COLLECTIVES)
def test_no_collective_is_faster_than_its_lines(name, collective):
    """Each board sends (g - 1) / g of a message at least once, twice in an all-reduce without help of the switch."""
    link, sizes = load_interconnect(name), 2.0 ** np.arange(20, 29)
    for boards in (2, 4, 8):
        assert np.all(
            link.collective_s(collective, boards, sizes) > (boards - 1) / boards * sizes / link.link_bytes_per_s
        )


def test_a_collective_takes_latency_and_bytes():
    assert InterconnectSpec.parse(PLAIN).collective_s("all_reduce", 2, 1e6) == pytest.approx(1e-5 + 1e-3)


def test_a_larger_message_takes_the_piece_it_falls_into():
    link = InterconnectSpec.parse({**PLAIN, "all_gather": {2: [[0, 1e-5, 1e9], [1000, 5e-5, 1e10]]}})
    np.testing.assert_allclose(link.collective_s("all_gather", 2, np.array([999.0, 1000.0])), [1.0999e-5, 5.01e-5])


@pytest.mark.parametrize(("boards", "expected_s"), [(2, 1e-5), (4, 3e-5), (3, 1e-5 + 2e-5 * np.log2(1.5)), (8, 5e-5)])
def test_between_and_beyond_measured_boards_times_go_with_the_logarithm(boards, expected_s):
    link = InterconnectSpec.parse({**PLAIN, "all_reduce": {2: [[0, 1e-5, 1e30]], 4: [[0, 3e-5, 1e30]]}})
    assert link.collective_s("all_reduce", boards, 8.0) == pytest.approx(expected_s)


@pytest.mark.parametrize(("measured", "boards"), [({4: 1e-5, 8: 3e-5}, 2), ({4: 1e-5}, 2), ({4: 1e-5}, 8)])
def test_boards_that_nothing_is_drawn_through_take_as_long_as_the_nearest(measured, boards):
    all_reduce = {number: [[0, latency_s, 1e30]] for number, latency_s in measured.items()}
    link = InterconnectSpec.parse({**PLAIN, "all_reduce": all_reduce})
    assert link.collective_s("all_reduce", boards, 8.0) == pytest.approx(1e-5)


@pytest.mark.parametrize(("pieces", "message"), [
    ({2: [[5, 1e-5, 1e9]]}, "all_reduce.2: pieces must begin at 0 bytes and go up"),
    ({2: [[0, 1e-5, 1e9], [0, 1e-5, 1e9]]}, "all_reduce.2: pieces must begin at 0 bytes and go up"),
    ({1: [[0, 1e-5, 1e9]]}, "a collective takes two boards or more"),
])  # fmt: skip
def test_pieces_that_are_no_function_of_size_are_refused(pieces, message):
    with pytest.raises(SpecError, match=message):
        InterconnectSpec.parse({**PLAIN, "all_reduce": pieces}, "interconnect.plain")


@pytest.mark.parametrize(("collective", "passes"), [("all_reduce", 2.0), ("all_gather", 1.0)])
def test_a_collective_that_is_left_out_follows_from_the_lines(collective, passes):
    """Large messages go at a share of the ring's rate, and half of the lines take twice as long."""
    fast, slow = (InterconnectSpec.parse({"name": "own", "link_bytes_per_s": rate}) for rate in (64e9, 32e9))
    law, size = LINE_LAWS[collective], 1e9
    ring_s = passes * 0.75 * size / (law.share * 64e9)
    assert fast.collective_s(collective, 4, size) == pytest.approx(ring_s, rel=1e-3)
    assert slow.collective_s(collective, 4, size) == pytest.approx(2.0 * ring_s, rel=1e-3)
    assert fast.collective_s(collective, 2, 0.0) == pytest.approx(law.latency_s)


def test_what_an_entry_says_of_a_collective_is_kept():
    own = InterconnectSpec.parse({"name": "own", "link_bytes_per_s": 1e9, "all_reduce": ONE_PIECE})
    assert own.all_reduce == InterconnectSpec.parse(PLAIN).all_reduce
    assert set(own.all_gather) == {2, 4, 8}


def test_lines_without_a_rate_are_refused():
    with pytest.raises(SpecError, match="link_bytes_per_s"):
        InterconnectSpec.parse({"name": "own"}, "interconnect.own")


def test_boards_without_peer_access_add_up_more_slowly_and_do_all_else_alike():
    for plain, alone in (("pcie-4", "pcie-4-nccl"), ("pcie-5", "pcie-5-nccl")):
        fast, slow = load_interconnect(plain), load_interconnect(alone)
        sizes = 2.0 ** np.arange(12, 20)
        assert np.all(slow.collective_s("all_reduce", 2, sizes) > fast.collective_s("all_reduce", 2, sizes))
        assert slow.all_gather == fast.all_gather
        assert slow.all_reduce[4] == fast.all_reduce[4]


def test_the_page_states_what_wiring_does_to_two_boards():
    page = (Path(__file__).parents[2] / "docs" / "layers.md").read_text(encoding="utf-8")
    board, model = load_gpu("rtx-pro-6000-blackwell-server"), load_model("qwen3-32b")
    half = InterconnectSpec.parse({"name": "half", "link_bytes_per_s": 32e9})
    wired = {
        "PCIe 5.0, peer access": load_interconnect("pcie-5"),
        "PCIe 5.0, NCCL": load_interconnect("pcie-5-nccl"),
        "half of those lines": half,
        "NVLink 4": load_interconnect("nvlink-4"),
    }
    batches = Batch(64.0, 64e3, 0.0, 0.0), Batch(0.0, 0.0, 2048.0, prefill_pairs(2048.0))
    for words, link in wired.items():
        law = Coefficients.of(board, model, roofline_profile(board, model, 2, link, True)).at_clock(1.0)
        step_ms, chunk_ms = (1e3 * iteration_time_s(law, batch) for batch in batches)
        assert f"| {words} | {step_ms:.1f} ms | {chunk_ms:.0f} ms |" in page


@pytest.mark.parametrize(("model", "gpu", "boards", "expected"), [
    ("llama-3.1-8b", "l40s", 1, 0.22), ("llama-3.1-8b", "a40", 1, 0.46),
    ("qwen3-32b", "rtx-pro-6000-blackwell-server", 2, 0.35), ("llama-3.1-70b", "l40s", 4, 0.76),
])  # fmt: skip
def test_what_no_clock_changes_of_a_prompt_goes_by_board_and_by_work(model, gpu, boards, expected):
    law = Coefficients.of(load_gpu(gpu), load_model(model), load_profile(model, gpu, boards))
    slow, fast = (np.asarray(law.at_clock(clock).token_s)[TOKEN_KNOTS.index(8192)] for clock in (0.5, 1.0))
    assert 2.0 - slow / fast == pytest.approx(expected, abs=0.005)


def test_one_board_tells_nobody():
    link = load_interconnect("pcie-5")
    assert all_reduces_s(load_model("qwen3-32b"), link, 1, np.array([1.0, 4096.0])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("model", "fewer"), [("llama-3.1-70b", 4), ("qwen3-30b-a3b", 2)])
def test_twice_the_boards_are_faster_over_nvlink(model, fewer):
    """All-reduces take 3 to 14 % of these steps, as they were timed."""
    work = Batch(64.0, 64 * 600.0, 0.0, 0.0)
    parts = load_gpu("h100-sxm"), load_model(model)
    few, many = (roofline_profile(*parts, g, load_interconnect("nvlink-4")) for g in (fewer, 2 * fewer))
    assert iteration_time_s(many, work) < 0.8 * iteration_time_s(few, work)


def test_prompts_of_boards_on_slow_lines_wait_for_all_reduces():
    """Four L40S exchange 2.5 GB/s: a chunk of 2048 tokens takes longer over four than over two."""
    prompt = Batch(0.0, 0.0, 2048.0, 2048 * 1024.5)
    parts = load_gpu("l40s"), load_model("qwen3-32b")
    two, four = (roofline_profile(*parts, g, load_interconnect("pcie-4")) for g in (2, 4))
    assert iteration_time_s(four, prompt) > iteration_time_s(two, prompt)


def test_boards_that_are_wired_otherwise_run_on_the_roofline():
    pool = {"site": "hall", "gpu": "h100-sxm", "model": "llama-3.1-70b", "tensor_parallel": 4}
    assert PoolSpec.parse({**pool, "interconnect": "nvlink-4"}).profile == load_profile("llama-3.1-70b", "h100-sxm", 4)
    over_pcie = PoolSpec.parse({**pool, "interconnect": "pcie-5"}).profile
    assert over_pcie.origin == "roofline"
    assert over_pcie.token_s[-1] > load_profile("llama-3.1-70b", "h100-sxm", 4).token_s[-1]


def staged(stages: int, gpu: str = "h100-sxm", tensor_parallel: int = 2) -> ProfileSpec:
    board, shared = load_gpu(gpu), Parallelism(tensor_parallel, pipeline=stages)
    return roofline_profile(board, load_model("llama-3.1-70b"), shared, load_interconnect(board.interconnect))


def test_a_pipeline_does_more_work_at_a_time_and_answers_one_sequence_no_sooner():
    one, two = staged(1), staged(2)
    alone, many = Batch(1.0, 600.0, 0.0, 0.0), Batch(256.0, 256 * 600.0, 0.0, 0.0)
    assert iteration_time_s(two, alone) == pytest.approx(iteration_time_s(one, alone), rel=0.02)
    assert iteration_time_s(two, many) < 0.85 * iteration_time_s(one, many)


def test_a_pipeline_reads_the_weights_for_each_part_of_a_batch():
    parts = load_gpu("h100-sxm"), load_model("llama-3.1-70b")
    one, two = (np.asarray(Coefficients.of(*parts, staged(stages)).work_j) for stages in (1, 2))
    np.testing.assert_allclose(two[1:], 2.0 * one[1:])
    assert two[0] == one[0]


def test_on_slow_lines_stages_beat_split_matrices_at_prompts():
    """Of 70B over four L40S, two stages send activations once, instead of adding them up in each layer."""
    prompt = Batch(0.0, 0.0, 2048.0, 2048 * 1024.5)
    assert iteration_time_s(staged(2, "l40s"), prompt) < 0.5 * iteration_time_s(staged(1, "l40s", 4), prompt)


def test_stages_count_as_boards_of_a_replica():
    pool = PoolSpec.parse(
        {"site": "hall", "gpu": "h100-sxm", "model": "llama-3.1-70b", "tensor_parallel": 2, "pipeline_parallel": 2}
    )
    assert (pool.gpus, pool.profile.name) == (4, "llama-3.1-70b_h100-sxm_tp2_pp2")
    largest = LargestBatch(pool.token_budget, pool.max_batch)
    assert pool.kv_capacity_tokens == kv_capacity_tokens(
        pool.gpu_spec, pool.model_spec, Parallelism(2, pipeline=2), largest_batch=largest
    )


def test_more_stages_than_layers_are_refused():
    with pytest.raises(SpecError, match="has 80 layers"):
        staged(81)
