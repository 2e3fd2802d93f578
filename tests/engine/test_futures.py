"""A fleet with a changed future equals a fleet that has lived the other episode from its start, in both engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.engine.agreement import assert_same
from tests.engine.instances import Instance, Situation, random_instances
from tests.engine.runs import ENGINES, Run, run
from tests.engine.test_agreement import SITUATIONS
from tests.engine.test_forks import Recorder, assert_equal
from tokenfleet.envs.engine import Engine, make_engine, present_of
from tokenfleet.envs.episode.future import Future
from tokenfleet.envs.episode.joined_requests import join_requests
from tokenfleet.envs.episode.warm_caches import ContextTable
from tokenfleet.envs.spec import SpecError


def other_future(fleets: Engine, instance: Instance, other: Instance, tick: int, seed: int) -> Future:
    """The requests of an instance up to now, and behind them those of another one, with its caps and failures."""
    episode, now_s = instance.episode, tick * instance.arrays.tick_s
    fresh = replace(other.episode.requests, arrival_s=other.episode.requests.arrival_s + now_s)
    span_s = now_s, instance.arrays.tick_s * instance.arrays.horizon_ticks + 1e3
    requests, row = join_requests(episode, present_of(fleets, 0, tick), fresh, span_s, np.random.default_rng(seed))
    series = {}
    for name in ("cap_w", "outdoor_c", "pue", "solar_w", "exogenous"):
        series[name] = getattr(other.episode, name).copy()
        series[name][: tick + 1] = getattr(episode, name)[: tick + 1]
    series["clock_sensitivity_factor"] = other.episode.clock_sensitivity_factor.copy()
    series["clock_sensitivity_factor"][:tick] = episode.clock_sensitivity_factor[:tick]  # nobody has seen entry `tick`
    contexts = ContextTable(row[episode.contexts.row].astype(np.int64), episode.contexts.replica)
    return Future(replace(episode, requests=requests, contexts=contexts, **series), row)


def with_other_future(engine: str, instances: list[Instance], tick: int, seed: int) -> tuple[Run, Future]:
    """A life whose future changes at a tick; as a run of the other episode."""
    instance, other = instances
    fleets = make_engine(engine, instance.arrays, 1)
    fleets.reset(0, instance.episode)
    before = run(engine, instance.arrays, instance.episode, instance.controls)
    for controls in instance.controls[:tick]:
        fleets.step(controls)
    future = other_future(fleets, instance, other, tick, seed)
    fleets.change_future(0, future)
    recorder = Recorder(fleets)
    for controls in instance.controls[tick:]:
        recorder.step(controls)
    return recorder.run(0, before, tick), future


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=4, deadline=None)
@example(seed=4690135, share=0.25)  # of conversations with calls that nobody has made, between others
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.1, 0.9))
def test_a_changed_future_is_that_of_the_other_episode(situation: str, seed: int, share: float) -> None:
    instances = random_instances(seed, 2, Situation(**SITUATIONS[situation]))  # type: ignore[arg-type]
    tick = round(share * instances[0].arrays.horizon_ticks)
    changed = {engine: with_other_future(engine, instances, tick, seed) for engine in ENGINES}
    assert_same(changed["reference"][0], changed["native"][0])
    mine, future = changed["native"]
    whole = run("native", instances[0].arrays, future.episode, instances[0].controls)
    past = slice(None, tick)
    thinking = mine.views.layout.slice("thinking_calls")
    mine.views.rows[past, thinking] = whole.views.rows[past, thinking]  # of calls that nobody has made
    assert_equal(mine, whole)


def test_a_future_of_another_episode_is_refused() -> None:
    instances = random_instances(0, 2, Situation(load=2.0))
    fleets = make_engine("native", instances[0].arrays, 1)
    fleets.reset(0, instances[0].episode)
    future = Future(instances[1].episode, np.zeros(3, np.int32))
    with pytest.raises(SpecError, match=r"future: must be of the fleet's episode, of \d+ requests \(got 3\)"):
        fleets.change_future(0, future)
