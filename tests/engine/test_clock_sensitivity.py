"""What clocks cost changes within an episode: on paper, at half the clock, with decode that is memory-bound by 0.8.

An iteration of 10 ms then lasts 0.8 + 0.2 / 0.5 = 1.2 times as long. A factor of 2 makes that 0.6 + 0.4 / 0.5 = 1.4.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.runs import ENGINES, Run, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine.arrays import FleetArrays, models
from tokenfleet.envs.layers.llm import TOKEN_KNOTS
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)

UNSTEADY = one_pool(unsteady=0, token_memory_share=1.0)
ONE_LONG = RequestTable.of([0.0], [10], [501])


def at_half_clock(arrays: FleetArrays, **changes: float) -> list[Controls]:
    """Half the clock throughout, with other entries changed."""
    entries = {"clock_fraction": 0.5, **changes}
    tick = replace(neutral(arrays), **{name: np.full((1, 1), value) for name, value in entries.items()})
    return [tick] * arrays.horizon_ticks


def under(engine: str, factor: float | np.ndarray, clock: float = 0.5, arrays: FleetArrays = UNSTEADY) -> Run:
    """One long answer at a clock, under a factor of all ticks or of `[H]` ticks."""
    episode = replace(
        plain_episode(arrays, ONE_LONG),
        decode_memory_fraction=np.array([0.8]),
        clock_sensitivity_factor=np.broadcast_to(factor, arrays.horizon_ticks)[:, None].copy(),
    )
    return run(engine, arrays, episode, at_half_clock(arrays, clock_fraction=clock))


def decode_s(result: Run) -> float:
    return float(result.log.finished_s[0] - result.log.first_token_s[0])


@pytest.mark.parametrize(
    ("factor", "stretch"), [(0.0, 1.0), (0.5, 1.1), (1.0, 1.2), (2.0, 1.4), (5.0, 2.0), (50.0, 2.0)]
)
def test_decode_is_as_sensitive_as_the_factor_says_and_never_more_than_wholly(engine, factor, stretch):
    assert decode_s(under(engine, factor)) == pytest.approx(500 * 0.01 * stretch, rel=1e-12)


def test_at_full_clock_no_factor_changes_anything(engine):
    steady, changed = under(engine, 1.0, clock=1.0), under(engine, np.arange(20.0), clock=1.0)
    np.testing.assert_array_equal(changed.log.finished_s, steady.log.finished_s)
    np.testing.assert_allclose(changed.outcomes["energy_j"], steady.outcomes["energy_j"], rtol=1e-12)


def test_a_new_factor_holds_from_the_first_boundary_at_or_after_its_tick(engine):
    """Iterations last 12 ms; the one that crosses 3 s keeps its length, and from there on they last 14 ms."""
    factor = np.where(np.arange(20) < 3, 1.0, 2.0)
    prompt_s = float(under(engine, 1.0).log.first_token_s[0])
    before = int(np.ceil((3.0 - prompt_s) / 0.012))
    finished_s = under(engine, factor).log.finished_s[0]
    assert finished_s == pytest.approx(prompt_s + 0.012 * before + 0.014 * (500 - before), rel=1e-12)


def test_a_pool_without_regimes_needs_no_column(engine):
    steady = one_pool(token_memory_share=1.0)
    episode = replace(plain_episode(steady, ONE_LONG), decode_memory_fraction=np.array([0.8]))
    plain = run(engine, steady, episode, at_half_clock(steady))
    np.testing.assert_array_equal(plain.log.finished_s, under(engine, 1.0).log.finished_s)


def test_a_variant_is_as_sensitive_as_its_pool_makes_it(engine):
    """The variant's own share is 0.5: 0.5 + 0.5 / 0.5 = 1.5 times as long, and with a factor of 1.6, 1.8 times."""
    own = {"token_s": 0.01 + 0.001 * np.array(TOKEN_KNOTS), "decode_s": -0.001, "token_memory_share": 1.0}
    arrays = one_pool(unsteady=0, variant=0, variants=models(1, **own))
    took = []
    for factor in (1.0, 1.6):
        episode = replace(
            plain_episode(arrays, ONE_LONG),
            variant_memory_fraction=np.array([0.5]),
            clock_sensitivity_factor=np.full((20, 1), factor),
        )
        took.append(decode_s(run(engine, arrays, episode, at_half_clock(arrays, variant_fraction=1.0))))
    assert took == pytest.approx([500 * 0.015, 500 * 0.018], rel=1e-12)
