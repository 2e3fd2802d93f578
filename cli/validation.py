"""Validation while training: the same held-out episodes every time, through the one evaluation that there is."""

from __future__ import annotations

from functools import partial

import numpy as np
from gymnasium.vector import AutoresetMode

from tokenfleet.cli.environments import make_vector_env
from tokenfleet.configs.schema import TrainConfig
from tokenfleet.envs.fleets.plans import PolicyPredictor
from tokenfleet.evaluation.candidates import Candidate
from tokenfleet.evaluation.episodes import evaluate_policy


def validation_metrics(config: TrainConfig, policy: PolicyPredictor) -> dict[str, float]:
    """Mean of every metric over the validation episodes, `return` among them."""
    validation = config.validation
    rows = evaluate_policy(
        partial(make_vector_env, config, split="validation", autoreset_mode=AutoresetMode.NEXT_STEP),
        Candidate(policy, "validation", learned=True),
        validation.episodes,
        validation.seed,
        batch_size=validation.n_envs,
    )
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.metrics.items():
            if np.isfinite(value):
                values.setdefault(name, []).append(value)
    return {name: float(np.mean(found)) for name, found in values.items()}
