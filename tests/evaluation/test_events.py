"""Scorecards of demand-response events, by hand and from an evaluation."""

from __future__ import annotations

import csv
import gc
import io
import weakref
from functools import partial

import numpy as np
import pytest

from tokenfleet.envs.layers.power.events import CapEvent
from tokenfleet.envs.vector import FleetVectorEnv
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy
from tokenfleet.evaluation.events import Call, Course, EventCard, EventRecorder, cards_csv, score_event
from tokenfleet.policies import PolicyContext, make_policy

EVENT = CapEvent(start_s=10.0, depth_fraction=0.3, notice_s=4.0, ramp_s=2.0, hold_s=4.0, recovery_s=2.0)
CALL = Call("east", 0, EVENT, contract_w=100.0, baseline_s=5.0, rebound_s=3.0)
#           before the notice, notice,  ramp,   hold (a tick above 70 W),  recovery, after
POWER_W = (
    [80.0] * 5 + [90.0] + [95.0] * 4 + [75.0, 71.0] + [70.0, 65.0, 74.0, 60.0] + [70.0, 85.0] + [110.0, 90.0, 84.0]
)


def card(power_w: list[float] = POWER_W) -> EventCard:
    ended, in_slo = np.full(len(power_w), 10.0), np.full(len(power_w), 10.0)
    in_slo[10:18] = 8.0
    return score_event("rule", 1, CALL, Course(1.0, np.array(power_w), in_slo, ended))


def test_the_baseline_is_what_was_drawn_before_the_notice():
    assert card().baseline_w == 82.0  # 80 W in four ticks, 90 W in one
    assert card().called_w == pytest.approx(30.0)


def test_depth_is_the_share_of_the_call_that_was_delivered_while_it_held():
    """12, 17, 8 and 22 W below the baseline, of 30 W."""
    assert card().depth == pytest.approx((12 + 17 + 8 + 22) / 4 / 30)


def test_response_and_duration_count_by_the_called_cap():
    assert card().response_s == 2.0
    assert (card().kept_s, card().kept_share) == (3.0, 0.75)


def test_rebound_is_the_highest_power_afterwards_above_the_baseline():
    assert card().rebound_w == 28.0


def test_the_slo_is_counted_during_the_event_and_before_its_notice():
    assert (card().slo_attainment, card().slo_before) == (0.8, 1.0)


def test_who_never_answers_has_no_response_time():
    ignored = card([80.0] * 21)
    assert np.isnan(ignored.response_s)
    assert (ignored.kept_s, ignored.depth) == (0.0, 0.0)


def test_an_episode_that_ends_within_an_event_leaves_open_what_came_after():
    assert np.isnan(card(POWER_W[:14]).rebound_w)


def test_an_evaluation_scores_every_event_of_every_episode():
    """`careful_operator` keeps the called cap of `tiny` all the time, and full clocks do not."""
    cards: list[EventCard] = []
    make_env = partial(FleetVectorEnv, "tiny")
    for name in ("careful_operator", "max_clock"):
        env = make_env(1)
        policy = Candidate(make_policy(name, PolicyContext.from_env(env)), name)
        evaluate_policy(make_env, policy, episodes=3, seed=0, batch_size=2, on_event=cards.append)
    kept = {name: [c.kept_share for c in cards if c.policy == name] for name in ("careful_operator", "max_clock")}
    assert kept["careful_operator"] == [1.0, 1.0, 1.0]
    assert min(kept["max_clock"]) < 1.0
    seeds = {name: [c.seed for c in cards if c.policy == name] for name in kept}
    assert seeds["careful_operator"] == seeds["max_clock"]
    table = list(csv.DictReader(io.StringIO(cards_csv(cards))))
    assert len(table) == 6
    assert {row["site"] for row in table} == {"lab"}


def test_an_evaluation_that_is_over_keeps_no_fleets():
    env = FleetVectorEnv("tiny", 2)
    recorder = EventRecorder(env)
    gone = weakref.ref(env)
    gc.disable()
    try:
        env.close()
        del env, recorder
        assert gone() is None
    finally:
        gc.enable()
