"""What is told of an event before it is known follows from its law and two signs by Bayes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tokenfleet.envs.layers.power import CapEvent, DemandResponseSpec, EmergencySpec
from tokenfleet.envs.layers.power.outlook import Outlook
from tokenfleet.envs.layers.power.series import EventForecastSpec

WINDOW = {"earliest_start_s": 100.0, "latest_start_s": 200.0, "ramp_s": 5.0, "hold_s": 30.0, "recovery_s": 5.0}
OUTAGE = EmergencySpec(probability=0.5, depth_fraction=(0.2, 0.4), **WINDOW)
CALL = DemandResponseSpec(notice_s=20.0, **WINDOW)
BLIND = EventForecastSpec(noise=1e9, start_error_s=1e9)


def drawn(spec: Any, forecast: EventForecastSpec, seed: int) -> tuple[CapEvent, Outlook]:
    rng = np.random.default_rng(seed)
    event = spec.draw(rng)
    return event, Outlook.draw(spec, forecast, event, rng)


def told(event: CapEvent, outlook: Outlook, now_s: float, lead_s: float) -> float:
    return float(outlook.chance(event, np.array([now_s]), lead_s)[0])


def at(start_s: float, comes: bool = True, spec: Any = OUTAGE) -> CapEvent:
    return spec.at(start_s, comes, np.random.default_rng(0))


class TestOfNoUseForecaster:
    """Signs that say nothing leave the law: p = 1/2, a start between 100 and 200 s, 40 s in force."""

    outlook = Outlook.draw(OUTAGE, BLIND, at(190.0), np.random.default_rng(1))
    event = at(190.0)

    @pytest.mark.parametrize(
        ("now_s", "then_s", "chance"),
        [
            (0.0, 90.0, 0.0),  # before the window
            (0.0, 120.0, 0.5 * 20 / 100),  # begun at 100 to 120
            (0.0, 150.0, 0.5 * 40 / 100),  # begun at 110 to 150
            (0.0, 220.0, 0.5 * 20 / 100),  # begun at 180 to 200
            (0.0, 250.0, 0.0),  # over
            (150.0, 150.0, 0.0),  # nothing has begun, so nothing holds now
            (150.0, 170.0, 0.25 * 20 / 50 / 0.75),  # half of the window is left: 0.25 to 0.5 that it comes after all
            (180.0, 210.0, 0.1 * 20 / 20 / 0.6),
        ],
    )
    def test_the_chance_is_that_of_the_law_given_that_nothing_has_come(self, now_s, then_s, chance):
        assert told(self.event, self.outlook, now_s, then_s - now_s) == pytest.approx(chance, rel=1e-6, abs=1e-12)

    def test_a_notice_shortens_the_window_by_itself(self):
        """At 150 s nothing is announced, so the call starts after 170 s; by 180 s a third of the starts have passed."""
        event = at(190.0, spec=CALL)
        outlook = Outlook.draw(CALL, BLIND, event, np.random.default_rng(1))
        assert told(event, outlook, 150.0, 30.0) == pytest.approx(10 / 30, rel=1e-6)


def test_what_is_known_is_told_as_it_is():
    event = at(150.0, spec=CALL)  # announced at 130 s, over at 190 s
    outlook = Outlook.draw(CALL, EventForecastSpec(), event, np.random.default_rng(0))
    then = {149.9: 0.0, 150.0: 1.0, 189.9: 1.0, 190.0: 0.0}
    for now_s in (130.0, 145.0, 160.0, 300.0):
        assert [told(event, outlook, now_s, then_s - now_s) for then_s in then] == list(then.values())


def test_an_event_that_its_window_has_ended_without_does_not_come():
    event, outlook = (
        at(150.0, comes=False),
        Outlook.draw(OUTAGE, BLIND, at(150.0, comes=False), np.random.default_rng(0)),
    )
    assert told(event, outlook, 199.0, 10.0) > 0.0
    assert told(event, outlook, 200.0, 10.0) == 0.0
    assert told(event, outlook, 300.0, 0.0) == 0.0


@pytest.mark.parametrize(
    "forecast", [EventForecastSpec(noise=0.0, start_error_s=0.0), EventForecastSpec(noise=1e-3, start_error_s=1e-3)]
)
@pytest.mark.parametrize("comes", [True, False])
def test_a_good_forecaster_is_nearly_certain(forecast, comes):
    event = at(150.0, comes)
    outlook = Outlook.draw(OUTAGE, forecast, event, np.random.default_rng(0))
    then = {149.0: 0.0, 151.0: 1.0, 189.0: 1.0, 191.0: 0.0}
    for now_s in (0.0, 148.9):
        chances = [told(event, outlook, now_s, then_s - now_s) for then_s in then]
        np.testing.assert_allclose(chances, np.array(list(then.values())) * comes, atol=1e-9)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_no_sign_shakes_what_the_law_is_sure_of(probability):
    spec = OUTAGE.model_copy(update={"probability": probability})
    for seed in range(20):
        _, outlook = drawn(spec, EventForecastSpec(noise=3.0, start_error_s=50.0), seed)
        assert outlook.comes(np.array([0.0, 199.0, 200.0])).tolist() == [probability, probability, 0.0]


def test_the_default_errors_are_those_of_published_forecasts_of_peak_days():
    """69 of 72 peak days had a chance above 3 %, at one day in thirty; 90 % of the peaks were within an hour."""
    monthly, default = OUTAGE.model_copy(update={"probability": 1 / 30}), EventForecastSpec()
    rng = np.random.default_rng(0)
    outlooks = [Outlook.draw(monthly, default, at(150.0), rng) for _ in range(4000)]
    hits = np.mean([float(outlook.comes(np.array(0.0))) > 0.03 for outlook in outlooks])
    assert hits == pytest.approx(69 / 72, abs=0.02)
    miss_h = np.array([outlook.start.estimate_s - 150.0 for outlook in outlooks]) * 144 / 3600
    assert np.mean(np.abs(miss_h) < 1.0) == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("comes", [True, False])
def test_a_sign_weighs_as_much_as_it_is_likelier_with_the_event_than_without(comes):
    """Odds of 1/4 to 3/4 by the law, times the ratio of both densities of the sign."""
    spec, noise = OUTAGE.model_copy(update={"probability": 0.25}), 0.5
    outlook = Outlook.draw(spec, EventForecastSpec(noise=noise), at(150.0, comes), np.random.default_rng(3))
    sign = comes + noise * np.random.default_rng(3).standard_normal()
    with_it, without = (np.exp(-0.5 * ((sign - mean) / noise) ** 2) for mean in (1.0, 0.0))
    expected = 0.25 * with_it / (0.25 * with_it + 0.75 * without)
    assert outlook.comes(np.array(0.0)) == pytest.approx(expected)


@pytest.mark.parametrize("spec", [OUTAGE, CALL])
@pytest.mark.parametrize("start_s", [105.0, 160.0, 198.0])
def test_the_chance_is_what_weighing_many_starts_by_both_signs_gives(spec, start_s):
    """A million starts of the window, each as likely as its distance from the estimate allows."""
    forecast, event = EventForecastSpec(noise=0.8, start_error_s=18.0), at(start_s, spec=spec)
    outlook = Outlook.draw(spec, forecast, event, np.random.default_rng(7))
    noise, miss = np.random.default_rng(7).standard_normal(2)
    odds = spec.probability * np.exp((0.5 + 0.8 * noise) / 0.64)
    starts = np.linspace(100.0, 200.0, 1_000_001)
    weight = np.exp(-0.5 * ((starts - start_s - 18.0 * miss) / 18.0) ** 2)
    for now_s, then_s in ((0.0, 140.0), (60.0, 180.0), (84.0, 150.0)):
        unknown = starts > now_s + spec.notice_s
        holds = unknown & (starts <= then_s) & (starts > then_s - 40.0)
        come, none = odds * weight[unknown].sum() / weight.sum(), 1.0 - spec.probability
        expected = come / (come + none) * weight[holds].sum() / weight[unknown].sum()
        assert told(event, outlook, now_s, then_s - now_s) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("error_s", [0.0, 0.01, 20.0])
def test_a_window_of_one_instant_leaves_nothing_open_but_whether_it_comes(error_s):
    spec = OUTAGE.model_copy(update={"earliest_start_s": 150.0, "latest_start_s": 150.0})
    event = at(150.0, spec=spec)
    outlook = Outlook.draw(spec, EventForecastSpec(noise=1e9, start_error_s=error_s), event, np.random.default_rng(0))
    then_s = (149.0, 150.0, 189.0, 190.0)
    assert [round(told(event, outlook, 10.0, then - 10.0), 9) for then in then_s] == [0.0, 0.5, 0.5, 0.0]
    assert outlook.other_event(10.0, np.random.default_rng(0)).start_s == 150.0


@pytest.mark.parametrize("error_s", [0.0, 1e-300, 1e-5, 0.1, 1e9])
@pytest.mark.parametrize("noise", [0.0, 1e-300, 1e-3, 1e9])
@pytest.mark.parametrize("spec", [OUTAGE, CALL])
def test_a_chance_is_a_chance_at_every_size_of_error(noise, error_s, spec):
    now_s = np.linspace(0.0, 260.0, 400)
    for seed in range(20):
        event, outlook = drawn(spec, EventForecastSpec(noise=noise, start_error_s=error_s), seed)
        for lead_s in (0.0, 10.0, 100.0):
            chance = outlook.chance(event, now_s, lead_s)
            assert np.all((chance >= 0.0) & (chance <= 1.0)), (seed, lead_s)


@pytest.mark.parametrize("spec", [OUTAGE, CALL])
def test_other_events_are_as_frequent_as_told_and_unknown(spec):
    """At 110 s: the share of 1000 other events in force at 165 s is the chance told, within four deviations."""
    rng, now_s, count = np.random.default_rng(5), 110.0, 1000
    for start_s in (150.0, 190.0):
        event = at(start_s, spec=spec)
        outlook = Outlook.draw(spec, EventForecastSpec(noise=0.8, start_error_s=15.0), event, rng)
        others = [outlook.other_event(now_s, rng) for _ in range(count)]
        assert not any(other.is_known(np.array(now_s)) for other in others)
        for then_s in (145.0, 165.0, 200.0):
            chance = told(event, outlook, now_s, then_s - now_s)
            share = np.mean([other.is_in_force(np.array(then_s)) for other in others])
            assert share == pytest.approx(chance, abs=4.0 * np.sqrt(chance * (1 - chance) / count) + 1e-12)
        depths = {other.depth_fraction for other in others}
        assert depths == {0.25} if spec is CALL else min(depths - {0.0}) < 0.22 and max(depths) > 0.38


def test_signs_stay_when_another_event_takes_the_place():
    """What is told of the unknown does not depend on what is true, only on the signs."""
    outlook = Outlook.draw(OUTAGE, EventForecastSpec(), at(150.0), np.random.default_rng(0))
    now_s = np.arange(0.0, 120.0)
    np.testing.assert_array_equal(
        outlook.chance(at(150.0), now_s, 40.0), outlook.chance(replace(at(180.0), depth_fraction=0.0), now_s, 40.0)
    )
