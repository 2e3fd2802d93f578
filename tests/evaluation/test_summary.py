"""What is said of a study is what its numbers say."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.evaluation.synthetic import fleet_rows, row, rows_of
from tokenfleet.envs.spec import SpecError
from tokenfleet.evaluation.summary import summarise, summary_csv, verdict

RNG = np.random.default_rng(0)
DIFFICULTY = RNG.normal(0.0, 1.0, 40)


def learned(policy: str, values: object, seed: int = 0) -> list[object]:
    return rows_of(policy, values, algorithm="ppo", training_seed=seed, learned=True)  # type: ignore[arg-type, return-value]


def test_policies_are_ranked_by_net_value_and_compared_with_the_best_baseline() -> None:
    summary = summarise(fleet_rows())
    assert summary.ranking == ("ppo", "least_work", "careful_operator", "max_clock", "random")
    assert summary.headline.name == "net_value_usd"
    assert summary.reference == "least_work"
    own = summary.estimates["least_work"]["net_value_usd"]
    assert (own.difference.low, own.difference.high, own.improvement.estimate) == (0.0, 0.0, 0.5)


def test_the_reference_can_be_chosen_and_must_exist() -> None:
    assert summarise(fleet_rows(), reference="random").reference == "random"
    with pytest.raises(SpecError, match="did you mean 'random'"):
        summarise(fleet_rows(), reference="randm")


def test_estimates_are_means_over_episodes_and_training_seeds() -> None:
    rows = fleet_rows()
    summary = summarise(rows)
    values = [row.metrics["net_value_usd"] for row in rows if row.algorithm == "ppo"]
    assert summary.estimates["ppo"]["net_value_usd"].mean.estimate == pytest.approx(np.mean(values))


def test_fewer_is_better_where_the_metric_says_so() -> None:
    above = {"calm": [0.0, 1.0, 0.0], "hot": [5.0, 6.0, 7.0]}
    rows = [
        row(policy, 100 + i, {"return": 0.0, "above_cap_s": value})
        for policy, values in above.items()
        for i, value in enumerate(values)
    ]
    estimates = summarise(rows, reference="hot").estimates["calm"]["above_cap_s"]
    assert estimates.difference.estimate == pytest.approx(-17 / 3)
    assert estimates.improvement.estimate == 1.0


def test_a_foreign_environment_is_ranked_by_return() -> None:
    summary = summarise(rows_of("a", [1.0, 2.0], "return") + rows_of("b", [3.0, 4.0], "return"))
    assert (summary.headline.name, summary.ranking) == ("return", ("b", "a"))


def test_rows_without_anything_to_rank_by_are_refused() -> None:
    with pytest.raises(SpecError, match="neither net_value_usd nor return"):
        summarise(rows_of("a", [1.0], "above_cap_s"))


def test_a_policy_without_numbers_ranks_last() -> None:
    summary = summarise(rows_of("a", [float("nan")] * 2) + rows_of("b", [-3.0, -4.0]))
    assert summary.ranking == ("b", "a")
    assert summary.estimates["a"]["net_value_usd"].missing == 2
    assert verdict(summary)


def test_a_lead_that_intervals_hide_and_pairing_shows_is_called_a_lead() -> None:
    noise = RNG.normal(0.0, 0.05, 40)
    summary = summarise(rows_of("a", DIFFICULTY + 0.1 + noise) + rows_of("b", DIFFICULTY))
    assert "a has the highest net value" in verdict(summary)[0]
    assert "It leads b on the same episodes (although their separate intervals overlap)" in verdict(summary)[0]


def test_a_lead_that_could_be_chance_is_called_that() -> None:
    summary = summarise(rows_of("a", DIFFICULTY + RNG.normal(0.0, 1.0, 40)) + rows_of("b", DIFFICULTY + 0.001))
    assert "could be chance" in verdict(summary)[0]


def test_a_learned_policy_is_placed_among_the_baselines() -> None:
    baselines = [one for i, name in enumerate("abcd") for one in rows_of(name, DIFFICULTY - i)]
    text = verdict(summarise([*baselines, *learned("ppo-seed0", DIFFICULTY - 1.5)]))[1]
    assert text.startswith("ppo-seed0 (learned) ranks 3 of 5, above 2 of 4 baselines.")
    assert "It is below the best baseline (a): -1.50" in text
    # Of four baselines the better of the middle two is the median.
    assert "It is below the median baseline (b): -0.50" in text
    assert "better in 0 % of episodes" in text


def test_what_the_study_cannot_say_is_said() -> None:
    rows = [*rows_of("a", [1.0, 2.0, 3.0]), *learned("ppo-seed0", [1.0, 2.0, 4.0])]
    caveats = " ".join(verdict(summarise(rows))[2:])
    assert "Only 3 episodes" in caveats
    assert "Trained once: ppo-seed0" in caveats
    both = [*rows, *learned("ppo-seed1", [1.0, 2.0], seed=1)]
    caveats = " ".join(verdict(summarise(both))[2:])
    assert "Trained a few times: ppo (2 times)" in caveats
    assert "Left out: 1 episode that not every policy met." in caveats


def test_one_policy_alone_gets_no_comparison() -> None:
    assert verdict(summarise(rows_of("a", DIFFICULTY))) == []


def test_the_summary_file_has_a_line_per_policy_and_metric() -> None:
    summary = summarise(fleet_rows())
    lines = list(csv.DictReader(io.StringIO(summary_csv(summary))))
    assert len(lines) == 5 * len(summary.study.columns)
    first = next(line for line in lines if (line["policy"], line["metric"]) == ("ppo", "net_value_usd"))
    assert (first["rank"], first["training_seeds"], first["episodes"], first["unit"]) == ("1", "3", "40", "USD")
    assert float(first["mean_low"]) < float(first["mean"]) < float(first["mean_high"])
    assert float(first["iqm_low"]) < float(first["iqm"]) < float(first["iqm_high"])
    assert first["reference"] == "least_work"
    unknown = next(line for line in lines if (line["policy"], line["metric"]) == ("random", "ttft_p99_s/batch"))
    assert (unknown["mean"], unknown["missing"]) == ("nan", "40")
