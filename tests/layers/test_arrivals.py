"""Arrival processes: closed forms, rates, burstiness, the hours of a day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenfleet.envs.catalog import load_clients, load_entry, load_trace
from tokenfleet.envs.layers.agents import (
    AgentSessionsStream,
    DiurnalStream,
    HawkesStream,
    PoissonStream,
    ServeGenStream,
    StreamSpec,
)
from tokenfleet.envs.layers.agents.diurnal import RateProfileSpec
from tokenfleet.envs.layers.agents.hawkes import hawkes_fano_factor
from tokenfleet.envs.layers.agents.servegen import _renewals
from tokenfleet.envs.spec import SpecError

LENGTHS = {"prompt": {"median_tokens": 100, "sigma": 1.0}, "output": {"median_tokens": 10, "sigma": 0.5}}


def fano_factor(arrival_s: np.ndarray, window_s: float, horizon_s: float) -> float:
    counts = np.histogram(arrival_s, np.arange(0, horizon_s + 1e-9, window_s))[0]
    return float(counts.var() / counts.mean())


def draws(stream: StreamSpec, seeds: int, horizon_s: float) -> list[np.ndarray]:
    return [stream.sample(np.random.default_rng(seed), horizon_s, "train").arrival_s for seed in range(seeds)]


# --- Hawkes ---


@pytest.mark.parametrize("branching_ratio", [0.0, 0.5, 0.8])
def test_a_hawkes_process_keeps_its_rate_from_the_first_second(branching_ratio):
    stream = HawkesStream.parse(
        {"request_class": "a", "rate_rps": 20.0, "branching_ratio": branching_ratio, "decay_s": 2.0, **LENGTHS}
    )
    counts = np.array([np.histogram(arrival_s, [0, 5, 95, 100])[0] for arrival_s in draws(stream, 400, 100.0)])
    np.testing.assert_allclose(counts.mean(axis=0) / [5, 90, 5], 20.0, rtol=0.06)


@pytest.mark.parametrize(("branching_ratio", "decay_s"), [(0.4, 1.0), (0.7, 3.0)])
def test_a_hawkes_process_has_its_closed_form_fano_factor(branching_ratio, decay_s):
    stream = HawkesStream.parse(
        {"request_class": "a", "rate_rps": 10.0, "branching_ratio": branching_ratio, "decay_s": decay_s, **LENGTHS}
    )
    (arrival_s,) = draws(stream, 1, 100_000.0)
    for window_s in (1.0, 10.0, 100.0):
        expected = hawkes_fano_factor(branching_ratio, decay_s, window_s)
        assert fano_factor(arrival_s, window_s, 100_000.0) == pytest.approx(expected, rel=0.1)


def test_by_default_a_hawkes_process_is_as_bursty_as_production_chat():
    """Fano factor at 1, 10 and 60 s: the recorded hour lies between the 5th and 95th percentile of drawn hours."""
    recorded = load_trace("azure-chat-2023")
    stream = HawkesStream.parse({"request_class": "a", "rate_rps": recorded.mean_rate_rps, **LENGTHS})
    drawn = draws(stream, 60, 3500.0)
    for window_s, published in ((1.0, 1.4), (10.0, 3.9), (60.0, 16.0)):
        factor = fano_factor(recorded.arrival_s, window_s, 3500.0 - 3500.0 % window_s)
        assert factor == pytest.approx(published, rel=0.05)
        spread = [fano_factor(arrival_s, window_s, 3500.0 - 3500.0 % window_s) for arrival_s in drawn]
        low, high = np.quantile(spread, [0.05, 0.95])
        assert low < factor < high


# --- clients of a service ---


@pytest.mark.parametrize(("shape", "weibull"), [(0.3, False), (1.0, False), (4.0, False), (0.4, True), (2.0, True)])
def test_renewals_begin_in_equilibrium(shape, weibull):
    """Each half-second of a window has one arrival a process at 2 a second, and those of a process stand in order."""
    processes = 20_000
    cell, arrival_s = _renewals(
        np.random.default_rng(0),
        np.full(processes, 2.0),
        np.full(processes, shape),
        np.full(processes, weibull),
        np.full(processes, 3.0),
    )
    counts = np.histogram(arrival_s, np.arange(0, 3.1, 0.5))[0]
    np.testing.assert_allclose(counts / processes, 1.0, rtol=0.06)
    assert np.all(np.diff(arrival_s[np.argsort(cell, kind="stable")])[np.diff(np.sort(cell)) == 0] >= 0)


def test_a_renewal_process_has_the_burstiness_of_its_shape():
    """Over long windows the Fano factor of a renewal process is the squared coefficient of variation of its gaps."""
    cell, _ = _renewals(
        np.random.default_rng(1), np.full(400, 5.0), np.full(400, 0.25), np.zeros(400, np.bool_), np.full(400, 1000.0)
    )
    counts = np.bincount(cell, minlength=400)
    assert counts.var() / counts.mean() == pytest.approx(4.0, rel=0.25)


@pytest.mark.parametrize("keys", [
    {"rate_rps": 20.0},
    {"rate_rps": 20.0, "time_compression": 100.0},
    {"rate_rps": 5.0, "clients": "servegen-m-small"},
])  # fmt: skip
def test_clients_send_at_the_stated_rate_over_the_week(keys):
    stream = ServeGenStream.parse({"request_class": "a", **keys})
    mean = np.mean([len(arrival_s) for arrival_s in draws(stream, 60, 300.0)]) / 300.0
    assert mean == pytest.approx(keys["rate_rps"], rel=0.12)


def test_the_record_of_clients_has_its_published_totals():
    large, small = load_clients("servegen-m-large"), load_clients("servegen-m-small")
    assert large.mean_rate_rps == pytest.approx(209.55, rel=1e-3)
    assert small.mean_rate_rps == pytest.approx(1063.0, rel=1e-3)
    total = large.rate_rps.sum(axis=0)
    assert total.std() / total.mean() == pytest.approx(0.306, abs=0.01)


def test_compressed_days_pass_in_minutes():
    """A day in ten minutes: counts of half minutes vary 1.5 times as much as within ten minutes of the record."""
    stream = ServeGenStream.parse({"request_class": "a", "rate_rps": 50.0, "time_compression": 144.0})
    slow = ServeGenStream.parse({"request_class": "a", "rate_rps": 50.0})
    spread = [np.std(np.histogram(a, np.arange(0, 601, 30))[0]) for a in draws(stream, 10, 600.0)]
    steady = [np.std(np.histogram(a, np.arange(0, 601, 30))[0]) for a in draws(slow, 10, 600.0)]
    assert np.mean(spread) > 1.5 * np.mean(steady)


def test_token_counts_follow_the_senders_quantiles():
    stream = ServeGenStream.parse({"request_class": "a", "rate_rps": 50.0})
    demand = stream.sample(np.random.default_rng(0), 600.0, "train")
    assert demand.prompt_tokens.min() >= 1
    table = load_clients("servegen-m-large")
    weight = table.rate_rps.sum(axis=1)
    low, high = (np.average(table.prompt_tokens[:, column], weights=weight) for column in (1, 3))
    assert low < np.median(demand.prompt_tokens) < high
    assert abs(np.corrcoef(demand.prompt_tokens, demand.output_tokens)[0, 1]) < 0.3


# --- the hours of a day ---


def diurnal(**keys: object) -> DiurnalStream:
    inner = {"kind": "poisson", "request_class": "chat", "rate_rps": 10.0, **LENGTHS}
    return DiurnalStream.parse({"stream": inner, "time_compression": 720.0, **keys})


def test_the_recorded_week_has_its_published_range():
    """On weekdays coding peaks at 9 to 11.7 times the trough, on Monday at over 4 times the peak of Saturday."""
    profile = RateProfileSpec.parse(load_entry("rate", "azure-coding-2024"))
    rate = np.array(profile.requests_per_minute).reshape(5, 48)
    friday, monday, tuesday = rate[0], rate[3], rate[4]
    for day in (friday, monday, tuesday):
        assert 9.0 < day.max() / day.min() < 11.7
    assert monday.max() > 4 * rate[1].max()


def test_counts_follow_the_recorded_rate():
    """Five days in ten minutes, from the record's start: each half-hour of 2.5 s gets its share."""
    stream = diurnal(start_hour=0.0)
    counts = sum(np.histogram(arrival_s, np.linspace(0, 600, 241))[0] for arrival_s in draws(stream, 40, 600.0))
    rate = np.array(RateProfileSpec.parse(load_entry("rate", "azure-coding-2024")).requests_per_minute)
    expected = 40 * 10.0 * 2.5 * rate / rate.mean()
    np.testing.assert_allclose((counts - expected) / np.sqrt(expected), 0.0, atol=4.5)


def test_over_all_starts_the_mean_rate_is_the_streams():
    counts = [len(arrival_s) for arrival_s in draws(diurnal(time_compression=60.0), 150, 120.0)]
    half_width = 4 * np.std(counts) / np.sqrt(len(counts))
    assert np.mean(counts) == pytest.approx(1200, abs=half_width)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), compression=st.floats(1.0, 5000.0), hour=st.floats(0.0, 119.0))
def test_every_arrival_lies_inside_the_episode(seed, compression, hour):
    stream = diurnal(time_compression=compression, start_hour=hour)
    arrival_s = stream.sample(np.random.default_rng(seed), 60.0, "train").arrival_s
    assert np.all((arrival_s >= 0) & (arrival_s < 60.0))


def test_sessions_keep_their_waits_through_the_day():
    inner = AgentSessionsStream(request_class="agents", rate_sessions_per_s=0.1)
    stream = DiurnalStream(stream=inner, time_compression=144.0)
    demand = stream.sample(np.random.default_rng(0), 600.0, "train")
    assert stream.request_class == "agents"
    assert len(demand.edges) > 0
    assert demand.columns["wait_s"].any()
    assert set(demand.columns["wait_s"].tolist()) <= {0.0, *inner.sessions().wait_s.tolist()}


# --- mistakes ---


@pytest.mark.parametrize(("kind", "keys", "message"), [
    (HawkesStream, {"rate_rps": 1.0, **LENGTHS, "branching_ratio": 1.0}, r"branching_ratio: .*less than 1 \(got 1.0\)"),
    (HawkesStream, {"rate_rps": 1.0, **LENGTHS, "prompt": 5}, r"prompt: must be a mapping with median_tokens"),
    (HawkesStream, {"rate_rps": 1.0, **LENGTHS, "prompt": {"sigma": 1}}, r"prompt.median_tokens: missing"),
    (PoissonStream, {"rate_rps": 1.0, **LENGTHS, "output": {"quantiles": {0.5: 3, 0.9: 1}}}, "output.quantiles: "),
    (ServeGenStream, {"clients": "servegen"}, "clients: unknown name 'servegen'; did you mean 'servegen-m-"),
    (ServeGenStream, {"time_compression": 0}, r"time_compression: .*greater than 0 \(got 0\)"),
    (DiurnalStream, {}, "stream: missing"),
    (DiurnalStream, {"stream": {"kind": "poison", "request_class": "a"}}, "stream.*unknown stream kind 'poison'"),
    (DiurnalStream, {"stream": {"kind": "poisson", "request_class": "a", "rate_rps": 1, **LENGTHS}, "profile": "azure"},
     "profile: unknown name 'azure'"),
    (DiurnalStream, {"stream": {"kind": "poisson", "request_class": "a", "rate_rps": 1, **LENGTHS}, "start_hour": 120},
     r"start_hour: 'azure-coding-2024' ends after 120 hours \(got 120\)"),
])  # fmt: skip
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(kind, keys, message):
    about = {} if kind is DiurnalStream else {"request_class": "a"}
    with pytest.raises(SpecError, match=message):
        kind.parse({**about, **keys})


def test_a_wrapper_of_another_class_than_its_stream_is_refused():
    with pytest.raises(SpecError, match=r"request_class: must be that of the stream, 'chat' \(got 'batch'\)"):
        diurnal(request_class="batch")


def test_a_wrapper_takes_the_region_of_its_stream():
    inner = {"kind": "poisson", "request_class": "chat", "rate_rps": 10.0, "region": {"north": 2.0}, **LENGTHS}
    stream = DiurnalStream.parse({"stream": inner})
    assert stream.region == {"north": 2.0}
    assert DiurnalStream.parse(stream.model_dump(mode="json")) == stream


def test_too_long_an_episode_of_clients_is_refused():
    with pytest.raises(ValueError, match=r"recorded for too short a time.*lower time_compression"):
        ServeGenStream(request_class="a", time_compression=2000.0).check(600.0)
