"""Rows of a study that never ran, with known answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokenfleet.evaluation.results import EpisodeRow

SEEDS = tuple(range(100, 140))


def row(
    policy: str = "least_work", seed: int = 100, metrics: dict[str, float] | None = None, **identity: object
) -> EpisodeRow:
    values: dict[str, object] = {
        "policy": policy,
        "algorithm": policy,
        "training_seed": None,
        "learned": False,
        "environment": "tokenfleet/Fleet-v0",
        "scenario": "tiny",
        "split": "test",
        "config_hash": "0123456789ab",
        "episode": seed - 100,
        "seed": seed,
        "metrics": {"net_value_usd": 1.0} if metrics is None else metrics,
    }
    return EpisodeRow(**(values | identity))  # type: ignore[arg-type]


def rows_of(
    policy: str, values: Sequence[float], metric: str = "net_value_usd", **identity: object
) -> list[EpisodeRow]:
    return [row(policy, 100 + i, {metric: float(value)}, **identity) for i, value in enumerate(values)]


def fleet_rows(episodes: int = 40) -> list[EpisodeRow]:
    """Four baselines and three training seeds of PPO on a common set of episodes of varying difficulty."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.0, 0.3, episodes)
    levels = {"least_work": 2.0, "careful_operator": 1.9, "max_clock": 1.2, "random": 0.4}
    rows = []
    for policy, level in levels.items():
        rows += _fleet_rows(policy, level, difficulty, rng)
    for training_seed in range(3):
        who = {"algorithm": "ppo", "training_seed": training_seed, "learned": True}
        rows += _fleet_rows(f"ppo-seed{training_seed}", 2.1 + 0.03 * training_seed, difficulty, rng, **who)
    return rows


def _fleet_rows(
    policy: str, level: float, difficulty: np.ndarray, rng: np.random.Generator, **identity: object
) -> list[EpisodeRow]:
    rows = []
    for i, shift in enumerate(difficulty):
        value = level + shift + rng.normal(0.0, 0.05)
        metrics = {
            "return": value / 3.0,
            "length_steps": 60.0,
            "net_value_usd": value,
            "goodput_tokens_per_s": 1500.0 * level + 100.0 * shift,
            "slo_attainment": min(1.0, 0.5 + 0.2 * level),
            "tokens_per_joule": 0.4 + 0.1 * level,
            "above_cap_s": max(0.0, 10.0 * (2.0 - level) + rng.normal(0.0, 1.0)),
            "brakes": float(rng.poisson(max(0.0, 2.0 - level))),
            "trips": 0.0,
            "ttft_p99_s/chat": 0.5 / level,
            "ttft_p99_s/batch": float("nan") if policy == "random" else 3.0 / level,
        }
        rows.append(row(policy, 100 + i, metrics, **identity))
    return rows
