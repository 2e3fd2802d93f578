"""Policies by name, by class and from a user's own file, and every mistake in a choice named with its fix."""

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from tests.policies.views import context_of, episode, two_sites
from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.policies import POLICIES, PolicyContext, make_policy, register_policy
from tokenfleet.policies.heuristics.uniform_random import RandomPolicy

NIGHT_SHIFT = "examples.custom_policy.night_shift:NightShift"


@pytest.fixture
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def make_env(num_envs=3, **kwargs):
    return FleetVectorEnv("tiny", num_envs, overrides={"horizon_ticks": 30}, **kwargs)


@pytest.fixture
def context():
    return context_of(two_sites())


def test_parameters_come_from_the_configuration(context):
    policy = make_policy(
        {"name": "least_work", "routing": {"name": "least_work", "spread_s": 3}, "clocking": "uniform"}, context
    )
    assert type(policy.clocking).__name__ == "UniformClock"
    assert type(policy.routing).__name__ == "LeastWork"
    assert np.all(policy.routing._spread_s == 3.0)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            "least_wrok",
            r"policy: unknown name 'least_wrok'; did you mean 'least_work'\? \(choose from .*or 'module:Class'",
        ),
        ({"nmae": "least_work"}, r"policy: must be a name, or a mapping with a name and parameters"),
        (3, r"policy: must be a name, or a mapping with a name and parameters \(got 3\)"),
        (
            {"name": "least_work", "cloking": "uniform"},
            r"policy\.least_work\.cloking: unknown key; did you mean 'clocking'\?",
        ),
        (
            {"name": "least_work", "clocking": "unifrom"},
            r"policy\.least_work\.clocking: unknown name 'unifrom'; did you mean 'uniform'\?",
        ),
        (
            {"name": "feedback_capping", "clocking": {"name": "feedback", "gain": -1}},
            r"policy\.feedback_capping\.clocking\.feedback\.gain: input should be greater than 0 \(got -1\)",
        ),
        (
            {"name": "greedy_efficiency", "target_load": 1.5},
            r"policy\.greedy_efficiency\.target_load: input should be less than or equal to 1 \(got 1.5\)",
        ),
        ({"name": "random", "seed": 3}, r"policy\.random\.seed: unknown key"),
        ("no_such_module:Policy", r"policy: cannot import 'no_such_module:Policy' .*write 'module:Class'"),
        ("tokenfleet.envs:NoSuchClass", r"policy: cannot import 'tokenfleet.envs:NoSuchClass'"),
        ("math:pi", r"policy: 'math:pi' is not a class"),
        ("contextlib:nullcontext", r"policy\.contextlib:nullcontext: has no method predict"),
        ("contextlib:ExitStack", r"policy\.contextlib:ExitStack: its constructor must take a PolicyContext first"),
        (
            "collections:OrderedDict",
            r"policy\.collections:OrderedDict: its constructor must take a PolicyContext first",
        ),
    ],
)
def test_a_mistake_is_named_with_its_fix(context, choice, message):
    with pytest.raises(SpecError, match=message):
        make_policy(choice, context)


def test_all_mistakes_are_reported_at_once(context):
    with pytest.raises(SpecError) as error:
        make_policy({"name": "greedy_efficiency", "target_load": 0, "smoothing_s": -1, "patients": 2}, context)
    assert len(error.value.problems) == 3


def test_a_registered_policy_has_a_name(context, monkeypatch):
    monkeypatch.setattr("tokenfleet.policies.registry.POLICIES", dict(POLICIES))
    register_policy("greedy_half", "tokenfleet.policies.heuristics.greedy:GreedyEfficiency", target_load=0.5)
    register_policy("greedy_half", "tokenfleet.policies.heuristics.greedy:GreedyEfficiency", target_load=0.5)
    assert make_policy("greedy_half", context).name == "greedy_half"
    with pytest.raises(SpecError, match="the name 'random' is taken"):
        register_policy("random", "my.module:Policy")


def test_a_class_can_be_registered_as_it_is(context, monkeypatch):
    monkeypatch.setattr("tokenfleet.policies.registry.POLICIES", {})
    register_policy("mine", RandomPolicy)
    assert isinstance(make_policy("mine", context), RandomPolicy)


def test_a_users_policy_runs_from_its_own_file(repository_on_path):
    env = make_env()
    context = PolicyContext.from_env(env)
    cheap = make_policy({"name": NIGHT_SHIFT, "cheap_usd_per_mwh": 100}, context)
    dear = make_policy({"name": NIGHT_SHIFT, "cheap_usd_per_mwh": 10, "slow_clock": 0.6}, context)
    clocks = [context.action.decode(episode(env, policy, 0)["action"][0]).clock_fraction for policy in (cheap, dear)]
    np.testing.assert_allclose(clocks[0], 1.0)
    np.testing.assert_allclose(clocks[1], 0.6, atol=1e-6)


@pytest.mark.parametrize("page", ["docs/policies.md", "examples/custom_policy/README.md"])
def test_the_pages_examples_run(repository_on_path, page):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if not block.startswith("actions, state = policy"):  # the bare signature
            exec(block, names)
    assert names["actions"].dtype == np.float32


def test_a_users_parameters_are_checked(repository_on_path, context):
    with pytest.raises(SpecError, match=r"slow_clock: input should be less than or equal to 1 \(got 2.0\)"):
        make_policy({"name": NIGHT_SHIFT, "slow_clock": 2.0}, context)


def test_a_heuristic_needs_a_fleet_and_says_so():
    env = gymnasium.make_vec("CartPole-v1", num_envs=2)
    message = (
        r"policy\.least_work: needs a tokenfleet fleet environment; CartPole-v1 has none; use random or a checkpoint"
    )
    with pytest.raises(SpecError, match=message):
        make_policy("least_work", PolicyContext.from_env(env))
