"""Policies in YAML files: those written by a person, and the shipped ones, which act as they always did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.policies.views import context_of, two_sites
from tokenfleet.envs.files import read_yaml
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.identity import scenario_hash
from tokenfleet.evaluation.leaderboard.shipping import checked
from tokenfleet.evaluation.protocol import load_protocol
from tokenfleet.policies import POLICIES, make_policy
from tokenfleet.policies.policy_files import HERE, resolved, shipped_names
from tokenfleet.policies.shipped import CHECKPOINT

FOR_ANY = ("pretrained/generalist",)
"""For any scenario; `tests/policies/test_generalist.py` has what it does."""


@pytest.fixture
def scenario() -> Scenario:
    return two_sites()


def test_a_file_of_a_policy_is_read(tmp_path: Path, scenario: Scenario) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("policy: {name: supervisor, backlog_limit_s: 3}\nfound: {seed: 1}\n")
    assert resolved(str(path)) == {"name": "supervisor", "backlog_limit_s": 3}
    policy = make_policy(str(path), context_of(scenario))
    assert policy.setpoints.backlog_limit_s.tolist() == [[3.0]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "holds no policy"),
        ("policy: {gain: 3}", "holds no policy"),
        ("policy: {name: tuned/default/supervisor}", "must be a policy and no further file"),
        ("policy: {name: supervisor, backlog: 3}", "backlog"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, words: str, tmp_path: Path, scenario: Scenario) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SpecError, match=words):
        make_policy(str(tmp_path / "mine.yaml"), context_of(scenario))


@pytest.mark.parametrize("name", shipped_names())
def test_a_policy_that_ships_is_one_of_its_scenario(name: str) -> None:
    """That of no scenario is for any."""
    scenario = load_scenario(name.split("/")[1]) if name not in FOR_ANY else two_sites()
    policy = make_policy(name, context_of(scenario))
    assert type(policy).__name__ == POLICIES[resolved(name)["name"]].target.rpartition(":")[2]


@pytest.mark.parametrize(
    "name", [name for name in shipped_names() if name.startswith("pretrained/") and name not in FOR_ANY]
)
def test_a_pretrained_policy_plays_as_it_did(name: str) -> None:
    """Else `python -m tokenfleet.evaluation.leaderboard --scenario NAME --ship policies` trains it anew."""
    scenario, found = load_scenario(name.split("/")[1]), read_yaml(HERE / f"{name}.yaml")["found"]
    assert scenario_hash(scenario) == found["config_hash"], "the scenario has changed since"
    test, reference = found["test"], load_protocol().references[scenario.name]
    assert test["score"] == pytest.approx(reference.score(test["usd"]), abs=0.05)
    values, told = checked(scenario, name)["net_value_usd"], found["check"]["net_value_usd"]
    if resolved(name)["name"] == CHECKPOINT:  # processors round the sums of a network differently; fleets are chaotic
        assert sum(values) == pytest.approx(sum(told), rel=0.02)
    else:
        assert values == pytest.approx(told, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in shipped_names() if name.startswith("tuned/")])
def test_a_tuned_set_was_found_in_the_scenario_as_it_is(name: str) -> None:
    """Else `python tune.py scenario=SCENARIO policy=RULE` tunes it anew."""
    scenario, found = load_scenario(name.split("/")[1]), read_yaml(HERE / f"{name}.yaml")["found"]
    assert scenario_hash(scenario) == found["config_hash"], "the scenario has changed since"


def test_a_tuned_set_that_does_not_ship_is_refused(scenario: Scenario) -> None:
    with pytest.raises(SpecError, match=r"policy: unknown name 'tuned/default/nobody'"):
        make_policy("tuned/default/nobody", context_of(scenario))
