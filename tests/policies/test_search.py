"""Searches climb, are functions of their seed and of what they are told, and leave other draws alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tokenfleet.policies.search import Float64Array, Search, ranked, replay
from tokenfleet.policies.search.covariance import CovarianceSearch
from tokenfleet.policies.search.pairs import AugmentedRandomSearch, EvolutionStrategy, PairSearch
from tokenfleet.policies.search.recorded import centres_of, thirds

START = np.zeros(5)
TOP = np.array([1.0, -1.0, 0.5, 0.0, 2.0])
SEARCHES: dict[str, Callable[[], Search]] = {
    "whole covariance": lambda: CovarianceSearch(START, 0.3, 12, seed=0),
    "diagonal covariance": lambda: CovarianceSearch(START, 0.3, None, seed=0, diagonal=True),
    "evolution strategy": lambda: EvolutionStrategy(START, 0.1, 16, seed=0, learning_rate=0.05),
    "random search": lambda: AugmentedRandomSearch(START, 0.1, 16, seed=0, learning_rate=0.1, top_fraction=0.5),
}


def hill(candidates: Float64Array) -> Float64Array:
    return -np.square(candidates - TOP).sum(axis=1)


def told(search: Search, generations: int) -> list[Float64Array]:
    values = []
    for _ in range(generations):
        values.append(hill(search.ask()))
        search.tell(values[-1])
    return values


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_climbs_a_hill(name: str) -> None:
    search = SEARCHES[name]()
    told(search, 80)
    assert hill(search.centre[None])[0] > -0.05 > hill(START[None])[0]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_brought_back_by_what_it_was_told(name: str) -> None:
    first, second = SEARCHES[name](), SEARCHES[name]()
    values = told(first, 7)
    np.random.default_rng(1).standard_normal(10)
    replay(second, values)
    np.testing.assert_array_equal(first.centre, second.centre)
    np.testing.assert_array_equal(first.ask(), second.ask())


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_neither_reads_nor_moves_the_global_generator(name: str) -> None:
    np.random.seed(7)
    expected = np.random.standard_normal(3)
    np.random.seed(7)
    told(SEARCHES[name](), 3)
    np.testing.assert_array_equal(np.random.standard_normal(3), expected)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_value_that_is_no_number_counts_as_the_worst(name: str) -> None:
    search = SEARCHES[name]()
    for _ in range(60):
        candidates = search.ask()
        search.tell(np.where(candidates[:, 0] > 0.0, hill(candidates), np.nan))
    assert hill(search.centre[None])[0] > -0.3


def test_directions_are_tried_both_ways() -> None:
    search = EvolutionStrategy(TOP, 0.1, 6, seed=0, learning_rate=0.1)
    assert isinstance(search, PairSearch)
    forward, backward = np.split(search.ask(), 2)
    np.testing.assert_allclose((forward + backward) / 2, np.tile(TOP, (3, 1)))


def test_what_all_candidates_share_moves_no_search() -> None:
    for make in (
        lambda: EvolutionStrategy(START, 0.1, 6, 0, 0.1),
        lambda: AugmentedRandomSearch(START, 0.1, 6, 0, 0.1),
    ):
        search = make()
        search.ask()
        search.tell(np.full(6, 3.0))
        np.testing.assert_array_equal(search.centre, START)


def test_ranks_do_not_depend_on_scale() -> None:
    values = np.array([4.0, -1.0, 2.0])
    np.testing.assert_array_equal(ranked(values), [0.5, -0.5, 0.0])
    np.testing.assert_array_equal(ranked(np.exp(values)), ranked(values))


def test_the_centres_are_those_after_each_generation_until_time_is_up() -> None:
    search, twin = SEARCHES["whole covariance"](), SEARCHES["whole covariance"]()
    found = centres_of(search, None, lambda candidates, generation: hill(candidates) if generation < 6 else None)
    told(twin, 6)
    assert len(found) == 7
    np.testing.assert_array_equal(found[0], START)
    np.testing.assert_array_equal(found[-1], twin.centre)
    np.testing.assert_array_equal(thirds(found), [found[0], found[2], found[4], found[6]])
