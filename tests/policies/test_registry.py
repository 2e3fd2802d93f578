"""Policies by name: everything registered works alike, and every mistake in a configuration is named."""

import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from tests.policies.views import context_of, episode, two_sites
from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.envs.engine.reference.power_states import ROUNDED_REPLICAS
from tokenfleet.policies import POLICIES, PolicyContext, make_policy, register_policy
from tokenfleet.policies.heuristics.uniform_random import RandomPolicy
from tokenfleet.policies.shipped import GROUPS, LOADED

NIGHT_SHIFT = "examples.custom_policy.night_shift:NightShift"


OWN = [
    name
    for name, preset in POLICIES.items()
    if preset.group not in ("variant", LOADED) and not name.endswith("_capped")
]
"""Shipped policies but for those whose rules all stand in others, and those that need a folder."""


@pytest.fixture(params=OWN)
def name(request):
    return request.param


@pytest.fixture(params=[name for name in OWN if name != "random" and "rollout" not in name])
def control_name(request):
    """Those that think in controls; the random one draws its actions, planners by forks shift those of a rule."""
    return request.param


@pytest.fixture
def repository_on_path(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def make_env(num_envs=3, **kwargs):
    return FleetVectorEnv("tiny", num_envs, overrides={"horizon_ticks": 30}, **kwargs)


def make_and_run(name, seed=0):
    env = make_env()
    return episode(env, make_policy(name, PolicyContext.from_env(env, seed=seed)), seed=5)


# everything registered


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


# choosing


@pytest.fixture
def context():
    return context_of(two_sites())


def test_parameters_come_from_the_configuration(context):
    policy = make_policy(
        {"name": "least_work", "routing": {"name": "least_work", "spread_s": 3}, "clocking": "uniform"}, context
    )
    assert type(policy.clocking).__name__ == "UniformClock"
    assert type(policy.routing).__name__ == "LeastWork"


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


# other environments


def test_a_heuristic_needs_a_fleet_and_says_so():
    env = gymnasium.make_vec("CartPole-v1", num_envs=2)
    message = (
        r"policy\.least_work: needs a tokenfleet fleet environment; CartPole-v1 has none; use random or a checkpoint"
    )
    with pytest.raises(SpecError, match=message):
        make_policy("least_work", PolicyContext.from_env(env))


def test_random_plays_any_environment():
    env = gymnasium.make_vec("CartPole-v1", num_envs=4)
    policy = make_policy("random", PolicyContext.from_env(env, seed=1))
    observations, _ = env.reset(seed=0)
    actions = np.stack([policy.predict(observations)[0] for _ in range(50)])
    assert actions.shape == (50, 4)
    assert {0, 1} == set(actions.ravel().tolist())
    env.step(actions[0])
    single, _ = policy.predict(observations[0])
    assert np.shape(single) == ()


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Discrete(3),
        gymnasium.spaces.MultiBinary(4),
        gymnasium.spaces.Box(-2.0, 5.0, (2, 3)),
        gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2), "b": gymnasium.spaces.Box(0.0, 1.0, (2,))}),
        gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(2), gymnasium.spaces.Box(0.0, 1.0, (1,)))),
    ],
)
def test_random_speaks_any_space(space):
    observation_space = gymnasium.spaces.Dict(
        {"x": gymnasium.spaces.Box(0.0, 1.0, (3,)), "y": gymnasium.spaces.Discrete(2)}
    )
    policy = make_policy("random", PolicyContext(observation_space, space, seed=0))
    assert space.contains(policy.predict(observation_space.sample())[0])
    batch = gymnasium.vector.utils.batch_space(observation_space, 5).sample()
    actions, _ = policy.predict(batch)
    rows = list(gymnasium.vector.utils.iterate(gymnasium.vector.utils.batch_space(space, 5), actions))
    assert len(rows) == 5
    assert all(space.contains(row) for row in rows)


def test_random_draws_by_its_seed():
    context = context_of(two_sites())
    observation = np.zeros((4, *context.observation_space.shape), np.float32)
    first, again, other = (
        make_policy("random", context_of(two_sites(), seed=seed)).predict(observation)[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({tuple(row) for row in first.tolist()}) == 4


def test_what_random_draws_follows_the_episodes_and_not_the_batch():
    """So that a comparison comes out the same however many environments run side by side."""
    context = context_of(two_sites(), seed=7)
    observation = np.zeros((3, *context.observation_space.shape), np.float32)

    def draws(*seeds):
        policy = make_policy("random", context)
        policy.predict(observation)
        policy.begin_episodes(seeds)
        return np.stack([policy.predict(observation[: len(seeds)])[0] for _ in range(4)])

    together = draws(11, 12, 13)
    np.testing.assert_array_equal(draws(12)[:, 0], together[:, 1])
    np.testing.assert_array_equal(draws(13, 11), together[:, [2, 0]])
