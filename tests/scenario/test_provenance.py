"""A user is told what every pool stands on, and may refuse to stand on a roofline."""

from __future__ import annotations

import numpy as np
import pytest

from tokenfleet.envs import FleetEnv
from tokenfleet.envs.catalog import load_entry
from tokenfleet.envs.layers.llm import expected_errors, load_model, load_profile
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.scenario.provenance import pool_arrays, pool_facts, pool_lines, refuse_rooflines
from tokenfleet.envs.spec import SpecError

MEASURED = load_scenario("tiny")
ROOFLINE = load_scenario("tiny", {"pools.lab-70b.gpu": "mi300x"})
REFUSAL = (
    r"strict_profiles: pool 'lab-70b' runs llama-3\.1-70b on 4 x mi300x on a roofline .*decode step \d+\.\d%.*"
    r"python -m tokenfleet\.envs\.fitting runs\.csv --model llama-3\.1-70b --gpu mi300x --tensor-parallel 4 --out mine"
)


def test_each_pool_says_its_model_its_boards_its_profile_and_its_errors() -> None:
    measured, roofline = pool_lines(ROOFLINE)
    assert measured.startswith("pool lab-8b: llama-3.1-8b on 1 x h100-sxm: measured profile; expected error: decode")
    assert roofline.startswith("pool lab-70b: llama-3.1-70b on 4 x mi300x: roofline, not measured; expected error:")


def test_lines_facts_and_arrays_say_the_same() -> None:
    facts, arrays = pool_facts(ROOFLINE), pool_arrays(ROOFLINE)
    assert [fact["profile"] == "roofline" for fact in facts.values()] == arrays["is_roofline"].tolist() == [False, True]
    errors = [fact["expected_errors"]["board_power"] for fact in facts.values()]
    assert arrays["board_power_error"].tolist() == errors
    assert f"board power {errors[1]:.1%}" in pool_lines(ROOFLINE)[1]


def test_a_profile_of_ones_own_is_expected_to_be_as_wrong_as_on_runs_that_were_left_out() -> None:
    shipped = load_profile("llama-3.1-8b", "h100-sxm", 1)
    fitted = shipped.model_copy(update={"fit_errors": {"decode_step": 0.01, "decode_step_left_out": 0.03}})
    model = load_model("llama-3.1-8b")
    assert expected_errors(fitted, model)["decode_step"] == 0.03
    claimed = load_entry("accuracy", "claims")["errors"]["measured"]["dense"]["decode_step"]["error"]
    assert expected_errors(shipped, model)["decode_step"] == claimed


def test_only_rooflines_are_refused_with_the_command_that_helps() -> None:
    refuse_rooflines(MEASURED)
    with pytest.raises(SpecError, match=REFUSAL):
        refuse_rooflines(ROOFLINE)
    FleetEnv(ROOFLINE)
    with pytest.raises(SpecError, match=REFUSAL):
        FleetEnv(ROOFLINE, strict_profiles=True)


def test_a_variant_is_told_of_and_refused_as_a_pool_is() -> None:
    scenario = load_scenario("tiny", {"pools.lab-70b.variant": {"model": "llama-3.1-8b", "quality": 0.9}})
    names = [line.split(":")[0] for line in pool_lines(scenario)]
    assert names == ["pool lab-8b", "pool lab-70b", "pool lab-70b variant"]
    assert pool_facts(scenario)["lab-70b variant"]["profile"] == "roofline"
    with pytest.raises(SpecError, match=r"strict_profiles: pool 'lab-70b variant' runs llama-3\.1-8b on 4 x h100-sxm"):
        refuse_rooflines(scenario)


def test_infos_tell_it_from_the_reset_on() -> None:
    env = FleetEnv(ROOFLINE)
    _, info = env.reset(seed=0)
    assert info["profiles"]["is_roofline"].tolist() == [False, True]
    *_, later = env.step(env.action_space.sample())
    for name, values in info["profiles"].items():
        np.testing.assert_array_equal(later["profiles"][name], values)
