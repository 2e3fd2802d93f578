"""A policy is SB3's `predict`; a `ControlPolicy` reads named fields and answers in physical units."""

import gymnasium
import numpy as np
import pytest

from tests.policies.views import context_of, two_sites, view_of
from tokenfleet.envs import Controls, FleetObservation, FleetVectorEnv, SpecError
from tokenfleet.policies import ControlPolicy, PolicyContext


class CountingPolicy(ControlPolicy):
    """Remembers how many ticks an episode has lasted, and shows it as the clock."""

    fields = ("cap_w",)

    def initial_state(self, num_envs):
        return (np.zeros((num_envs, 1)),)

    def controls(self, view, state):
        (ticks,) = state
        self.seen_cap_w = view["cap_w"]
        clock = np.broadcast_to(0.5 + 0.1 * ticks, (len(ticks), 2))
        return Controls(np.ones((len(ticks), 1, 2)), clock, np.ones_like(clock), np.full((len(ticks), 1), np.inf)), (
            ticks + 1,
        )


class ForgetfulPolicy(CountingPolicy):
    """The same clock for ever."""

    def initial_state(self, num_envs):
        return ()

    def controls(self, view, state):
        controls, _ = super().controls(view, (np.zeros((len(view.rows), 1)),))
        return controls, ()


@pytest.fixture
def scenario():
    return two_sites()


@pytest.fixture
def observations(scenario):
    """Three fleets with caps of 1, 2 and 3 kW."""
    return FleetObservation(scenario).observe(view_of(scenario, 3, cap_w=[[1e3, 1e3], [2e3, 2e3], [3e3, 3e3]]))


def clocks(scenario, action):
    return context_of(scenario).action.decode(np.atleast_2d(action)).clock_fraction[:, 0].round(6).tolist()


def test_the_view_is_in_physical_units(scenario, observations):
    policy = CountingPolicy(context_of(scenario))
    policy.predict(observations)
    np.testing.assert_allclose(policy.seen_cap_w, [[1e3, 1e3], [2e3, 2e3], [3e3, 3e3]], rtol=1e-6)


def test_actions_are_float32_and_inside_the_box(scenario, observations):
    context = context_of(scenario)
    action, _ = CountingPolicy(context).predict(observations)
    assert action.dtype == np.float32
    assert action.shape == (3, *context.action_space.shape)
    assert all(context.action_space.contains(row) for row in action)


def test_a_single_observation_gives_a_single_action(scenario, observations):
    policy = CountingPolicy(context_of(scenario))
    batch, _ = policy.predict(observations)
    single, state = policy.predict(observations[1])
    np.testing.assert_array_equal(single, batch[1])
    assert state[0].shape == (1, 1)


def test_the_state_is_carried_and_starts_afresh_where_an_episode_does(scenario, observations):
    policy = CountingPolicy(context_of(scenario))
    action, state = policy.predict(observations, None, np.array([True, True, True]))
    assert clocks(scenario, action) == [0.5, 0.5, 0.5]
    action, state = policy.predict(observations, state, np.array([False, False, False]))
    assert clocks(scenario, action) == [0.6, 0.6, 0.6]
    action, state = policy.predict(observations, state, np.array([False, True, False]))
    assert clocks(scenario, action) == [0.7, 0.5, 0.7]
    action, _ = policy.predict(observations, state)
    assert clocks(scenario, action) == [0.8, 0.6, 0.8]


def test_a_policy_without_memory_has_no_state(scenario, observations):
    assert ForgetfulPolicy(context_of(scenario)).predict(observations)[1] is None


@pytest.mark.parametrize("make", [FleetVectorEnv, lambda **kw: gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", **kw)])
def test_the_context_of_a_fleet_has_its_parts(make):
    context = PolicyContext.from_env(make(scenario="tiny", engine="reference"), seed=3)
    assert context.scenario.name == "tiny"
    assert context.observation.space == context.observation_space
    assert context.action.space == context.action_space
    assert context.seed == 3


@pytest.mark.parametrize("make", [gymnasium.make, lambda env_id: gymnasium.make_vec(env_id, num_envs=2)])
def test_the_context_of_another_environment_has_spaces_only(make):
    context = PolicyContext.from_env(make("CartPole-v1"))
    assert context.observation_space.shape == (4,)
    assert context.action_space.n == 2
    assert context.scenario is context.observation is context.action is None


def test_a_control_policy_needs_a_fleet():
    context = PolicyContext.from_env(gymnasium.make("CartPole-v1"))
    with pytest.raises(SpecError, match="needs a tokenfleet fleet environment; CartPole-v1 has none; use random or a"):
        CountingPolicy(context)


def test_a_field_that_the_observation_leaves_out_is_named(scenario):
    partial = FleetObservation(scenario, ["waiting_requests"])
    context = context_of(scenario, observation=partial, observation_space=partial.space)
    with pytest.raises(
        SpecError, match=r"policy\.CountingPolicy: needs the field 'cap_w', which this observation leaves"
    ):
        CountingPolicy(context)


def test_a_misspelt_field_is_named(scenario):
    class Misspelt(CountingPolicy):
        fields = ("cap_watts",)

    with pytest.raises(SpecError, match="reads 'cap_watts', which is no field; did you mean 'cap_w'"):
        Misspelt(context_of(scenario))


def test_an_observation_without_names_is_refused(scenario):
    class Raw:
        space = FleetObservation(scenario).space

        def observe(self, view):
            return view.rows.copy()

    with pytest.raises(SpecError, match="reads named fields, which Raw does not give"):
        CountingPolicy(context_of(scenario, observation=Raw()))


def test_an_action_that_cannot_be_written_is_refused(scenario):
    class ClockOnly:
        space = context_of(scenario).action_space

        def decode(self, action):
            raise NotImplementedError

    with pytest.raises(SpecError, match="sets shares and clocks, which ClockOnly cannot express"):
        CountingPolicy(context_of(scenario, action=ClockOnly()))


def test_a_wrapper_that_changes_the_spaces_is_refused():
    env = gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario="tiny", engine="reference")
    wrapped = gymnasium.wrappers.RescaleAction(env, np.float32(0.0), np.float32(1.0))
    with pytest.raises(SpecError, match="a wrapper has changed the spaces of tokenfleet/Fleet-v0"):
        CountingPolicy(PolicyContext.from_env(wrapped))
