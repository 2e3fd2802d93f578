"""Evolution as an algorithm: from the middle of the box, over the same episodes for all, to something better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from tests.policies.toys import Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.evolution import Evolution
from tokenfleet.policies.learned.links import fleet_links
from tokenfleet.policies.learned.network_policy import NetworkPolicy
from tokenfleet.policies.learned.training import make_model, train_policy

KINDS = ("cma_es", "openai_es", "ars")


def fleets(num_envs: int = 4) -> FleetVectorEnv:
    fields = ["cap_w", "class_backlog_s", "pool_backlog_s"]
    overrides = {"horizon_ticks": 20}
    return FleetVectorEnv(
        "default", num_envs, overrides=overrides, action="setpoints", observation=fields,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )  # fmt: skip


@pytest.mark.parametrize("layers", [[], [8]])
@pytest.mark.parametrize("name", KINDS)
def test_a_search_begins_in_the_middle_of_the_box(name: str, layers: list[int]) -> None:
    algorithm = parse_algorithm({"name": name, "episodes": 2, "policy_kwargs": {"net_arch": layers}})
    policy = NetworkPolicy.of_model(make_model(job_on(same_step(Target, 8), algorithm)))
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    np.testing.assert_array_equal(policy.predict(seen, deterministic=True)[0], np.zeros((5, 2)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cma_es", {"sigma": 0.3, "diagonal": False}),
        ("openai_es", {"sigma": 0.2, "learning_rate": 0.1}),
        ("ars", {"sigma": 0.2, "learning_rate": 0.05}),
    ],
)
def test_a_linear_policy_learns_to_say_what_it_sees(name: str, changes: dict[str, object], tmp_path: Path) -> None:
    algorithm = parse_algorithm({"name": name, "episodes": 2, **changes})
    job = job_on(same_step(Target, 24), algorithm, total=24 * 10 * 60, validate=target_score, every=24 * 10 * 30)
    assert train_policy(job, make_model(job), tmp_path).score > -0.3  # 0 is perfect, and the middle is at -1


def test_candidates_of_a_generation_live_the_same_episodes() -> None:
    model = make_model(job_on(fleets(8), small_algorithm("cma_es", episodes=2, sigma=1e-12)))
    assert isinstance(model, Evolution)
    model.learn(8 * 4 * 3)
    assert model.told.shape == (3, 4)
    assert np.ptp(model.told, axis=1).max() == 0.0  # all act alike, and nothing else tells them apart
    assert np.ptp(model.told, axis=0).min() > 0.0


def test_candidates_are_alike_again_after_episodes_of_different_lengths() -> None:
    from tests.policies.toys import Scripted

    class Uneven(Scripted):
        action_space = Target.action_space

        def __init__(self, length: int) -> None:
            super().__init__(((length, True),))

    lengths = iter([3, 5])
    model = make_model(job_on(same_step(lambda: Uneven(next(lengths)), 2), small_algorithm("openai_es")))
    model.learn(30)
    assert isinstance(model, Evolution)
    np.testing.assert_array_equal(model.told, [[3.0, 5.0]] * 3)


def test_all_candidates_act_as_each_would_alone() -> None:
    algorithm = parse_algorithm({"name": "openai_es", "episodes": 3, "policy_kwargs": {"net_arch": [4]}})
    model = make_model(job_on(same_step(Target, 6), algorithm))
    assert isinstance(model, Evolution)
    rng = np.random.default_rng(0)
    weights, seen = rng.normal(size=(2, len(model.first_weights))), rng.normal(size=(2, 3, 2)).astype(np.float32)
    together = model.policy.actions_of(weights, seen)
    for row, observations, expected in zip(weights, seen, together, strict=True):
        model.policy.set_weights(row)
        np.testing.assert_allclose(model.policy.predict(observations, deterministic=True)[0], expected, atol=1e-6)


def test_own_links_are_those_of_the_site_and_of_no_site() -> None:
    env = fleets(1)
    scenario, links = env.scenario, fleet_links(env, own=True, fields=None)
    assert links.shape == (env.single_action_space.shape[0], env.single_observation_space.shape[0])
    layout, table = env.observation_model.layout, env.action_model.table  # type: ignore[union-attr]
    power = next(segment for segment in table if segment.name == "power_share")
    limits = next(segment for segment in table if segment.name == "backlog_limit")
    east = list(scenario.sites).index("east")
    pools = [pool.site == "east" for pool in scenario.pools.values()]
    assert links[power.first + east, layout.slice("pool_backlog_s")].tolist() == pools
    assert links[power.first + east, layout.slice("class_backlog_s")].all()
    assert links[limits.columns].all()
    assert fleet_links(env, own=False, fields=["cap_w"]).sum() == len(links) * len(scenario.sites)
    with pytest.raises(SpecError, match=r"algo\.fields: unknown field 'cap'; did you mean 'cap_w'"):
        fleet_links(env, own=False, fields=["cap"])


def test_without_links_the_action_is_constant() -> None:
    model = make_model(job_on(fleets(4), parse_algorithm({"name": "cma_es", "episodes": 1, "links": "none"})))
    model.learn(64)
    low, high = model.observation_space.low, model.observation_space.high  # type: ignore[attr-defined]
    actions = model.predict(np.stack([low, high]), deterministic=True)[0]
    np.testing.assert_array_equal(actions[0], actions[1])
    assert np.abs(actions).max() > 0.0


def test_links_need_a_fleet_and_no_hidden_layers() -> None:
    for changes, words in (({}, "need a fleet"), ({"policy_kwargs": {"net_arch": [4]}}, "for linear policies")):
        algorithm = parse_algorithm({"name": "ars", "episodes": 1, "links": "own", **changes})
        with pytest.raises(SpecError, match=words):
            make_model(job_on(same_step(Target, 2), algorithm))


def test_environments_that_are_no_candidates_are_refused() -> None:
    with pytest.raises(SpecError, match=r"n_envs: must be algo\.episodes \(8\) times an even .* give n_envs=48"):
        make_model(job_on(same_step(Target, 50), parse_algorithm({"name": "ars"})))
