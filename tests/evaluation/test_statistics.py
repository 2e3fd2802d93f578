"""The statistics against hand-computed values, closed forms, scipy, and their own promise of coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tokenfleet.evaluation.statistics import (
    Interval,
    PairedBootstrap,
    interquartile_mean,
    probability_of_improvement,
)


def test_the_interquartile_mean_cuts_a_quarter_on_either_side() -> None:
    assert interquartile_mean([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0]) == pytest.approx((2 + 3 + 4 + 5) / 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 20, 101])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


def test_probability_of_improvement_counts_wins_and_half_of_ties() -> None:
    # Episode 0: 2 > 1 for both seeds; episode 1: one tie and one loss.
    ours = [[2.0, 1.0], [3.0, 0.0]]
    theirs = [1.0, 1.0]
    assert probability_of_improvement(ours, theirs) == pytest.approx((1.0 + (0.5 + 0.0) / 2) / 2)


def test_probability_of_improvement_is_the_mann_whitney_u_of_each_episode() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.3, 1.0, (5, 30)), rng.normal(0.0, 1.0, (4, 30))
    by_episode = [stats.mannwhitneyu(ours[:, e], theirs[:, e]).statistic / (5 * 4) for e in range(30)]
    assert probability_of_improvement(ours, theirs) == pytest.approx(np.mean(by_episode))


def test_the_interval_of_a_mean_approaches_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, 400)
    interval = PairedBootstrap(400, resamples=20_000).mean(values)
    half_width = 1.959964 * values.std() / np.sqrt(400)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.05 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.05 * half_width)


def test_the_interval_of_a_mean_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(2).exponential(size=60)
    ours = PairedBootstrap(60, resamples=20_000).mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_all_resamples_of_two_episodes_are_known() -> None:
    # Means of the four equally likely draws of {0, 1}: 0, 1/2, 1/2, 1; the 2.5 % and 97.5 % quantiles are 0 and 1.
    interval = PairedBootstrap(2, resamples=4000).mean([0.0, 1.0])
    assert (interval.low, interval.estimate, interval.high) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("statistic", ["mean", "interquartile_mean"])
def test_intervals_over_episodes_cover_the_truth_as_often_as_they_say(statistic: str) -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(400):
        values = rng.normal(1.0, 1.0, 40)
        interval = getattr(PairedBootstrap(40, resamples=600, seed=trial), statistic)(values)
        hits += interval.low <= 1.0 <= interval.high
    assert 0.91 <= hits / 400 <= 0.97


def test_intervals_over_episodes_and_training_seeds_cover_the_truth() -> None:
    """Scores are a common level plus what the training seed, the episode and their meeting add."""
    rng = np.random.default_rng(4)
    hits = 0
    for trial in range(300):
        scores = rng.normal(0, 1, (10, 1)) + rng.normal(0, 1, (1, 40)) + rng.normal(0, 0.5, (10, 40))
        interval = PairedBootstrap(40, resamples=600, seed=trial).mean(scores)
        hits += interval.low <= 0.0 <= interval.high
    assert 0.89 <= hits / 300 <= 0.98


def test_ignoring_the_training_seeds_would_not_cover() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        scores = rng.normal(0, 1, (10, 1)) + rng.normal(0, 0.5, (10, 40))
        interval = PairedBootstrap(40, resamples=300, seed=trial).mean(scores.mean(axis=0))
        hits += interval.low <= 0.0 <= interval.high
    assert hits / 200 < 0.5


def test_pairing_removes_what_the_episodes_have_in_common() -> None:
    rng = np.random.default_rng(6)
    difficulty = rng.normal(0.0, 5.0, 50)
    better = difficulty + 0.2 + rng.normal(0.0, 0.1, 50)
    worse = difficulty + rng.normal(0.0, 0.1, 50)
    bootstrap = PairedBootstrap(50)
    assert bootstrap.mean(better).overlaps(bootstrap.mean(worse))
    difference = bootstrap.difference(better, worse)
    assert difference.excludes_zero()
    assert difference.estimate == pytest.approx((better - worse).mean())
    assert difference.high - difference.low < 0.1


def test_a_constant_difference_has_no_uncertainty() -> None:
    values = np.random.default_rng(7).normal(size=20)
    difference = PairedBootstrap(20).difference(values + 3.0, values)
    assert (difference.low, difference.high) == (pytest.approx(3.0), pytest.approx(3.0))


def test_difference_and_its_mirror_image_agree() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=30), rng.normal(size=30)
    forward, backward = PairedBootstrap(30).difference(first, second), PairedBootstrap(30).difference(second, first)
    assert (forward.low, forward.high) == (pytest.approx(-backward.high), pytest.approx(-backward.low))


def test_missing_numbers_take_no_part() -> None:
    bootstrap = PairedBootstrap(4)
    assert bootstrap.mean([1.0, np.nan, 3.0, np.nan]).estimate == 2.0
    # Only the first episode has numbers of both.
    assert bootstrap.difference([1.0, np.nan, 3.0, np.nan], [0.5, 1.0, np.nan, np.nan]).estimate == 0.5
    assert bootstrap.interquartile_mean([1.0, np.nan, 3.0, np.nan]).estimate == 2.0


def test_nothing_known_gives_no_estimate() -> None:
    interval = PairedBootstrap(3).mean([np.nan, np.nan, np.nan])
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()
    assert not interval.excludes_zero()


def test_one_episode_has_an_estimate_and_no_spread() -> None:
    assert PairedBootstrap(1).mean([2.5]) == Interval(2.5, 2.5, 2.5)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = np.random.default_rng(9).normal(size=(3, 25))
    assert PairedBootstrap(25, seed=5).mean(scores) == PairedBootstrap(25, seed=5).mean(scores)
    assert PairedBootstrap(25, seed=5).mean(scores) != PairedBootstrap(25, seed=6).mean(scores)


def test_improvement_over_training_seeds_has_an_interval_around_its_estimate() -> None:
    rng = np.random.default_rng(10)
    ours, theirs = rng.normal(1.0, 1.0, (4, 30)), rng.normal(0.0, 1.0, (3, 30))
    interval = PairedBootstrap(30, resamples=2000).probability_of_improvement(ours, theirs)
    assert interval.estimate == pytest.approx(probability_of_improvement(ours, theirs))
    assert interval.low < interval.estimate < interval.high <= 1.0


def test_scores_of_another_number_of_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="5 episodes"):
        PairedBootstrap(5).mean([1.0, 2.0])
    with pytest.raises(ValueError, match="at least one"):
        PairedBootstrap(0)
