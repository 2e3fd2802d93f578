"""A tuner moves the numbers of constructors, within the bounds that constructors declare."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

from tests.policies.views import context_of, two_sites
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import PositiveFloat, PositiveInt, SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies import PolicyContext, make_policy
from tokenfleet.policies.registry import POLICIES
from tokenfleet.policies.shipped import LOADED
from tokenfleet.policies.tunable import tunable

HERE = "tests.policies.test_tunable"


class Rule:
    """A policy with numbers of every kind."""

    def __init__(
        self,
        context: PolicyContext,
        gain: PositiveFloat = 0.5,
        margin: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        offset: float = -3.0,
        replicas: PositiveInt = 4,
        patience: PositiveInt | None = 3,
        name_of_something: str = "x",
        flag: bool = True,
    ) -> None:
        self.context = context

    def predict(self, *arguments: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return two_sites()


def test_the_start_is_the_policy_as_it_is(scenario: Scenario) -> None:
    on_copies = {name for name in POLICIES if "rollout" in name}  # they need a live environment
    loaded = {name for name, preset in POLICIES.items() if preset.group == LOADED}  # they need a folder
    env = FleetVectorEnv(scenario, 2)
    observations, _ = env.reset(seed=0)
    for name in sorted(POLICIES.keys() - {"random"} - on_copies - loaded):
        subject = tunable(name, context := PolicyContext.from_env(env))
        policies = make_policy(subject.choice(subject.start), context), make_policy(name, context)
        actions = [policy.predict(observations, episode_start=np.ones(2, np.bool_))[0] for policy in policies]
        np.testing.assert_allclose(*actions, atol=1e-5, err_msg=name)


def test_numbers_of_parts_are_moved_and_parts_are_kept(scenario: Scenario) -> None:
    subject = tunable(
        {"name": "feedback_capping", "clocking": {"name": "feedback", "gain": 0.25}}, context_of(scenario)
    )
    found = subject.choice(subject.start)
    assert (found["routing"]["name"], found["routing"]["spread_s"]) == ("least_work", 1.0)
    assert (found["clocking"]["name"], found["clocking"]["gain"], found["clocking"]["margin"]) == (
        "feedback",
        0.25,
        0.04,
    )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0.0, {"gain": 0.5, "margin": 0.2, "offset": -3.0, "replicas": 4}),
        (1.0, {"gain": 1.35914, "margin": 0.7, "offset": 0.0, "replicas": 11}),
        (-9.0, {"gain": 6.17049e-05, "margin": 0.0, "offset": -30.0, "replicas": 1, "patience": 1}),
        (9.0, {"gain": 4051.54, "margin": 0.999999, "offset": 24.0, "replicas": 32412}),
    ],
)
def test_a_step_is_as_long_as_the_bounds_of_a_number_say(
    scenario: Scenario, step: float, expected: dict[str, float]
) -> None:
    subject = tunable(f"{HERE}:Rule", context_of(scenario))
    found = subject.choice(np.full(5, step))
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_every_step_gives_a_policy(scenario: Scenario) -> None:
    rng = np.random.default_rng(0)
    for name in ("feedback_capping", "greedy_efficiency", "supervisor", f"{HERE}:Rule"):
        subject = tunable(name, context_of(scenario))
        for _ in range(5):
            make_policy(
                subject.choice(subject.start + rng.normal(scale=3.0, size=subject.start.shape)), context_of(scenario)
            )


def test_a_supervisor_is_tuned_in_the_box_of_set_points() -> None:
    default = load_scenario("default")
    choice = {"name": "supervisor", "backlog_limit_s": 3.0}
    subject = tunable(choice, context_of(default))
    assert np.abs(subject.start).max() <= 1.0
    first, second = (make_policy(found, context_of(default)) for found in (choice, subject.choice(subject.start)))
    for one, other in zip(vars(first.setpoints).values(), vars(second.setpoints).values(), strict=True):  # type: ignore[attr-defined]
        assert one is None or np.allclose(one, other, rtol=1e-5)


def test_a_policy_without_numbers_is_refused(scenario: Scenario) -> None:
    with pytest.raises(SpecError, match=r"policy: random declares no number that could be tuned"):
        tunable("random", context_of(scenario))


def test_numbers_of_parts_in_a_list_are_moved(scenario: Scenario) -> None:
    clocking = {"name": "lowest", "of": [{"name": "feedback", "gain": 0.25}, "full"]}
    subject = tunable({"name": "feedback_capping", "clocking": clocking}, context_of(scenario))
    alone = tunable({"name": "feedback_capping", "clocking": clocking["of"][0]}, context_of(scenario))
    assert len(subject.start) == len(alone.start)
    before, after = (subject.choice(subject.start + step)["clocking"]["of"] for step in (0.0, 1.0))
    assert (before[0]["name"], before[0]["gain"], before[1]) == ("feedback", 0.25, {"name": "full"})
    assert after[0]["gain"] != 0.25
