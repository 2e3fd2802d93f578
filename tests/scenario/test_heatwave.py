"""The hot scenario is hot, and heat is what makes it hard."""

import numpy as np
import pytest

from tokenfleet.envs import FleetVectorEnv
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.policies import PolicyContext, make_policy

EPISODES = 24
PHOENIX, SAN_JOSE = 0, 1


def play(policy_name):
    """Seconds of derating `[N, S]` and net value `[N]` [USD] of the train episodes."""
    env = FleetVectorEnv("heatwave", EPISODES, split="train", autoreset_mode="Disabled")
    policy = make_policy(policy_name, PolicyContext.from_env(env))
    observation, _ = env.reset(seed=0)
    state, derated_s, over = None, 0.0, np.zeros(EPISODES, bool)
    while not over.all():
        action, state = policy.predict(observation, state, np.zeros(EPISODES, bool))
        observation, _, _, over, info = env.step(action)
        derated_s += env.engine.outcome["derated_s"]
    return derated_s, info["episode_metrics"]["net_value_usd"]


@pytest.fixture(scope="module")
def flat_out():
    return play("max_clock")


def test_most_days_pass_what_the_plant_was_built_for_and_only_in_phoenix():
    scenario = load_scenario("heatwave")
    hottest_c = np.array([sample_episode(scenario, seed).outdoor_c.max(axis=0) for seed in range(EPISODES)])
    assert (hottest_c[:, PHOENIX] > 38.0).mean() > 0.7
    assert (hottest_c[:, SAN_JOSE] < 38.0).all()


def test_at_full_clocks_a_fair_share_of_rooms_reaches_the_limit(flat_out):
    reached = flat_out[0] > 0.0
    assert 0.3 < reached[:, PHOENIX].mean() < 0.9
    assert not reached[:, SAN_JOSE].any()


def test_heeding_the_room_keeps_it_cooler_and_earns_more_than_only_heeding_the_cap(flat_out):
    blind_s, blind_usd = play("feedback_capping")
    heeding_s, heeding_usd = play({"name": "feedback_capping", "clocking": "thermal"})
    assert heeding_s.mean() < 0.5 * blind_s.mean()
    assert heeding_usd.mean() > blind_usd.mean() > flat_out[1].mean()
