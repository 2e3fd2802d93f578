"""Every shipped policy works as all others do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.policies.views import episode
from tokenfleet.envs import FleetVectorEnv
from tokenfleet.envs.engine.reference.power_states import ROUNDED_REPLICAS
from tokenfleet.policies import POLICIES, PolicyContext, make_policy
from tokenfleet.policies.shipped import GROUPS, LOADED

OWN = [
    name
    for name, preset in POLICIES.items()
    if preset.group not in ("variant", LOADED) and not name.endswith("_capped")
]
"""Shipped policies, except those made only of the rules of others, and those that need a folder."""


@pytest.fixture(params=OWN)
def name(request):
    return request.param


@pytest.fixture(params=[name for name in OWN if name != "random" and "rollout" not in name])
def control_name(request):
    """Those that think in controls; the random one draws its actions, planners by forks shift those of a rule."""
    return request.param


def make_env(num_envs=3, **kwargs):
    return FleetVectorEnv("tiny", num_envs, overrides={"horizon_ticks": 30}, **kwargs)


def make_and_run(name, seed=0):
    env = make_env()
    return episode(env, make_policy(name, PolicyContext.from_env(env, seed=seed)), seed=5)


def test_every_shipped_policy_is_of_a_declared_group():
    groups = {name: preset.group for name, preset in POLICIES.items() if preset.group}
    assert set(groups.values()) == set(GROUPS)
    assert [name for name, group in groups.items() if group == "baseline"] == ["operator", "supervisor"]


@pytest.mark.parametrize("scenario", ["retry-storm", "default"])
def test_no_two_references_or_baselines_act_alike_even_where_there_is_one_pool_to_choose(scenario):
    env = FleetVectorEnv(scenario, 2, overrides={"horizon_ticks": 120})
    earned = {
        name: episode(env, make_policy(name, PolicyContext.from_env(env)), seed=5)["reward"].sum()
        for name, preset in POLICIES.items()
        if preset.group in ("reference", "baseline")
    }
    assert len(set(earned.values())) == len(earned)


def test_every_policy_plays_a_whole_episode_inside_the_box_and_again_given_its_seed(name):
    history = make_and_run(name)
    space = make_env().single_action_space
    assert history["action"].dtype == np.float32
    assert all(space.contains(action) for tick in history["action"] for action in tick)
    assert history["reward"].sum() > 0.0
    np.testing.assert_array_equal(history["action"], make_and_run(name)["action"])


def test_every_policy_acts_alike_in_any_batch(control_name):
    batch, single = make_env(3), make_env(1)
    policy = make_policy(control_name, PolicyContext.from_env(batch))
    together = episode(batch, policy, seed=5)
    for index in range(3):
        alone = episode(single, policy, seed=5 + index)
        np.testing.assert_array_equal(alone["action"][:, 0], together["action"][:, index])


def test_every_control_policy_says_what_it_means(control_name):
    """What a policy decides survives the way through the action: encode and decode agree with its controls."""
    env = make_env()
    context = PolicyContext.from_env(env)
    policy = make_policy(control_name, context)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=5)
    for _ in range(10):
        observation, *_ = env.step(np.abs(env.action_space.sample()))  # nothing sleeps
    meant, _ = policy.controls(context.observation.decode(observation), policy.initial_state(3))
    said = context.action.decode(policy.predict(observation)[0])
    mask = context.scenario.route_mask
    share = np.where(mask, meant.route_share, 0.0)
    np.testing.assert_allclose(said.route_share, share / share.sum(axis=2, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(said.clock_fraction, meant.clock_fraction, atol=1e-6)
    most_rps = 4.0 * np.array([context.scenario.mean_rate_rps(name) for name in context.scenario.classes])
    sayable_rps = np.where(meant.admit_rate_rps >= most_rps, np.inf, meant.admit_rate_rps)
    np.testing.assert_allclose(said.admit_rate_rps, sayable_rps, rtol=1e-5)
    replicas = env.engine.arrays.replicas
    np.testing.assert_array_equal(
        np.ceil(said.awake_fraction * replicas - ROUNDED_REPLICAS), np.rint(meant.awake_fraction * replicas)
    )


def test_importing_the_registry_is_light():
    heavy = "{'torch', 'stable_baselines3', 'matplotlib', 'scipy'}"
    code = f"import sys, tokenfleet.policies; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_bare_import_of_the_folder_is_refused():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import policies"
    result = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[2])], capture_output=True, text=True, check=False
    )
    assert "import tokenfleet.policies, not policies" in result.stderr
