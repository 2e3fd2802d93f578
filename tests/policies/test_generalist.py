"""One set of weights runs any fleet, whatever its entities, their number and their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tokenfleet.envs import FleetVectorEnv, SpecError
from tokenfleet.envs.interface.setpoint_action import SetpointAction
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.scenario.generator import drawn_data, load_ranges
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.generalist.entities import CLASS, POOL, SITE, Shown
from tokenfleet.policies.generalist.law import Place, Weights, entries_of
from tokenfleet.policies.generalist.neighbours import Neighbours
from tokenfleet.policies.generalist.weights import (
    MEANING,
    load_weights,
    numbers_of,
    save_weights,
    shapes,
    start,
    weights_of,
)
from tokenfleet.policies.tunable import tunable

HIDDEN = 2


def some_weights(seed: int = 0) -> Weights:
    rng, around = np.random.default_rng(seed), start(HIDDEN, seed)
    return weights_of(0.2 * rng.standard_normal((1, len(numbers_of(around)))), around)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.safetensors"
    save_weights(path, some_weights(), {})
    return path


def make_env(scenario: Any = "tiny", num_envs: int = 2, **kwargs: Any) -> FleetVectorEnv:
    return FleetVectorEnv(scenario, num_envs, **{"action": "setpoints", "observation": "supervisor", **kwargs})


def generalist(env: FleetVectorEnv, weights: Path | str) -> Any:
    return make_policy({"name": "generalist", "weights": str(weights)}, PolicyContext.from_env(env))


def fleet(order: int = 1) -> Scenario:
    """A drawn fleet of several sites, pools and classes, named in one order or the other."""
    data = drawn_data(load_ranges("generalist"), "train", 10)
    turned = {key: dict(list(data[key].items())[::order]) for key in ("sites", "pools", "classes")}
    return load_scenario({**data, **turned})


def test_weights_of_zero_act_as_supervisor_does(tmp_path: Path) -> None:
    path = tmp_path / "zero.safetensors"
    save_weights(path, start(HIDDEN, 0), {})
    env = make_env()
    observation, _ = env.reset(seed=0)
    held = make_policy("supervisor", PolicyContext.from_env(env)).predict(observation)[0]
    np.testing.assert_array_equal(generalist(env, path).predict(observation)[0], held)


@pytest.mark.parametrize(
    "scenario", ["agent-swarm", "edge-mesh", "split-serving", "texas-august", "oversubscribed-row"]
)
def test_the_same_weights_act_in_every_fleet(scenario: str, file: Path) -> None:
    env = make_env(scenario, 1)
    observation, _ = env.reset(seed=0)
    action, _ = generalist(env, file).predict(observation)
    assert action.dtype == np.float32
    assert env.action_space.contains(action)


def test_the_order_of_entities_does_not_matter() -> None:
    """An entry follows its entities by what they show, never by their place."""
    rng, there, turned = np.random.default_rng(1), fleet(), fleet(-1)
    lengths = (len(there.sites), len(there.pools), len(there.classes))
    assert min(lengths) > 1
    shown = Shown(*(rng.normal(size=(3, n, len(f))) for n, f in zip(lengths, (SITE, POOL, CLASS), strict=True)))
    entries = []
    for scenario, seen in ((there, shown), (turned, Shown(*(rows[:, ::-1] for rows in shown)))):
        table = tuple(SetpointAction(scenario).table)
        base = np.zeros(table[-1].columns.stop)
        action = entries_of(some_weights(), Place.of_table(base, Neighbours.of_entries(scenario, table), table), seen)
        names = [f"{segment.name} {label}" for segment in table for label in segment.labels]
        entries.append(dict(zip(names, action.T, strict=True)))
    first, second = entries
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], atol=1e-6, err_msg=name)


def test_an_entry_follows_its_own_entity() -> None:
    """A weight on a site's cap moves the entries of that site alone."""
    scenario = fleet()
    table = tuple(SetpointAction(scenario).table)
    around = start(0, 0)
    around.own[0, 0, SITE.index("cap")] = 0.5
    place = Place.of_table(np.zeros(table[-1].columns.stop), Neighbours.of_entries(scenario, table), table)
    sites = np.zeros((1, len(scenario.sites), len(SITE)))
    sites[0, 1, SITE.index("cap")] = -1.0
    still = (np.zeros((1, len(scenario.pools), len(POOL))), np.zeros((1, len(scenario.classes), len(CLASS))))
    action = entries_of(around, place, Shown(sites, *still))
    assert np.flatnonzero(action[0]).tolist() == [table[0].first + 1]
    assert action[0, table[0].first + 1] == -0.5


def test_a_fleet_is_not_disturbed_by_those_beside_it(file: Path) -> None:
    def lived(seeds: list[int]) -> np.ndarray:
        env = make_env(num_envs=len(seeds), overrides={"horizon_ticks": 40})
        policy = generalist(env, file)
        observation, _ = env.reset(seed=seeds)
        state, actions = None, []
        for _ in range(5):
            action, state = policy.predict(observation, state, np.full(len(seeds), not actions))
            actions.append(action)
            observation, *_ = env.step(action)
        return np.array(actions)

    np.testing.assert_array_equal(lived([1, 2, 3])[:, 2:], lived([3]))


def test_a_generalist_acts_under_direct_actions_too(file: Path) -> None:
    env = FleetVectorEnv("tiny", 2)
    observation, _ = env.reset(seed=0)
    action, _ = generalist(env, file).predict(observation)
    assert env.action_space.contains(action)


def test_the_shipped_weights_are_the_default() -> None:
    env = make_env()
    observation, _ = env.reset(seed=0)
    by_name = generalist(env, "generalist").predict(observation)[0]
    np.testing.assert_array_equal(
        make_policy("generalist", PolicyContext.from_env(env)).predict(observation)[0], by_name
    )


def test_weights_come_back_from_their_file_in_float32(file: Path) -> None:
    for before, after in zip(some_weights(), load_weights(str(file), "weights"), strict=True):
        np.testing.assert_array_equal(before.astype(np.float32), after)


def test_numbers_of_a_search_are_weights() -> None:
    around = start(HIDDEN, 3)
    again = weights_of(numbers_of(around)[None], around)
    assert all(np.allclose(*both) for both in zip(again, around, strict=True))
    biased = weights_of(np.ones((2, around.bias.shape[1])), around)
    assert (biased.bias == 1.0).all()
    assert all((getattr(biased, name) == getattr(around, name)).all() for name in ("own", "encode_pool"))


def of_shape(**changed: Any) -> dict[str, np.ndarray]:
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes(HIDDEN).items()}
    return {**arrays, **changed}


@pytest.mark.parametrize(
    ("tensors", "meaning", "words"),
    [
        (of_shape(), "{}", r"holds weights for other features or set-points; train them anew"),
        (of_shape(bias=np.zeros(3, np.float32)), MEANING, r"arrays of other names or shapes"),
        (of_shape(own=np.full(shapes(0)["own"], np.nan, np.float32)), MEANING, r"numbers that are not finite"),
        ({}, MEANING, r"arrays of other names or shapes"),
    ],
)
def test_weights_for_something_else_are_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], meaning: str, words: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path, {"meaning": meaning})
    with pytest.raises(SpecError, match=words):
        load_weights(str(path), "weights")


def test_a_wrong_choice_of_weights_is_answered(tmp_path: Path) -> None:
    env = make_env()
    with pytest.raises(SpecError, match=r"policy\.generalist\.weights: unknown weights 'generalst'; did you mean"):
        generalist(env, "generalst")
    with pytest.raises(SpecError, match="there is no file"):
        generalist(env, tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(SpecError, match="is not a safetensors file"):
        generalist(env, tmp_path / "text.safetensors")


def test_a_tuner_moves_what_the_weights_move_from(file: Path) -> None:
    """So that `tune.py` goes on from the generalist on one fleet."""
    env = make_env()
    context = PolicyContext.from_env(env)
    subject = tunable({"name": "generalist", "weights": str(file)}, context)
    observation, _ = env.reset(seed=0)
    lower = subject.start.copy()
    (power,) = (segment for segment in env.action_model.table if segment.name == "power_share")
    lower[power.columns] -= 0.2
    before, after = (
        make_policy(subject.choice(numbers), context).predict(observation)[0] for numbers in (subject.start, lower)
    )
    np.testing.assert_allclose(after[:, power.columns], before[:, power.columns] - 0.2, atol=1e-4)
