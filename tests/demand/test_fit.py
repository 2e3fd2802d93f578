"""A fit finds the process behind a record, and its draws are as bursty, at the same hours, with the same lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.demand.recordings import ON_AND_OFF, demand, drawn, spearman
from tokenfleet.envs.catalog import load_trace
from tokenfleet.envs.demand.cascade_fit import Counted, sample_fano
from tokenfleet.envs.demand.counts import autocorrelation, counts, fano_factor, spread_over_clock
from tokenfleet.envs.demand.fit import fit_demand
from tokenfleet.envs.demand.hours import fit_hours
from tokenfleet.envs.demand.judge import judge
from tokenfleet.envs.demand.lengths_fit import fit_lengths
from tokenfleet.envs.layers.agents import DemandSpec, FittedStream
from tokenfleet.envs.layers.agents.cascade import CascadeSpec, mean_variance
from tokenfleet.envs.spec import SpecError

DAY_S = 86_400.0


def fano_of_draws(known: DemandSpec, window_s: float, span_s: float, seeds: int) -> float:
    """Mean over draws."""
    rngs = np.random.default_rng(0).spawn(seeds)
    return float(np.mean([fano_factor(known.sample_arrivals(rng, span_s), window_s, span_s) for rng in rngs]))


# --- the process ---


@pytest.mark.parametrize("cascade", [
    {"swings": {2.0: 0.5, 30.0: 0.3}},
    {"spells": {"mean_busy_s": 4.0, "mean_pause_s": 12.0}},
    {"spells": {"mean_busy_s": 9.0, "mean_pause_s": 3.0}, "swings": {1.0: 0.4}},
], ids=["swings", "spells", "both"])  # fmt: skip
def test_counts_have_the_variance_of_the_closed_form(cascade):
    known = demand(20.0, cascade=cascade)
    arrival_s = drawn(known, 40_000.0).arrival_s
    for window_s in (1.0, 5.0, 20.0):
        law = 1.0 + 20.0 * window_s * mean_variance(*known.cascade.components, np.array([window_s]))[0]
        assert fano_factor(arrival_s, window_s, 40_000.0) == pytest.approx(law, rel=0.1)


def test_the_mean_rate_is_kept_from_the_first_second_to_the_last():
    known = demand(20.0, cascade={"spells": {"mean_busy_s": 5.0, "mean_pause_s": 15.0}, "swings": {3.0: 0.5}})
    rngs = np.random.default_rng(0).spawn(3000)
    found = [np.histogram(known.sample_arrivals(rng, 60.0), [0, 5, 55, 60])[0] for rng in rngs]
    np.testing.assert_allclose(np.mean(found, axis=0) / [5, 50, 5], 20.0, rtol=0.12)


@given(st.floats(0.05, 0.95), st.floats(0.1, 1e4), st.floats(1e-3, 1e6))
def test_variance_falls_with_the_window_from_that_of_the_rate_to_nothing(share, scale_s, window_s):
    cascade = CascadeSpec.parse({
        "spells": {"mean_busy_s": scale_s * share, "mean_pause_s": scale_s * (1 - share)}, "swings": {scale_s: 0.3}
    })  # fmt: skip
    shorter, longer = mean_variance(*cascade.components, np.array([window_s, 2.0 * window_s]))
    whole = (1.0 / cascade.spells.busy_share) * 1.3 - 1.0
    assert 0.0 < longer < shorter <= whole * (1.0 + 1e-9)


def test_the_hours_of_a_week_have_their_rates_and_no_week_is_like_another():
    weekday = tuple(1.0 + 0.8 * np.sin(2 * np.pi * hour / 24) for hour in range(24))
    known = demand(0.5, weekday=weekday, weekend=(0.5,) * 24, cascade={"swings": {3600.0: 0.2}})
    weeks = [drawn(known, 7 * DAY_S, seed).arrival_s for seed in range(10)]
    by_hour = np.mean([counts(week, 3600.0, 7 * DAY_S) for week in weeks], axis=0)
    wanted = 0.5 * 3600.0 * known.hour_of_week
    assert np.corrcoef(by_hour, wanted)[0, 1] > 0.93
    assert by_hour.mean() == pytest.approx(wanted.mean(), rel=0.1)
    assert len({len(week) for week in weeks}) == 10


# --- the fit ---


def test_on_and_off_coding_traffic_is_fitted_at_all_four_scales():
    """The recorded Fano factors of coding, 13, 72, 167 and 243 at 1, 10, 60 and 600 s, to 1 %."""
    seconds = np.array([1.0, 10.0, 60.0, 600.0])
    counted = Counted(2.57, 3435.0, seconds, np.array([13.0, 72.0, 167.0, 243.0]), np.array([3435.0, 343.0, 57.0, 5.0]))
    np.testing.assert_allclose(sample_fano(counted, CascadeSpec.parse(ON_AND_OFF)), counted.fano, rtol=0.01)


def test_a_record_that_is_on_and_off_is_found_to_be():
    known = demand(2.57, cascade=ON_AND_OFF)
    record = drawn(known, 4 * 3600.0)
    fitted = fit_demand("fitted", record, record.duration_s)
    assert fitted.cascade.spells is not None
    assert fitted.cascade.spells.busy_share == pytest.approx(known.cascade.spells.busy_share, abs=0.08)
    for window_s in (1.0, 10.0, 60.0, 600.0):
        wanted = fano_factor(record.arrival_s, window_s, record.duration_s)
        assert fano_of_draws(fitted, window_s, record.duration_s, 40) == pytest.approx(wanted, rel=0.25)
    empty = [(counts(fitted.sample_arrivals(rng, 3600.0), 10.0, 3600.0) == 0).mean() for rng in
             np.random.default_rng(1).spawn(20)]  # fmt: skip
    recorded = (counts(record.arrival_s, 10.0, record.duration_s) == 0).mean()
    assert np.mean(empty) == pytest.approx(recorded, abs=0.08)


def test_chat_is_as_bursty_as_recorded():
    record = load_trace("azure-chat-2023")
    fitted = fit_demand("fitted", record, record.duration_s)
    for window_s in (1.0, 10.0, 60.0, 600.0):
        wanted = fano_factor(record.arrival_s, window_s, record.duration_s)
        assert fano_of_draws(fitted, window_s, record.duration_s, 40) == pytest.approx(wanted, rel=0.25)


def test_a_poisson_process_is_given_nothing_to_swing():
    record = drawn(demand(10.0), 3600.0)
    fitted = fit_demand("fitted", record, record.duration_s)
    assert fitted.cascade.spells is None
    assert sum(fitted.cascade.swings.values()) < 0.02
    assert fitted.rate_rps == pytest.approx(10.0, rel=0.02)


def test_weekends_are_told_apart_where_the_record_says_when_it_begins():
    weekday, weekend = (1.5,) * 8 + (1.0,) * 8 + (0.5,) * 8, (0.3,) * 24
    known = demand(0.3, weekday=weekday, weekend=weekend)
    arrival_s = drawn(known, 7 * DAY_S).arrival_s
    dated, dateless = fit_hours(arrival_s, 7 * DAY_S, 0.0), fit_hours(arrival_s, 7 * DAY_S, None)
    assert np.mean(dated.weekday) / np.mean(dated.weekend) == pytest.approx(1.0 / 0.3, rel=0.1)
    assert dated.weekday[3] / dated.weekday[20] == pytest.approx(3.0, rel=0.3)
    assert dateless.weekend is None
    assert fit_hours(arrival_s, 0.5 * DAY_S, 0.0).weekday is None


def test_lengths_keep_their_quantiles_and_go_together_as_recorded():
    record = drawn(demand(20.0), 1000.0)
    prompt, output = fit_lengths(record.prompt_tokens, record.output_tokens).sample(np.random.default_rng(1), 20_000)
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(prompt, level) == pytest.approx(np.quantile(record.prompt_tokens, level), rel=0.06)
        assert np.quantile(output, level) == pytest.approx(np.quantile(record.output_tokens, level), rel=0.08)
    recorded = spearman(record.prompt_tokens, record.output_tokens)
    assert recorded > 0.6
    assert spearman(prompt, output) == pytest.approx(recorded, abs=0.05)


def test_a_coarse_clock_is_no_burst():
    arrival_s = drawn(demand(10.0), 1800.0).arrival_s
    ticked = np.floor(arrival_s / 3.0) * 3.0
    assert fano_factor(ticked, 1.0, 1800.0) > 15.0
    assert fano_factor(spread_over_clock(ticked), 1.0, 1800.0) == pytest.approx(1.0, abs=0.1)
    assert spread_over_clock(arrival_s) is arrival_s


def test_too_few_requests_are_refused():
    with pytest.raises(SpecError, match=r"too few requests to fit, at least 100 \(got \d\d\)"):
        fit_demand("few", drawn(demand(1.0), 50.0), 50.0)


# --- the judgement ---


def test_what_was_held_out_is_compared_with_draws_of_a_fit_that_has_not_seen_it():
    record = drawn(demand(5.0, cascade={"swings": {5.0: 0.5}}), 7200.0)
    judged = judge("fitted", record, None, 0.5)
    found = {one.name: one for one in judged.compared}
    assert judged.fitted_requests + judged.held_out_requests == len(record)
    assert abs(found["rate_rps"].error) < 0.1
    assert abs(found["fano_10_s"].error) < 0.35
    assert abs(found["output_50_pct"].error) < 0.1
    assert abs(found["length_correlation"].error) < 0.05
    half = record.duration_s / 2
    recorded = record.arrival_s[record.arrival_s >= half] - half
    assert found["fano_10_s"].recorded == pytest.approx(fano_factor(recorded, 10.0, half))
    assert found["autocorrelation_1_s"].recorded == pytest.approx(autocorrelation(recorded, 1.0, half), abs=0.01)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(1.0, 500.0))
def test_draws_lie_in_the_episode_in_order_and_one_seed_is_one_result(seed, horizon_s):
    known = demand(3.0, cascade=ON_AND_OFF, weekday=tuple(1.0 + hour for hour in range(24)))
    first, again = (known.sample_arrivals(np.random.default_rng(seed), horizon_s, 1e5, 12.0) for _ in range(2))
    assert (np.diff(first) >= 0).all()
    assert ((first >= 0) & (first < horizon_s)).all()
    np.testing.assert_array_equal(first, again)


# --- the stream ---


def stream(**keys: object) -> FittedStream:
    return FittedStream.parse({"request_class": "chat", "demand": "azure-coding", **keys})


def test_the_rate_is_the_weeks_mean_and_can_be_another():
    assert stream().mean_rate_rps == pytest.approx(1.0, abs=0.05)
    week = stream(rate_rps=4.0)
    assert week.mean_rate_rps == 4.0
    rngs = np.random.default_rng(0).spawn(400)
    drawn_requests = np.array([len(week.sample(rng, 600.0, "train")) for rng in rngs])
    assert drawn_requests.mean() / 600.0 == pytest.approx(4.0, rel=0.15)


def test_an_episode_begins_at_the_hour_that_is_named_and_hours_pass_as_fast_as_they_are_told():
    """Coding at 19 o'clock on a Monday against 9 o'clock, and a whole day in ten minutes."""
    rngs = np.random.default_rng(0).spawn(200)
    busy, quiet = (
        np.mean([len(stream(start_hour=hour).sample(rng, 600.0, "test")) for rng in rngs]) for hour in (19.0, 9.0)
    )
    assert busy / quiet == pytest.approx(3.04 / 0.325, rel=0.35)
    day = [stream(start_hour=0.0, time_compression=144.0, rate_rps=50.0).sample(rng, 600.0, "test") for rng in rngs]
    by_hour = np.mean([np.histogram(demand.arrival_s, 24, (0.0, 600.0))[0] for demand in day], axis=0)
    assert by_hour.argmax() in (17, 18, 19, 20)
    assert by_hour.argmin() in (7, 8, 9, 10)


def test_a_slow_swing_that_passes_as_fast_as_a_fast_one_adds_its_variance():
    described = demand().model_copy(update={"cascade": CascadeSpec(swings={512.0: 0.5, 8192.0: 0.3})})
    assert described.sped_up(16.0).swings == {512.0: pytest.approx(1.5 * 1.3 - 1.0)}
    assert described.sped_up(4.0).swings == {512.0: 0.5, 2048.0: 0.3}


def test_an_unknown_description_is_told_what_there_is():
    with pytest.raises(SpecError, match=r"demand: unknown name 'azure-code'; did you mean 'azure-coding'\?"):
        stream(demand="azure-code")
