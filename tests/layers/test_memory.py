"""KV cache: what weights, activations, logits and libraries leave, worked by hand and against a server's log."""

from __future__ import annotations

import pytest

from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import LargestBatch, kv_capacity_tokens, load_model
from tokenfleet.envs.layers.llm.memory import LIBRARY_BYTES, SAMPLER_BYTES, workspace_bytes
from tokenfleet.envs.scenario import load_scenario

LLAMA = load_model("llama-3.1-8b")


def test_a_4090_keeps_what_vllm_logged():
    """41,408 tokens: vLLM 0.19, Llama 3.1 8B, 256 sequences, 2048 tokens an iteration."""
    held = kv_capacity_tokens(load_gpu("rtx-4090"), LLAMA, 1, largest_batch=LargestBatch(2048, 256))
    assert held == pytest.approx(41_408, rel=0.01)


def test_a_llama_holds_gate_up_and_their_product_of_each_token():
    """Feed-forward width 14336, which shards; the residual stream and its normed copy, 4096 each, which do not."""
    whole, split = LLAMA.activation_values_per_token
    assert whole == 2 * 4096
    assert split == pytest.approx(3 * 14336, rel=1e-3)


def test_a_routed_layer_holds_gate_up_and_their_product_of_each_expert_that_a_token_meets():
    """DeepSeek-V3: eight experts of width 2048; its first three layers have none."""
    _, split = load_model("deepseek-v3").activation_values_per_token
    assert split == pytest.approx(8 * 3 * 2048, rel=1e-3)


def test_few_seats_leave_the_activations_many_seats_the_logits():
    tokens = 32_768
    activations = tokens * (2 * 4096 + 3 * 14336 / 2) * 2
    assert workspace_bytes(LLAMA, 2, LargestBatch(tokens, 8)) - LIBRARY_BYTES == pytest.approx(activations, rel=1e-3)
    logits = 1024 * 128_256 * SAMPLER_BYTES
    assert workspace_bytes(LLAMA, 2, LargestBatch(2048, 1024)) - LIBRARY_BYTES == logits


def test_windowed_layers_take_memory_too():
    """Gemma 3 27B: 62 layers of 16 heads of 128 numbers, twice, in bf16, though ten of them see the whole context."""
    gemma, gpu, batch = load_model("gemma-3-27b"), load_gpu("h100-sxm"), LargestBatch(2048, 256)
    left = 0.9 * gpu.memory_bytes - gemma.weight_bytes - workspace_bytes(gemma, 1, batch)
    assert kv_capacity_tokens(gpu, gemma, 1, largest_batch=batch) == int(left // (62 * 16 * 2 * 128 * 2))


def test_more_seats_of_a_pool_leave_less_cache():
    few, many = (
        load_scenario("tiny", {"pools.lab-8b.max_batch": seats}).pools["lab-8b"].kv_capacity_tokens
        for seats in (256, 1024)
    )
    assert many < few
