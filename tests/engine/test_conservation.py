"""Nothing is lost and nothing appears: requests, tokens, energy and time add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.instances import random_instance
from tests.engine.runs import ENGINES, run
from tests.engine.small_fleets import one_pool, plain_episode
from tokenfleet.envs.engine import RequestStatus
from tokenfleet.envs.engine.reference.stopwatch import RESOLUTION_S
from tokenfleet.envs.traces import RequestTable

IN_FLIGHT = ("waiting_requests", "running_requests", "held_requests", "away_requests")  # away: its KV cache moves
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, load=st.sampled_from([0.5, 4.0, 15.0]))
def test_every_request_ends_exactly_once(seed, load):
    instance = random_instance(seed, load=load, small_kv=seed % 2 == 0)
    result = run("native", instance.arrays, instance.episode, instance.controls)
    ended = {
        RequestStatus.COMPLETED: result.total("completed_in_slo") + result.total("completed_late"),
        RequestStatus.REFUSED: result.total("refused"),
        RequestStatus.EXPIRED: result.total("expired"),
        RequestStatus.DECLINED: result.total("declined"),
    }
    for status, count in ended.items():
        assert np.count_nonzero(result.log.status == status) == count
    horizon_s = instance.arrays.horizon_ticks * instance.arrays.tick_s
    assert result.total("arrived") == np.count_nonzero(instance.episode.requests.arrival_s < horizon_s)
    in_flight = result.total("arrived") - sum(ended.values())
    last = result.views
    seen = sum(last[name][-1].sum() for name in IN_FLIGHT)
    assert in_flight == seen


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_completed_requests_have_generated_exactly_their_tokens(seed):
    """With the fleet drained at the end, generated and prefilled tokens equal those of completed requests."""
    instance = random_instance(seed, load=0.3, cap_share=100.0)
    requests = instance.episode.requests
    early = requests.arrival_s < 0.25 * instance.arrays.horizon_ticks * instance.arrays.tick_s
    arrays = one_pool(horizon_ticks=200, tick_s=2.0)
    kept = RequestTable.of(requests.arrival_s[early], requests.prompt_tokens[early], requests.output_tokens[early])
    result = run("native", arrays, plain_episode(arrays, kept))
    assert np.all(result.log.status == RequestStatus.COMPLETED)
    assert result.total("generated_tokens") == kept.output_tokens.sum()
    assert result.total("prefilled_tokens") == kept.prompt_tokens.sum()


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_site_energy_is_it_energy_times_pue_and_the_fixed_part_while_it_is_lit(seed):
    instance = random_instance(seed, load=3.0, cap_share=0.5)
    result = run("native", instance.arrays, instance.episode, instance.controls)
    for site, pue in enumerate(instance.episode.pue.T):
        it_energy_j = result.site_it_energy_j(instance.arrays, site)
        is_lit = result.views["dark_remaining_s"][:-1, site] == 0.0
        expected_j = it_energy_j * pue + is_lit * instance.episode.fixed_w[site] * instance.arrays.tick_s
        np.testing.assert_allclose(result.outcomes["facility_energy_j"][:, site], expected_j, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_it_energy_is_that_of_busy_idle_and_sleeping_boards_and_their_servers(seed):
    instance = random_instance(seed, load=3.0, cap_share=0.5)
    outcomes = run("native", instance.arrays, instance.episode, instance.controls).outcomes
    parts = sum(outcomes[f"{part}_energy_j"] for part in ("busy", "idle", "asleep", "host"))
    np.testing.assert_allclose(parts, outcomes["it_energy_j"], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, closed_loop=st.booleans())
def test_every_token_of_context_is_answered_given_up_or_still_there(seed, closed_loop):
    instance = random_instance(seed, load=6.0, small_kv=True, cap_share=0.4, closed_loop=closed_loop)
    total = run("native", instance.arrays, instance.episode, instance.controls).total
    made = total("prefilled_tokens") + total("prefix_hit_tokens") + total("generated_tokens")
    answered = sum(total(f"{kind}_tokens_{when}") for kind in ("prompt", "output") for when in ("in_slo", "late"))
    assert made == answered + total("preempted_tokens") + total("dropped_tokens") + total("running_tokens_change")


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_power_stays_between_asleep_and_the_board_limit(seed):
    instance = random_instance(seed, load=5.0, cap_share=100.0)
    a = instance.arrays
    result = run("native", a, instance.episode, instance.controls)
    power_w, host_factor = result.outcomes["it_energy_j"] / a.tick_s, instance.episode.host_power_factor[a.site]
    most_w = a.limit_w + host_factor * (a.host_w + a.host_w_per_board_w * a.limit_w)
    standby_w, host_standby_w = (np.where(a.standby >= 0, w, np.inf) for w in (a.standby_w, a.host_standby_w))
    least_host_w = np.minimum(np.minimum(a.host_asleep_w, host_standby_w), a.host_w)
    least_w = np.minimum(a.asleep_w, standby_w) + host_factor * least_host_w
    told = RESOLUTION_S / a.tick_s  # what an iteration draws counts to the tick in which the engines tell its end
    assert np.all(power_w <= a.replicas * most_w * (1 + told))
    assert np.all(power_w >= a.replicas * least_w * (1 - told))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_times_are_in_order(seed):
    instance = random_instance(seed, load=6.0)
    log = run("native", instance.arrays, instance.episode, instance.controls).log
    done = log.status == RequestStatus.COMPLETED
    assert np.all(log.first_token_s[done] > instance.episode.requests.arrival_s[done])
    assert np.all(log.finished_s[done] >= log.first_token_s[done])
    assert np.all(np.isnan(log.finished_s[log.status == RequestStatus.PENDING]))


@pytest.mark.parametrize("engine", ENGINES)
def test_busy_and_idle_time_add_up_to_the_episode(engine):
    """A 100 W replica that idles at 40 W: energy tells how long it was busy."""
    arrays = one_pool(horizon_ticks=10)
    requests = RequestTable.of([0.5, 4.2], [90, 190], [3, 1])
    busy_s = (0.01 + 0.09) + 2 * 0.01 + (0.01 + 0.19)
    result = run(engine, arrays, plain_episode(arrays, requests))
    assert result.total("energy_j") == pytest.approx(40.0 * 10 + 60.0 * busy_s, rel=1e-12)
