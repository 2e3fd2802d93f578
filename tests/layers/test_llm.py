"""Models and profiles: published shapes, the physical bound, and what a mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import load_gpu, load_interconnect
from tokenfleet.envs.layers.llm import (
    TOKEN_KNOTS,
    ModelSpec,
    ProfileSpec,
    bounds_s,
    check_profile,
    kv_capacity_tokens,
    load_model,
    load_profile,
    profile_name,
    roofline_profile,
)
from tokenfleet.envs.layers.llm.coefficients import Coefficients
from tokenfleet.envs.layers.llm.iteration import Batch, iteration_time_s, prefill_pairs
from tokenfleet.envs.spec import SpecError

PROFILES = catalog_names("profile")
ATTENTION = ("context_s", "prefill_attention_s")


def test_llama_8b_has_its_published_shape():
    llama = load_model("llama-3.1-8b")
    assert llama.weight_bytes == pytest.approx(16.06e9, rel=1e-3)
    assert llama.kv_bytes_per_token == 131072
    assert llama.flops_per_token == pytest.approx(2 * (8.030e9 - 128256 * 4096), rel=1e-3)
    assert llama.attention_flops_per_pair == 4 * 32 * 32 * 128


def test_llama_70b_has_its_published_shape():
    llama = load_model("llama-3.1-70b")
    assert llama.weight_bytes == pytest.approx(141.1e9, rel=1e-3)
    assert llama.kv_bytes_per_token == 327680


@pytest.mark.parametrize("name", PROFILES)
def test_a_shipped_profile_is_what_its_name_says_and_possible(name):
    spec = ProfileSpec.parse(load_entry("profile", name))
    assert name == profile_name(spec.model, spec.gpu, spec.tensor_parallel)
    assert spec.origin in {"measured", "kernels"}
    assert spec.sources
    assert spec.fit_errors
    check_profile(spec, load_gpu(spec.gpu), load_model(spec.model))
    assert load_profile(spec.model, spec.gpu, spec.tensor_parallel) == spec


@pytest.mark.parametrize(("model", "gpu", "degree"), [
    ("llama-3.1-8b", "h100-sxm", 1),
    ("llama-3.1-8b", "b200-sxm", 1),
    ("llama-3.1-70b", "h100-sxm", 4),
    ("llama-3.1-70b", "b200-sxm", 2),
])  # fmt: skip
def test_the_promised_pairs_are_measured(model, gpu, degree):
    assert load_profile(model, gpu, degree).origin == "measured"


def test_a_pair_that_nobody_measured_gets_a_roofline():
    profile = load_profile("llama-3.1-70b", "b200-sxm", 8)
    assert profile.origin == "roofline"
    assert "assumption" in profile.sources[0]
    check_profile(profile, load_gpu("b200-sxm"), load_model("llama-3.1-70b"))


@pytest.mark.parametrize("name", PROFILES)
def test_a_roofline_comes_near_each_fit(name):
    """Farthest off: boards of which kernels alone are known, without what serving adds, and the A100's attention.

    The profile of 405B over eight boards leaves out what their all-reduces take of a prompt, a quarter of its time;
    those of mixtures take prompts by a share of peak that kernels of experts do not reach.
    """
    spec = ProfileSpec.parse(load_entry("profile", name))
    gpu, model = load_gpu(spec.gpu), load_model(spec.model)
    guess = roofline_profile(gpu, model, spec.tensor_parallel, load_interconnect(gpu.interconnect))
    laws = [Coefficients.of(gpu, model, profile).at_clock(1.0) for profile in (guess, spec)]
    for tokens, context, prompt in ((8, 8_000, 0), (64, 64_000, 0), (128, 128_000, 0), (0, 0, 2048)):
        batch = Batch(tokens, context, prompt, prefill_pairs(prompt))
        ratio = [iteration_time_s(law, batch) for law in laws]
        assert 1 / 1.4 < ratio[0] / ratio[1] < 1.8
    for key in ATTENTION:
        assert 1 / 2.3 < getattr(guess, key) / getattr(spec, key) < 2


LEAST_BOARDS = {
    ("llama-3.1-8b", "rtx-4090"): 1,
    ("llama-3.1-70b", "h100-sxm"): 2,
    ("llama-3.1-405b", "h200-sxm"): 8,
    ("llama-3.1-405b-fp8", "h100-sxm"): 8,
    ("qwen3-32b", "h100-sxm"): 1,
    ("qwen3-30b-a3b", "h100-sxm"): 1,
    ("gpt-oss-20b", "rtx-4090"): 1,
    ("gpt-oss-120b", "h100-sxm"): 1,
    ("deepseek-v3", "h200-sxm"): 8,
}


@pytest.mark.parametrize(("pair", "boards"), LEAST_BOARDS.items())
def test_a_model_fits_on_so_many_boards_and_not_on_half_of_them(pair, boards):
    model, gpu = load_model(pair[0]), load_gpu(pair[1])
    assert kv_capacity_tokens(gpu, model, boards) > 0
    check_profile(load_profile(pair[0], pair[1], boards), gpu, model)
    if boards > 1:
        with pytest.raises(SpecError, match="does not fit"):
            kv_capacity_tokens(gpu, model, boards // 2)


def test_a_mixture_of_experts_reads_few_weights_for_one_token_and_all_for_many():
    model = load_model("qwen3-30b-a3b")
    assert model.weight_bytes_read(1.0) == pytest.approx(2 * model.active_parameters)
    embedding_bytes = 2 * 151936 * 2048
    assert model.weight_bytes_read(10_000.0) == pytest.approx(model.weight_bytes - embedding_bytes, rel=1e-6)


@pytest.mark.parametrize("key", ATTENTION)
def test_attention_that_beats_physics_is_refused(key):
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-8b")
    least_s = getattr(bounds_s(gpu, model, 1), key)
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1).model_copy(update={key: 0.99 * least_s})
    with pytest.raises(SpecError, match=rf"{key}: faster than physics allows"):
        check_profile(profile, gpu, model)


@pytest.mark.parametrize("tokens", TOKEN_KNOTS)
def test_a_knot_that_beats_physics_is_refused(tokens):
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-8b")
    knot = TOKEN_KNOTS.index(tokens)
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1)
    token_s = list(profile.token_s)
    token_s[knot] = 0.99 * bounds_s(gpu, model, 1).token_s[knot]
    with pytest.raises(SpecError, match=rf"token_s at {tokens} tokens: faster than physics allows"):
        check_profile(profile.model_copy(update={"token_s": tuple(token_s)}), gpu, model)


@pytest.mark.parametrize(("change", "message"), [
    ({"token_s": [0.01] * 14}, r"profile\.token_s.*at least 15"),
    ({"token_s": [0.01] * 14 + [0.009]}, "token_s must not fall with tokens .* at 16384 tokens"),
    ({"token_memory_share": [1.5] * 15}, r"profile\.token_memory_share\.0"),
    ({"t0_s": 0.01}, "unknown key"),
])  # fmt: skip
def test_an_impossible_profile_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        ProfileSpec.parse({**load_entry("profile", "llama-3.1-8b_h100-sxm_tp1"), **change}, "profile")


def test_a_users_profile_is_found_and_held_to_physics(tmp_path: Path):
    (tmp_path / "profile").mkdir()
    data = load_profile("llama-3.1-70b", "b200-sxm", 2).model_dump(mode="json")
    mine = {**data, "name": "llama-3.1-70b_b200-sxm_tp8", "tensor_parallel": 8, "sources": []}
    path = tmp_path / "profile" / "llama-3.1-70b_b200-sxm_tp8.yaml"
    path.write_text(yaml.safe_dump(mine))
    assert load_profile("llama-3.1-70b", "b200-sxm", 8, [tmp_path]).origin == "measured"
    path.write_text(yaml.safe_dump({**mine, "context_s": 1e-12}))
    with pytest.raises(SpecError, match="context_s: faster than physics allows"):
        load_profile("llama-3.1-70b", "b200-sxm", 8, [tmp_path])


def test_a_profile_under_another_pairs_name_is_refused():
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1)
    with pytest.raises(SpecError, match="must agree"):
        check_profile(profile, load_gpu("b200-sxm"), load_model("llama-3.1-8b"))


def mixture() -> ModelSpec:
    """8 experts of 100 parameters in all, of which a token takes 2; 60 other parameters; 4-bit experts."""
    return ModelSpec(
        name="mixture", parameters=160, active_parameters=85, experts=8, experts_per_token=2, expert_parameters=100,
        bytes_per_expert_parameter=0.5, layers=1, attention_heads=8, kv_heads=2, head_dim=4, wake_s=1.0,
        max_context_tokens=100,
    )  # fmt: skip


def test_a_mixture_of_experts_reads_the_experts_that_its_tokens_touch():
    """One token: 60 others in bf16 and a quarter of 100 in 4 bits; two tokens: 1 - (3/4)^2 = 7/16 of them."""
    assert mixture().weight_bytes == pytest.approx(60 * 2 + 100 * 0.5)
    assert mixture().weight_bytes_read(1.0) == pytest.approx(60 * 2 + 25 * 0.5)
    assert mixture().weight_bytes_read(2.0) == pytest.approx(60 * 2 + 100 * 7 / 16 * 0.5)
    assert mixture().weight_bytes_read(1000.0) == pytest.approx(mixture().weight_bytes)


def test_a_token_passes_two_of_eight_experts():
    """85 weights a token is multiplied with, of them a quarter of the experts' 100."""
    assert mixture().flops_per_token == pytest.approx(2 * 85)
    assert mixture().expert_flops_per_token == pytest.approx(2 * 25)
    assert load_model("llama-3.1-8b").expert_flops_per_token == 0.0


def test_a_dense_model_reads_the_same_weights_for_any_batch():
    llama = load_model("llama-3.1-8b")
    assert llama.weight_bytes_read(1.0) == llama.weight_bytes_read(4096.0) == 2 * llama.active_parameters


def test_kv_heads_fewer_than_gpus_are_held_more_than_once():
    assert mixture().kv_copies(2) == 1.0
    assert mixture().kv_copies(8) == 4.0


def test_kv_capacity_is_what_the_weights_leave():
    """Close to what full KV caches of ML.ENERGY's runs imply: 8B on an H100 keeps 691 sequences of about 600 tokens."""
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-8b")
    capacity = kv_capacity_tokens(gpu, model, 1)
    assert capacity == int((0.9 * 85.52e9 - model.weight_bytes) // 131072)
    assert 691 * 550 < capacity < 691 * 700


def test_a_model_that_does_not_fit_says_how_many_gpus_would():
    with pytest.raises(
        SpecError, match=r"llama-3.1-70b \(141.1 GB of weights\) does not fit on 1 x h100-sxm.* at least 2"
    ):
        kv_capacity_tokens(load_gpu("h100-sxm"), load_model("llama-3.1-70b"), 1)


def test_tensor_parallel_must_divide_the_heads():
    with pytest.raises(SpecError, match=r"must divide llama-3.1-8b's 32 heads \(got 3\)"):
        load_profile("llama-3.1-8b", "h100-sxm", 3)


@pytest.mark.parametrize(("change", "message"), [
    ({"kv_heads": 5}, "kv_heads must divide attention_heads"),
    ({"active_parameters": 9e9}, "active_parameters must not exceed parameters"),
    ({"experts": 4, "experts_per_token": 5}, "experts_per_token must not exceed experts, 4"),
    ({"experts": 4, "expert_parameters": 40e9}, "a token's share exceeds active_parameters"),
    ({"full_attention_layers": 33}, "full_attention_layers must not exceed layers, 32"),
    ({"layers": 0}, r"model\.layers"),
    ({"layers": 32.5}, r"model\.layers"),
    ({"wake": 3}, "unknown key; did you mean 'wake_s'"),
])  # fmt: skip
def test_an_impossible_model_is_refused(change, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec.parse({**load_entry("model", "llama-3.1-8b"), **change}, "model")


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(SpecError, match=r"did you mean 'llama-3.1-8b'"):
        load_profile("llama3.1-8b", "h100-sxm", 1)


def test_what_an_entry_of_a_model_leaves_out_follows_from_its_shape():
    for name in ("llama-3.1-8b", "llama-3.1-70b", "qwen3-32b", "qwen3-30b-a3b", "deepseek-v3"):
        shipped = load_model(name)
        plain = {key: value for key, value in shipped.model_dump().items() if value is not None}
        own = ModelSpec.parse(
            {key: plain[key] for key in plain if key not in ("active_parameters", "wake_s", "sources")}
        )
        assert own.active_parameters == pytest.approx(shipped.active_parameters, rel=1e-3)
        assert own.wake_s == pytest.approx(shipped.wake_s, abs=1.0)
        assert own.sources[-1].startswith("active_parameters, wake_s: assumption")
