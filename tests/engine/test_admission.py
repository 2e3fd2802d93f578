"""Admission, deferral and routing, on fleets worked out by hand, on both engines."""

from dataclasses import replace

import numpy as np
import pytest

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, neutral, run
from tests.engine.small_fleets import one_pool, plain_episode, two_pools
from tokenfleet.envs.engine import RequestStatus, make_engine
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.traces import RequestTable

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def admitting(arrays: FleetArrays, rate_rps: float) -> list[Controls]:
    return [replace(neutral(arrays), admit_rate_rps=np.array([[rate_rps]]))] * arrays.horizon_ticks


def test_a_rate_limit_refuses_the_excess(engine):
    """10 arrivals a second for 20 s at a limit of 2 a second: the bucket of two refills twice a second."""
    arrays = one_pool()
    arrivals = RequestTable.of(np.arange(200) * 0.1 + 0.05, [1] * 200, [1] * 200)
    result = run(engine, arrays, plain_episode(arrays, arrivals), admitting(arrays, 2.0))
    assert 200 - result.total("refused") == pytest.approx(40, abs=2)


def test_a_rate_of_zero_refuses_everything_after_the_first_credit(engine):
    arrays = one_pool()
    arrivals = RequestTable.of([0.5, 1.5, 2.5], [1] * 3, [1] * 3)
    log = run(engine, arrays, plain_episode(arrays, arrivals), admitting(arrays, 0.0)).log
    assert log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.REFUSED, RequestStatus.REFUSED]


def test_deferrable_requests_wait_for_their_release(engine):
    """Four arrive in the first second; one a second may go, and one more on the credit saved while none was held."""
    arrays = one_pool(deferrable=True)
    arrivals = RequestTable.of([0.1, 0.2, 0.3, 0.4], [10] * 4, [1] * 4)
    result = run(engine, arrays, plain_episode(arrays, arrivals), admitting(arrays, 1.0))
    assert result.views["held_requests"][1:6, 0].tolist() == [4.0, 2.0, 1.0, 0.0, 0.0]
    assert result.log.finished_s == pytest.approx([1.27, 1.77, 2.52, 3.52])


def test_without_a_limit_everything_held_leaves_at_the_next_tick_evenly_spaced(engine):
    arrays = one_pool(deferrable=True)
    arrivals = RequestTable.of([0.1, 0.2], [10, 10], [1, 1])
    result = run(engine, arrays, plain_episode(arrays, arrivals))
    assert result.log.first_token_s == pytest.approx([1.27, 1.77])


def test_held_requests_expire_at_their_patience(engine):
    arrays = one_pool(deferrable=True, patience_s=3.0)
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.5], [10], [1])), admitting(arrays, 0.0)).log
    # One credit is there from the start, so a second request is needed to see one expire.
    assert log.status[0] == RequestStatus.COMPLETED
    two = RequestTable.of([0.5, 0.6], [10, 10], [1, 1])
    log = run(engine, arrays, plain_episode(arrays, two), admitting(arrays, 0.0)).log
    assert log.status.tolist() == [RequestStatus.COMPLETED, RequestStatus.EXPIRED]
    assert log.finished_s[1] == 4.0


def test_shares_are_kept_exactly_and_evenly(engine):
    """Three to one: of any four requests in a row, three go to the first pool."""
    arrays = two_pools()
    arrivals = RequestTable.of(np.arange(40) * 0.3, [1] * 40, [1] * 40)
    tape = [replace(neutral(arrays), route_share=np.array([[[3.0, 1.0]]]))] * arrays.horizon_ticks
    log = run(engine, arrays, plain_episode(arrays, arrivals), tape).log
    assert (log.replica.reshape(10, 4) == 0).sum(axis=1).tolist() == [3] * 10


def test_a_pool_asleep_takes_nothing_and_its_share_goes_to_the_other(engine):
    arrays = two_pools()
    arrivals = RequestTable.of(np.arange(20) * 0.5, [1] * 20, [1] * 20)
    tape = [replace(neutral(arrays), awake_fraction=np.array([[0.0, 1.0]]))] * arrays.horizon_ticks
    log = run(engine, arrays, plain_episode(arrays, arrivals), tape).log
    assert set(log.replica.tolist()) == {1}


def test_a_share_of_zero_everywhere_refuses(engine):
    arrays = two_pools()
    tape = [replace(neutral(arrays), route_share=np.zeros((1, 1, 2)))] * arrays.horizon_ticks
    log = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.5], [1], [1])), tape).log
    assert log.status.tolist() == [RequestStatus.REFUSED]


def test_stepping_past_the_horizon_is_an_error(engine):
    instance = random_instance(0)
    fleet = make_engine(engine, instance.arrays, 1)
    fleet.reset(0, instance.episode)
    for controls in instance.controls:
        fleet.step(controls)
    with pytest.raises(IndexError, match="reset first"):
        fleet.step(instance.controls[0])


def test_a_fleet_that_was_never_reset_cannot_step(engine):
    instance = random_instance(0)
    with pytest.raises(RuntimeError, match="never reset"):
        make_engine(engine, instance.arrays, 1).step(instance.controls[0])


@pytest.mark.parametrize("every_s", [1, 2, 5, 10])
def test_credit_that_is_whole_on_paper_is_whole(engine, every_s):
    """Arrivals each second, of which the rate lets one go in `every_s`: in binary ten tenths are less than one."""
    arrays = one_pool(horizon_ticks=61)
    arrivals = RequestTable.of(np.arange(61.0), [1] * 61, [1] * 61)
    log = run(engine, arrays, plain_episode(arrays, arrivals), admitting(arrays, 1.0 / every_s)).log
    assert np.flatnonzero(log.status != RequestStatus.REFUSED).tolist() == list(range(0, 61, every_s))


def test_an_answer_that_takes_its_limit_exactly_is_within_it(engine):
    """Three iterations of 0.1 s are a little more than 0.3 s in binary."""
    arrays = one_pool(fixed_s=0.1, token_s=0.0, decode_s=0.0, deadline_s=0.3)
    result = run(engine, arrays, plain_episode(arrays, RequestTable.of([0.0], [1], [3])))
    assert result.total("completed_in_slo") == 1
