"""A forked fleet lives on as its original does, to the last bit; neither hears of the other."""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.yardstick import resident_mib
from tests.engine.agreement import assert_same
from tests.engine.instances import Instance, Situation, random_instance, random_instances
from tests.engine.runs import ENGINES, Run, run
from tests.engine.small_fleets import one_pool
from tests.engine.test_agreement import SITUATIONS
from tokenfleet.envs.engine import Engine, make_engine
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.rows import Record
from tokenfleet.envs.spec import SpecError

SOURCE, COPY, RESTORED = range(3)


class Recorder:
    """Fleets of one engine, and everything that they report from now on."""

    def __init__(self, fleets: Engine) -> None:
        self.fleets = fleets
        self.outcomes: list[np.ndarray] = []
        self.views = [fleets.view.rows.copy()]

    def step(self, *controls: Controls) -> None:
        self.fleets.step(Controls.stack(controls))
        self.outcomes.append(self.fleets.outcome.rows.copy())
        self.views.append(self.fleets.view.rows.copy())

    def run(self, index: int, before: Run, tick: int) -> Run:
        """Fleet `index`, which lived the first ticks of another run."""
        outcomes = [*before.outcomes.rows[:tick], *(rows[index] for rows in self.outcomes)]
        views = [*before.views.rows[: tick + 1], *(rows[index] for rows in self.views[1:])]
        arrays = self.fleets.arrays
        return Run(
            Record(arrays.outcome, np.array(outcomes)),
            Record(arrays.view, np.array(views)),
            self.fleets.request_log(index),
        )


def assert_equal(left: Run, right: Run) -> None:
    np.testing.assert_array_equal(left.outcomes.rows, right.outcomes.rows)
    np.testing.assert_array_equal(left.views.rows, right.views.rows)
    for name, values in vars(left.log).items():
        np.testing.assert_array_equal(values, getattr(right.log, name), err_msg=name)


def forked(engine: str, instances: list[Instance], tick: int, threads: int = 1) -> Recorder:
    """Three fleets, `tick` ticks on; the second has just been forked off the first, and the third restored from it."""
    fleets = make_engine(engine, instances[0].arrays, 3, threads)
    for index, instance in enumerate(instances):
        fleets.reset(index, instance.episode)
    for now in range(tick):
        fleets.step(Controls.stack([instance.controls[now] for instance in instances]))
    snapshot = fleets.snapshot(SOURCE)
    fleets.fork([SOURCE], [COPY])
    fleets.restore(RESTORED, snapshot)
    return Recorder(fleets)


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.0, 1.0), threads=st.integers(1, 3))
def test_forks_live_the_same_life_and_engines_agree_on_another(situation, seed, share, threads):
    """Copies share the life of their source under its controls, and both engines agree on one under other controls."""
    instances = random_instances(seed, 3, Situation(**SITUATIONS[situation]))  # type: ignore[arg-type]
    instance, other = instances[0], instances[1]
    ticks = instance.arrays.horizon_ticks
    tick = round(share * ticks)
    strayed = {}
    for engine in ENGINES:
        whole = run(engine, instance.arrays, instance.episode, instance.controls)
        recorder = forked(engine, instances, tick, threads)
        for now in range(tick, ticks):
            recorder.step(instance.controls[now], other.controls[now], instance.controls[now])
        assert_equal(recorder.run(SOURCE, whole, tick), whole)
        assert_equal(recorder.run(RESTORED, whole, tick), whole)
        strayed[engine] = recorder.run(COPY, whole, tick)
    assert_same(strayed["reference"], strayed["native"])


@pytest.mark.parametrize("situation", SITUATIONS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_engines_agree_on_any_sequence_of_forks(situation: str, seed: int) -> None:
    """Fleets that are forked into each other again and again: what they have in common need not be copied."""
    instances = random_instances(seed, 4, Situation(**SITUATIONS[situation]))  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    arrays = instances[0].arrays
    engines = [make_engine(engine, arrays, 4) for engine in ENGINES]
    for index in range(4):
        for fleets in engines:
            fleets.reset(index, instances[index // 2].episode)
    for tick in range(arrays.horizon_ticks):
        sources = np.where(rng.random(4) < 0.5, rng.integers(0, 4, 4), np.arange(4)).tolist()
        if rng.random() < 0.7:
            for fleets in engines:
                fleets.fork(sources, range(4))
        for fleets in engines:
            fleets.step(Controls.stack([instance.controls[tick] for instance in instances]))
        reference, native = engines
        np.testing.assert_allclose(native.view.rows, reference.view.rows, rtol=1e-5, atol=1e-6)
    for index in range(4):
        logs = [fleets.request_log(index) for fleets in engines]
        for name in ("status", "replica"):
            np.testing.assert_array_equal(getattr(logs[0], name), getattr(logs[1], name))
        for name in ("asked_s", "first_token_s", "finished_s"):
            np.testing.assert_allclose(getattr(logs[0], name), getattr(logs[1], name), rtol=0, atol=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
@given(sources=st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(max_examples=10, deadline=None)
def test_fleets_may_change_places(engine, sources):
    """Every source counts as it was before the fork, whatever becomes of it."""
    instances = random_instances(3, 4, Situation(load=4.0, closed_loop=True))
    fleets = make_engine(engine, instances[0].arrays, 4)
    for index, instance in enumerate(instances):
        fleets.reset(index, instance.episode)
    for now in range(3):
        fleets.step(Controls.stack([instance.controls[now] for instance in instances]))
    before = fleets.view.rows.copy(), [fleets.request_log(index).asked_s.copy() for index in range(4)]
    fleets.fork(sources, range(4))
    np.testing.assert_array_equal(fleets.view.rows, before[0][sources])
    for index, source in enumerate(sources):
        np.testing.assert_array_equal(fleets.request_log(index).asked_s, before[1][source])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_outlives_its_engine(engine):
    instance = random_instance(7, **SITUATIONS["closed loop under stress"])
    whole = run(engine, instance.arrays, instance.episode, instance.controls)
    first = make_engine(engine, instance.arrays, 1)
    first.reset(0, instance.episode)
    for controls in instance.controls[:4]:
        first.step(controls)
    snapshot = first.snapshot(0)
    del first
    gc.collect()
    again = random_instance(7, **SITUATIONS["closed loop under stress"])  # the same fleet, flattened anew
    second = make_engine(engine, again.arrays, 1)
    second.restore(0, snapshot)
    recorder = Recorder(second)
    for controls in instance.controls[4:]:
        recorder.step(controls)
    assert_equal(recorder.run(0, whole, 4), whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_forks_that_cannot_be_are_refused(engine):
    instance = random_instance(0, load=1.0)
    fleets = make_engine(engine, instance.arrays, 3)
    fleets.reset(0, instance.episode)
    with pytest.raises(IndexError, match=r"^targets: must be from 0 to 2, as there are 3 fleets \(got 3\)$"):
        fleets.fork([0], [3])
    with pytest.raises(IndexError, match=r"^sources: must be from 0 to 2, as there are 3 fleets \(got -1\)$"):
        fleets.fork([-1], [0])
    with pytest.raises(SpecError, match=r"must be whole numbers \(got \[0\.5\] and \[1\]\)"):
        fleets.fork([0.5], [1])
    with pytest.raises(RuntimeError, match="fleet 1 was never reset"):
        fleets.fork([1], [2])
    with pytest.raises(SpecError, match=r"needs as many targets as sources \(got 1 and 2\)"):
        fleets.fork([0, 0], [1])
    with pytest.raises(SpecError, match=r"a fleet can become one other \(fleet 2 is a target more than once\)"):
        fleets.fork([0, 0], [2, 2])
    stranger = make_engine(engine, one_pool(), 1)
    with pytest.raises(SpecError, match="snapshot: is of another fleet"):
        stranger.restore(0, fleets.snapshot(0))
    kind = {"native": "reference", "reference": "native"}[engine]
    with pytest.raises(SpecError, match="snapshot: must be one of this engine"):
        make_engine(kind, instance.arrays, 1).restore(0, fleets.snapshot(0))


def memory_of_snapshots() -> tuple[float, float]:
    """MiB by which 20 snapshots that are held, then 100 that are not, make this process grow."""
    instance = random_instance(1, load=50.0, long_talks=True, closed_loop=True)
    fleets = make_engine("native", instance.arrays, 2)
    fleets.reset(0, instance.episode)
    before_mib = resident_mib()
    held = [fleets.snapshot(0) for _ in range(20)]
    held_mib = resident_mib() - before_mib
    del held
    for _ in range(100):
        fleets.fork([0], [1])
        fleets.restore(0, fleets.snapshot(0))
    return held_mib, resident_mib() - before_mib


def test_snapshots_that_nobody_holds_are_freed():
    # A new process: in this one, memory that earlier tests gave back would serve the snapshots.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        held_mib, freed_mib = fresh.submit(memory_of_snapshots).result()
    assert held_mib > 1.0
    assert freed_mib < 1.5 * held_mib
