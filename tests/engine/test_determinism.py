"""One seed, one result, to the bit."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tokenfleet.envs.engine import make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.episode import sample_episode
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.scenario import Scenario, load_scenario

TICKS = 60


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return load_scenario("tiny")


def simulate(scenario: Scenario, num_envs: int, threads: int, engine: str = "native", first: int = 0) -> list[str]:
    """A digest of everything that each fleet reports; fleet i has episode and controls of seed `first` + i."""
    arrays = FleetArrays.from_scenario(scenario)
    fleets = make_engine(engine, arrays, num_envs, threads)
    digests = [hashlib.sha256() for _ in range(num_envs)]
    for i in range(num_envs):
        fleets.reset(i, sample_episode(scenario, first + i))
    generators = [np.random.default_rng(first + i) for i in range(num_envs)]
    for _ in range(TICKS):
        fleets.step(_stack([_random_controls(arrays, rng) for rng in generators]))
        for i, digest in enumerate(digests):
            digest.update(fleets.view.rows[i].tobytes() + fleets.outcome.rows[i].tobytes())
    for i, digest in enumerate(digests):
        log = fleets.request_log(i)
        digest.update(log.status.tobytes() + log.first_token_s.tobytes() + log.finished_s.tobytes())
    return [digest.hexdigest() for digest in digests]


def _random_controls(arrays: FleetArrays, rng: np.random.Generator) -> Controls:
    classes, pools = arrays.num_classes, arrays.num_pools
    return Controls(
        route_share=rng.random((1, classes, pools)),
        clock_fraction=rng.uniform(0.3, 1.0, (1, pools)),
        awake_fraction=rng.choice([0.5, 1.0], (1, pools)),
        admit_rate_rps=rng.choice([2.0, np.inf], (1, classes)),
        battery_power_w=rng.uniform(-1e5, 1e5, (1, arrays.num_sites)),
        prefix_affinity=rng.uniform(0.0, 2.0, (1, classes)),
        token_price_factor=rng.uniform(0.5, 2.0, (1, classes)),
    )


def _stack(rows: list[Controls]) -> Controls:
    names = [field.name for field in dataclasses.fields(Controls) if getattr(rows[0], field.name) is not None]
    return Controls(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in names})


def test_threads_do_not_change_a_bit(scenario):
    assert simulate(scenario, 8, threads=1) == simulate(scenario, 8, threads=2)


def test_a_batch_of_64_lives_64_single_lives(scenario):
    batch = simulate(scenario, 64, threads=2)
    assert batch == [simulate(scenario, 1, threads=1, first=i)[0] for i in range(64)]
    assert len(set(batch)) == 64


def test_a_reset_leaves_nothing_behind(scenario):
    arrays = FleetArrays.from_scenario(scenario)
    fleets = make_engine("native", arrays, 1)
    rows = []
    for _ in range(2):
        fleets.reset(0, sample_episode(scenario, 7))
        for _ in range(TICKS):
            fleets.step(Controls.neutral(1, arrays.route_mask.astype(float)))
        rows.append(fleets.view.rows.copy())
    np.testing.assert_array_equal(rows[0], rows[1])


def test_two_processes_agree(scenario):
    code = (
        "from tests.engine.test_determinism import simulate; from tokenfleet.envs.scenario import load_scenario; "
        "print(*simulate(load_scenario('tiny'), 2, 1))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == simulate(scenario, 2, threads=1)


def test_splits_and_seeds_draw_different_episodes(scenario):
    def arrivals(seed: int, split: str) -> bytes:
        return sample_episode(scenario, seed, split).requests.arrival_s.tobytes()

    drawn = {arrivals(seed, split) for seed in range(3) for split in ("train", "validation", "test")}
    assert len(drawn) == 9
    assert arrivals(1, "test") == arrivals(1, "test")
