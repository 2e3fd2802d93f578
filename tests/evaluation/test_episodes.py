"""Every policy meets the same episodes, and what it makes of one does not depend on the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import yaml
from gymnasium.vector import AutoresetMode

from tests.evaluation.known_answers import TINY, Constant, Dice, StepCounter, countdowns
from tokenfleet.envs.catalog import find
from tokenfleet.envs.scenario import load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import NETWORK_ROWS, Candidate
from tokenfleet.evaluation.episodes import episode_seeds, evaluate_policy
from tokenfleet.evaluation.identity import EnvironmentIdentity, scenario_hash
from tokenfleet.evaluation.results import EpisodeRow
from tokenfleet.policies.base import PolicyContext
from tokenfleet.policies.registry import make_policy


def numbers(rows: list[EpisodeRow]) -> list[tuple[int, dict[str, float]]]:
    """Rows as they compare to the bit, NaN equal to itself."""
    return [(row.seed, {name: -1e9 if math.isnan(v) else v for name, v in row.metrics.items()}) for row in rows]


def baseline(name: str) -> Any:
    return make_policy(name, PolicyContext.from_env(TINY(1)))


def test_a_study_of_more_episodes_begins_with_those_of_a_smaller_one() -> None:
    assert episode_seeds(7, 100)[:10] == episode_seeds(7, 10)
    assert len(set(episode_seeds(7, 100))) == 100
    assert set(episode_seeds(7, 100)).isdisjoint(episode_seeds(8, 100))


@pytest.mark.parametrize("episodes", [0, -3])
def test_a_study_without_episodes_is_refused(episodes: int) -> None:
    with pytest.raises(SpecError, match=rf"episodes: must be at least 1 \(got {episodes}\)"):
        evaluate_policy(countdowns, Constant(1), episodes, 0)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_an_episode_is_counted_once_and_to_its_end(mode: AutoresetMode) -> None:
    rows = evaluate_policy(lambda count: countdowns(count, mode), Constant(2), 25, 0, batch_size=7)
    lengths = [seed % 10 + 1 for seed in episode_seeds(0, 25)]
    assert [row.metrics["length_steps"] for row in rows] == lengths
    assert [row.metrics["return"] for row in rows] == [2.0 * length for length in lengths]
    assert [row.metrics["paid"] for row in rows] == [2.0 * length for length in lengths]
    assert [row.episode for row in rows] == list(range(25))


@pytest.mark.parametrize("batch_size", [1, 3, 25, 64])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_policy_with_memory_starts_every_episode_afresh(mode: AutoresetMode, batch_size: int) -> None:
    rows = evaluate_policy(lambda count: countdowns(count, mode), StepCounter(), 25, 0, batch_size=batch_size)
    lengths = [seed % 10 + 1 for seed in episode_seeds(0, 25)]
    assert [row.metrics["return"] for row in rows] == [sum(min(step, 4) for step in range(n)) for n in lengths]


@pytest.mark.parametrize("name", ["random", "least_work", "careful_operator", "feedback_capping", "greedy_efficiency"])
def test_a_row_of_a_fleet_does_not_depend_on_its_neighbours(name: str) -> None:
    together, apart = (evaluate_policy(TINY, baseline(name), 7, 3, batch_size=size) for size in (64, 3))
    assert numbers(together) == numbers(apart)


def test_a_policy_that_draws_can_follow_the_episodes() -> None:
    shape = TINY(1).single_action_space.shape
    assert shape is not None
    together, apart = (evaluate_policy(TINY, Dice(shape), 5, 3, batch_size=size) for size in (64, 2))
    assert numbers(together) == numbers(apart)


def test_the_engines_agree_on_a_study() -> None:
    def rows(engine: str) -> list[EpisodeRow]:
        return evaluate_policy(lambda count: TINY(count, engine=engine), baseline("least_work"), 2, 0)

    for fast, readable in zip(rows("native"), rows("reference"), strict=True):
        for name, value in readable.metrics.items():
            assert fast.metrics[name] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name


def test_a_network_always_sees_the_same_number_of_rows() -> None:
    policy = StepCounter()
    rows = evaluate_policy(countdowns, Candidate(policy, "net", learned=True), 25, 0, batch_size=10)
    assert policy.batch_sizes == {NETWORK_ROWS}
    assert numbers(rows) == numbers(evaluate_policy(countdowns, StepCounter(), 25, 0))


def test_policies_meet_the_same_episodes() -> None:
    first, second = (evaluate_policy(TINY, baseline(name), 4, 11) for name in ("least_work", "max_clock"))
    assert [row.seed for row in first] == [row.seed for row in second]
    ended = [[row.metrics[name] for name in ("completed", "refused", "expired")] for row in first + second]
    assert all(sum(counts) > 0 for counts in ended)
    assert first[0].metrics["net_value_usd"] != second[0].metrics["net_value_usd"]
    assert first[0].metrics["net_value_usd"] != first[1].metrics["net_value_usd"]


def test_a_row_says_who_where_and_which_episode() -> None:
    candidate = Candidate(baseline("least_work"), "ppo-seed4", "ppo", 4, learned=True)
    row = evaluate_policy(TINY, candidate, 1, 5)[0]
    assert (row.policy, row.algorithm, row.training_seed, row.learned) == ("ppo-seed4", "ppo", 4, True)
    assert (row.environment, row.scenario, row.split, row.episode) == ("tokenfleet/Fleet-v0", "tiny", "test", 0)
    assert row.seed == episode_seeds(5, 1)[0]
    assert row.metrics["length_steps"] == 20.0


def test_a_fleet_reports_every_metric_of_its_contract() -> None:
    row = evaluate_policy(TINY, baseline("least_work"), 1, 0)[0]
    promised = {
        *("return", "length_steps", "net_value_usd", "goodput_tokens_per_s", "slo_attainment", "tokens_per_joule"),
        *("usd_per_million_tokens", "g_per_million_tokens", "above_cap_s", "peak_over_cap_w", "brakes", "trips"),
        *("refused", "expired", "completed", "slo_attainment/chat-8b", "tpot_p95_s/chat-70b", "e2e_p99_s/batch-8b"),
    }
    assert promised <= set(row.metrics)


def test_environments_that_differ_have_different_hashes() -> None:
    def identity(**changes: Any) -> EnvironmentIdentity:
        overrides = {"horizon_ticks": 20, **changes.pop("overrides", {})}
        return EnvironmentIdentity.of(FleetVectorEnv("tiny", 1, overrides=overrides, **changes))

    assert identity() == identity(engine="reference") == identity(reward_weights={"energy_usd": 2.0})
    assert identity() != identity(overrides={"horizon_ticks": 21})
    assert identity().config_hash == identity(max_episode_steps=20).config_hash == identity(split="test").config_hash
    assert identity() != identity(max_episode_steps=19) != identity(max_episode_steps=18)
    assert identity() != identity(split="test")


def test_a_hash_covers_the_files_of_ones_own(tmp_path: Path) -> None:
    """A model of one's own, named by a scenario that does not say how many layers the model has."""
    model = tmp_path / "model" / "mine.yaml"
    model.parent.mkdir()
    shipped = find("model", "llama-3.1-8b").read_text().replace("name: llama-3.1-8b", "name: mine")
    described = yaml.safe_load(find("scenario", "tiny").read_text().replace("model: llama-3.1-8b", "model: mine"))
    hashes = []
    for text in (shipped, shipped.replace("layers: 32", "layers: 64"), shipped):
        model.write_text(text)
        hashes.append(scenario_hash(load_scenario(described | {"name": "mine"}, search_paths=[tmp_path])))
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize("name", ["tiny", "shared-campus"])
def test_rewording_a_description_changes_no_hash(name: str) -> None:
    plain = load_scenario(name)
    reworded = plain.model_copy(update={"description": "The same fleet in other words."})
    renamed = plain.model_copy(update={"name": "another-name"})
    assert scenario_hash(plain) == scenario_hash(reworded) != scenario_hash(renamed)


def test_the_hash_of_a_gymnasium_environment_does_not_depend_on_the_batch() -> None:
    def identity(count: int, **kwargs: Any) -> EnvironmentIdentity:
        return EnvironmentIdentity.of(gymnasium.make_vec("CartPole-v1", count, vectorization_mode="sync", **kwargs))

    assert identity(1) == identity(5)
    assert identity(1) != identity(1, sutton_barto_reward=True)


def refusing(**metadata: Any) -> Callable[[int], Any]:
    def make(count: int) -> Any:
        env = countdowns(count)
        env.metadata = {**env.metadata, **metadata}
        return env

    return make


def test_environments_that_cannot_be_evaluated_are_refused() -> None:
    with pytest.raises(SpecError, match="NextStep"):
        evaluate_policy(refusing(autoreset_mode=AutoresetMode.DISABLED), Constant(1), 2, 0)
    with pytest.raises(SpecError, match="NextStep"):
        evaluate_policy(lambda count: TINY(count, autoreset_mode="SameStep"), baseline("least_work"), 2, 0)
    with pytest.raises(SpecError, match="one seed per environment"):
        evaluate_policy(lambda count: gymnasium.make_vec("CartPole-v1", count), Constant(1), 2, 0)


def test_progress_rises_to_the_number_of_episodes() -> None:
    seen: list[float] = []
    evaluate_policy(TINY, baseline("least_work"), 3, 0, batch_size=2, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] == pytest.approx(2 / 20)
    assert seen[-1] == 3.0
