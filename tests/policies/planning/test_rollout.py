"""A planner by forks takes what copies do clearly better with, and is handed copies and nothing else."""

import numpy as np
import pytest

from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.planning.rollout import RolloutPlanner, clearly_best

SMALL = {"look_ahead": 10, "decide_every": 5, "candidates": 3, "futures": 2}


def make_env(count: int = 1) -> FleetVectorEnv:
    return FleetVectorEnv("tiny", count, overrides={"horizon_ticks": 30})


def earned(choice, episodes=3, batch_size=64):
    env = make_env()
    policy = make_policy(choice, PolicyContext.from_env(env))
    rows = evaluate_policy(make_env, Candidate(policy, "p"), episodes, seed=0, batch_size=batch_size)
    return [row.metrics["net_value_usd"] for row in rows]


class Crawl:
    """A rule that lets every GPU crawl, which any planner can better."""

    def __init__(self, context):
        self._shape = context.action_space.shape

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full((len(observation), *self._shape), -0.8, np.float32), None


def test_what_a_planner_earns_does_not_depend_on_how_many_episodes_run_side_by_side():
    choice = {"name": "rollout", "rule": f"{__name__}:Crawl", **SMALL}
    assert earned(choice, batch_size=1) == earned(choice, batch_size=3)


def test_a_planner_betters_a_bad_rule_by_more_than_its_placebo_does():
    sizes = {"look_ahead": 30, "decide_every": 10, "candidates": 12, "futures": 4, "rule": f"{__name__}:Crawl"}
    planner, placebo = (np.mean(earned({**sizes, "name": "rollout", "size": size})) for size in (1.0, 1e-4))
    assert planner > 1.5 * placebo > 0.0


def test_the_clairvoyant_twin_chooses_in_the_future_that_comes():
    asked = []
    env = make_env()
    policy = make_policy({"name": "rollout_clairvoyant", **SMALL}, PolicyContext.from_env(env))

    class Spy:
        num_envs, ended = 1, ()

        def simulate(self, plan, horizon, **arguments):
            asked.append((horizon, arguments["futures"], arguments["branches"]))
            return env.simulate(plan, horizon, **arguments)

    observation, _ = env.reset(seed=0)
    policy.meet(Spy())
    policy.predict(observation)
    assert asked == [(10, "same", 3)]


def test_in_one_future_any_gain_counts_and_in_several_a_clear_one():
    assert clearly_best(np.array([[[1.0], [1.1], [0.9]]])).tolist() == [1]
    assert clearly_best(np.array([[[1.0, 1.0], [1.0, 1.2]]])).tolist() == [0]
    assert clearly_best(np.array([[[1.0, 1.0], [1.2, 1.2]]])).tolist() == [1]


def test_a_rule_gets_no_simulator_and_neither_does_the_rule_of_a_planner():
    context = PolicyContext.from_env(make_env())
    assert context.simulator is not None
    assert make_policy("feedback_capping", context).context.simulator is None
    with pytest.raises(SpecError, match=r"policy.rollout: plans on copies of a fleet"):
        make_policy({"name": "rollout", "rule": "rollout"}, context)


def test_a_planner_without_a_fleet_and_one_with_a_single_drawn_future_are_refused():
    env = make_env()
    context = PolicyContext.from_env(env)
    with pytest.raises(SpecError, match=r"policy.rollout.futures: must be at least 2 .*got 1"):
        make_policy({"name": "rollout", "futures": 1}, context)
    bare = PolicyContext(env.single_observation_space, env.single_action_space)
    with pytest.raises(SpecError, match=r"there is none at hand"):
        RolloutPlanner(bare, Crawl(bare))


def test_a_planner_says_that_it_acts_for_its_own_environment():
    env = make_env(2)
    observation, _ = env.reset(seed=0)
    policy = make_policy("rollout", PolicyContext.from_env(env))
    with pytest.raises(SpecError, match=r"all 2 fleets of its environment together"):
        policy.predict(observation[:1])
