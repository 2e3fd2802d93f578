"""Models and profiles: published shapes, the physical bound, and what a mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tokenfleet.envs.catalog import catalog_names, load_entry
from tokenfleet.envs.layers.gpu import load_gpu
from tokenfleet.envs.layers.llm import (
    ModelSpec,
    ProfileSpec,
    check_profile,
    coefficient_bounds_s,
    kv_capacity_tokens,
    load_model,
    load_profile,
    profile_name,
    roofline_profile,
)
from tokenfleet.envs.spec import SpecError

PROFILES = catalog_names("profile")
COEFFICIENTS = ("t0_s", "decode_s", "context_s", "prefill_s", "prefill_attention_s")


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
def test_a_roofline_is_within_a_factor_of_three_of_each_fit(name):
    spec = ProfileSpec.parse(load_entry("profile", name))
    guess = roofline_profile(load_gpu(spec.gpu), load_model(spec.model), spec.tensor_parallel)
    for key in COEFFICIENTS:
        assert 1 / 3.3 < getattr(guess, key) / getattr(spec, key) < 3.3


@pytest.mark.parametrize("key", COEFFICIENTS)
def test_a_profile_that_beats_physics_is_refused(key, tmp_path: Path):
    gpu, model = load_gpu("h100-sxm"), load_model("llama-3.1-8b")
    bound_s = coefficient_bounds_s(gpu, model, 1)[key]
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1).model_copy(update={key: 0.99 * bound_s})
    with pytest.raises(SpecError, match=rf"{key}: faster than physics allows"):
        check_profile(profile, gpu, model)


def test_a_users_profile_is_found_and_held_to_physics(tmp_path: Path):
    (tmp_path / "profile").mkdir()
    data = load_profile("llama-3.1-70b", "b200-sxm", 2).model_dump(mode="json")
    mine = {**data, "name": "llama-3.1-70b_b200-sxm_tp8", "tensor_parallel": 8, "sources": []}
    path = tmp_path / "profile" / "llama-3.1-70b_b200-sxm_tp8.yaml"
    path.write_text(yaml.safe_dump(mine))
    assert load_profile("llama-3.1-70b", "b200-sxm", 8, [tmp_path]).origin == "measured"
    path.write_text(yaml.safe_dump({**mine, "t0_s": 1e-6}))
    with pytest.raises(SpecError, match="t0_s: faster than physics allows"):
        load_profile("llama-3.1-70b", "b200-sxm", 8, [tmp_path])


def test_a_profile_under_another_pairs_name_is_refused():
    profile = load_profile("llama-3.1-8b", "h100-sxm", 1)
    with pytest.raises(SpecError, match="must agree"):
        check_profile(profile, load_gpu("b200-sxm"), load_model("llama-3.1-8b"))


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


def test_the_number_of_gpus_it_names_does_fit():
    assert kv_capacity_tokens(load_gpu("h100-sxm"), load_model("llama-3.1-70b"), 2) > 0


def test_tensor_parallel_must_divide_the_heads():
    with pytest.raises(SpecError, match=r"must divide llama-3.1-8b's 32 heads \(got 3\)"):
        load_profile("llama-3.1-8b", "h100-sxm", 3)


@pytest.mark.parametrize(("change", "message"), [
    ({"kv_heads": 5}, "kv_heads must divide attention_heads"),
    ({"active_parameters": 9e9}, "active_parameters must not exceed parameters"),
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
