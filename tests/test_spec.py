"""A mistyped key is answered with the right one, wherever in a description it stands."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from tokenfleet.envs import SpecError, load_scenario
from tokenfleet.envs.spec import GrowingSpec, PositiveFloat, Spec, shown


class Leaf(Spec):
    power_w: PositiveFloat = 1.0


class Other(Spec):
    price_usd: float = 1.0


class Tree(Spec):
    plain: Leaf = Leaf()
    optional: Leaf | None = None
    listed: tuple[Leaf, ...] = ()
    pair: tuple[Leaf, Other] | None = None
    named: dict[str, Leaf] = Field(default_factory=dict)
    deep: dict[str, tuple[Annotated[Leaf, Field()], ...]] | None = None
    either: Leaf | Other | None = None


@pytest.mark.parametrize(("data", "key"), [
    ({"plain": {"powr_w": 1}}, "tree.plain.powr_w"),
    ({"optional": {"powr_w": 1}}, "tree.optional.powr_w"),
    ({"listed": [{}, {"powr_w": 1}]}, "tree.listed.1.powr_w"),
    ({"pair": [{"powr_w": 1}, {}]}, "tree.pair.0.powr_w"),
    ({"named": {"mine": {"powr_w": 1}}}, "tree.named.mine.powr_w"),
    ({"deep": {"mine": [{"powr_w": 1}]}}, "tree.deep.mine.0.powr_w"),
    ({"either": {"powr_w": 1}}, "tree.either.Leaf.powr_w"),
])  # fmt: skip
def test_a_mistyped_key_is_answered_with_the_right_one(data: dict[str, object], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        Tree.parse(data, "tree")
    assert any(line.startswith(f"{key}: unknown key; did you mean 'power_w'?") for line in caught.value.problems)


@pytest.mark.parametrize(("key", "meant"), [
    ("sites.lab.battery", "energy_j"),
    ("sites.lab.solar", "peak_w"),
    ("sites.lab.facility.room", "time_constant_s"),
    ("failures", "rate_factor"),
    ("uncertainty", "pue_factor"),
])  # fmt: skip
def test_a_mistyped_key_of_a_section_that_may_be_left_out_is_answered_with_the_right_one(key: str, meant: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_scenario("tiny", {f"{key}.{meant}z": 1.0})
    assert any(f"{key}.{meant}z: unknown key; did you mean" in line for line in caught.value.problems)


def test_a_mistyped_key_of_an_event_in_a_list_is_answered_with_the_right_one() -> None:
    event = [{"depth_fractions": 0.5}]
    with pytest.raises(SpecError, match=r"demand_response\.0\.depth_fractions: .* did you mean 'depth_fraction'"):
        load_scenario("tiny", {"sites.lab.grid.demand_response": event})


def test_a_value_that_would_fill_the_screen_is_cut_off() -> None:
    with pytest.raises(SpecError) as caught:
        Tree.parse({"plain": {"power_w": ["x"] * 10_000}})
    assert len(str(caught.value)) < 300
    assert shown(10**5000) == "a number of thousands of digits"


def test_a_key_that_came_later_is_in_plain_data_only_where_the_value_is_not_the_default() -> None:
    class Grown(GrowingSpec):
        power_w: float = 1.0
        loss_fraction: float = 0.0
        rows: dict[str, float] = Field(default_factory=dict)
        later: ClassVar[tuple[str, ...]] = ("loss_fraction", "rows")

    class Whole(Spec):
        part: Grown = Grown()

    assert Whole().model_dump() == {"part": {"power_w": 1.0}}
    grown = {"power_w": 1.0, "loss_fraction": 0.1, "rows": {"a": 2.0}}
    assert Whole.parse({"part": grown}).model_dump(mode="json") == {"part": grown}
