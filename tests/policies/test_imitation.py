"""Imitation: a network does what its teacher does, having seen what both would see."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray

from tests.policies.interruptions import PowerCut, dies_after, score_in, train
from tests.policies.toys import Target, job_on, same_step, small_algorithm, target_score
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.learned.algorithm_base import AlgorithmSpec
from tokenfleet.policies.learned.algorithms import parse_algorithm
from tokenfleet.policies.learned.checkpoint import load_policy
from tokenfleet.policies.learned.correction import Base, CorrectedEnv
from tokenfleet.policies.learned.training import make_model

HERE = __name__
OVERRIDES = {"horizon_ticks": 20, "sites.lab.grid.demand_response": []}


def imitation(teacher: Any, **changes: Any) -> AlgorithmSpec:
    return small_algorithm("dagger", teacher=teacher, **{"learning_rate": 0.02, "gradient_steps": 60, **changes})


def progress(folder: Path, column: str) -> list[float]:
    with (folder / "progress.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file)]


class Lopsided(Target):
    """Actions whose middle is not 0."""

    action_space = spaces.Box(np.float32([0.0, -4.0]), np.float32([10.0, 4.0]), dtype=np.float32)


class Constant:
    """Always the same, a quarter and nine tenths up the box."""

    def __init__(self, context: PolicyContext) -> None:
        box = context.action_space
        assert isinstance(box, spaces.Box)
        self.action = box.low + np.array([0.25, 0.9], np.float32) * (box.high - box.low)

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[NDArray[np.float32], None]:
        return np.tile(self.action, (len(observation), 1)), None


class Echo:
    """Says what it sees."""

    def __init__(self, context: PolicyContext) -> None: ...

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[NDArray[np.float32], None]:
        return observation, None


class Ticks:
    """Says how many steps of the episode are past, in tenths."""

    def __init__(self, context: PolicyContext) -> None: ...

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[np.float32], Any]:
        past = np.zeros(len(observation)) if state is None else np.where(episode_start, 0.0, state[0] + 1.0)
        return np.repeat(past[:, None] / 10.0, 2, axis=1).astype(np.float32), (past,)


class Broken:
    """A teacher that has no idea."""

    def __init__(self, context: PolicyContext) -> None: ...

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[NDArray[np.float32], None]:
        return np.full((len(observation), 2), np.nan, np.float32), None


class Recorder(Target):
    """Keeps what was done in every environment."""

    done: list[NDArray[np.float32]] = []  # noqa: RUF012

    def step(self, action: NDArray[np.float32]) -> Any:
        self.done.append(np.array(action))
        return super().step(action)


@pytest.mark.parametrize("delta", [None, 0.1])
def test_a_constant_teacher_is_matched_in_the_units_of_the_box(delta: float | None, tmp_path: Path) -> None:
    algorithm = imitation(f"{HERE}:Constant", learning_rate={"initial": 0.05, "final": 0.0}, huber_delta=delta)
    train(job_on(same_step(Lopsided, 2), algorithm, total=640), tmp_path)
    seen = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    actions, _ = load_policy(tmp_path / "checkpoints" / "last").predict(seen, deterministic=True)
    np.testing.assert_allclose(actions, np.tile([2.5, 3.2], (5, 1)), atol=0.1)


@pytest.mark.parametrize("beta", [1.0, {"initial": 1.0, "final": 0.0}])
def test_a_cloned_and_a_corrected_network_say_what_the_teacher_says(beta: Any, tmp_path: Path) -> None:
    train(job_on(same_step(Target, 4), imitation(f"{HERE}:Echo", beta=beta), 1280, target_score, 640), tmp_path)
    assert target_score(load_policy(tmp_path))["return"] > -0.1  # 0 is perfect, and the middle of the box is at -1
    assert progress(tmp_path, "train/loss")[-1] < 0.01


def test_the_share_of_the_teachers_steps_follows_beta(tmp_path: Path) -> None:
    Recorder.done.clear()
    algorithm = imitation(f"{HERE}:Constant", beta={"initial": 1.0, "final": 0.2}, gradient_steps=1, n_steps=100)
    train(job_on(same_step(Recorder, 4), algorithm, total=2000, every=400), tmp_path)
    told = np.isclose(Recorder.done, [-0.5, 0.8], atol=1e-6).all(axis=1).reshape(5, 400).mean(axis=1)
    beta = np.array([1.0, 0.84, 0.68, 0.52, 0.36])
    assert progress(tmp_path, "train/beta") == pytest.approx(beta)
    assert progress(tmp_path, "train/teacher_share") == pytest.approx(told)
    np.testing.assert_allclose(told, beta, atol=0.08)  # over three deviations of 400 draws


def test_labels_are_those_of_the_teacher_along_what_was_visited() -> None:
    """The network acts alone here, and episodes of ten steps end between the labels."""
    algorithm = imitation(f"{HERE}:Ticks", n_steps=25, beta=1e-9)
    model: Any = make_model(job_on(same_step(Target, 3), algorithm))
    model.learn(75)
    ticks = np.arange(25) % 10 / 10.0
    np.testing.assert_allclose(model.replay_buffer.labels[:25], np.broadcast_to(ticks[:, None, None], (25, 3, 2)))


def test_the_oldest_labels_go_first() -> None:
    model: Any = make_model(job_on(same_step(Target, 2), imitation(f"{HERE}:Ticks", n_steps=8, buffer_size=24)))
    model.learn(32)
    # 16 steps of each environment into 12 places: steps 12 to 15 stand where 0 to 3 stood.
    steps = np.array([12, 13, 14, 15, 4, 5, 6, 7, 8, 9, 10, 11])
    np.testing.assert_allclose(model.replay_buffer.labels[:, 0, 0], steps % 10 / 10.0)


@pytest.mark.parametrize(
    "teacher",
    [
        "operator",
        {"name": "rolling_horizon", "decide_every": 10},
        {"name": "rollout", "look_ahead": 10, "decide_every": 10, "candidates": 2, "futures": 2},
        {"name": "rollout_clairvoyant", "look_ahead": 10, "decide_every": 10, "candidates": 2},
    ],
)
def test_rules_and_planners_of_a_fleet_teach(teacher: Any) -> None:
    env = FleetVectorEnv("tiny", 2, overrides=OVERRIDES, autoreset_mode="SameStep")
    model: Any = make_model(job_on(env, imitation(teacher, n_steps=25)))
    model.learn(50)
    labels = model.replay_buffer.labels[:25]
    assert np.isfinite(labels).all()
    assert np.abs(labels).max() > 0.0


def test_a_trained_run_teaches_and_another_in_its_place_is_noticed(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    train(job_on(same_step(Target, 2), small_algorithm("a2c")), teacher)

    def job(validate: Any) -> Any:
        return job_on(same_step(Target, 2), imitation(str(teacher)), total=256, every=64, validate=validate)

    score = score_in(lambda: same_step(Target, 1))
    with pytest.raises(PowerCut):
        train(job(dies_after(2, score)), tmp_path / "run")
    train(job_on(same_step(Target, 2), small_algorithm("a2c"), total=800), teacher)
    with pytest.raises(SpecError, match=r"^resume: the weights of algo\.teacher have changed since the run began"):
        train(job(score), tmp_path / "run")


def test_a_checkpoint_opens_without_trust_in_its_teacher(tmp_path: Path) -> None:
    train(job_on(same_step(Target, 2), imitation(f"{HERE}:Echo")), tmp_path)
    assert load_policy(tmp_path / "checkpoints" / "last").meta.algorithm.teacher == f"{HERE}:Echo"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"teacher": 3}, r"^algo\.teacher: must be a name, 'module:Class', or a mapping .* \(got 3\)$"),
        ({"beta": 1.5}, r"^algo\.beta: must be at most 1, for it is a share of the steps"),
        ({"beta": {"initial": 0.5, "final": 1.1}}, r"^algo\.beta: must be at most 1"),
        ({"learning_rate": 0.0}, r"^algo\.learning_rate"),
        ({"huber_delta": 0.0}, r"^algo\.huber_delta"),
    ],
)
def test_hyper_parameters_that_mean_nothing_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_algorithm({"name": "dagger", **changes})


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("operatr", r"^algo\.teacher: unknown name 'operatr'.*did you mean 'operator'"),
        ("operator", r"^algo\.teacher\.operator: needs a tokenfleet fleet environment"),
        ("tuned/default/nobody", r"^algo\.teacher: unknown name 'tuned/default/nobody'"),
    ],
)
def test_a_teacher_that_cannot_act_here_is_refused(teacher: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make_model(job_on(same_step(Target, 2), imitation(teacher)))


def test_a_teacher_of_the_users_own_that_says_nonsense_is_told_by_its_name() -> None:
    model = make_model(job_on(same_step(Target, 2), imitation(f"{HERE}:Broken")))
    with pytest.raises(SpecError, match=rf"^algo\.teacher={HERE}:Broken: .*NaN"):
        model.learn(32)


def test_other_spaces_corrections_and_buffers_below_a_round_are_refused() -> None:
    class Choices(Target):
        action_space: Any = spaces.Discrete(2)

    class Numbered(Target):
        observation_space: Any = spaces.Discrete(3)

    for env, changes, words in (
        (same_step(Choices, 2), {}, r"^algo\.name: dagger cannot choose actions from Discrete\(2\); choose ppo"),
        (same_step(Numbered, 2), {}, r"^env: imitation keeps observations of a Box alone \(got Discrete\(3\)\)"),
        (
            CorrectedEnv(same_step(Target, 2), Base(1.0, f"{HERE}:Echo")),
            {},
            r"^policy\.base: imitation learns the teacher's whole actions .* by policy\.base=<run>$",
        ),
        (same_step(Target, 2), {"buffer_size": 31}, r"^algo\.buffer_size: must hold the 32 steps of a round"),
    ):
        with pytest.raises(SpecError, match=words):
            make_model(job_on(env, imitation(f"{HERE}:Echo", **changes)))
