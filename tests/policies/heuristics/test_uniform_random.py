"""The random policy speaks any space and draws by its seed."""

import gymnasium
import numpy as np
import pytest

from tests.policies.views import context_of, two_sites
from tokenfleet.policies import PolicyContext, make_policy


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
