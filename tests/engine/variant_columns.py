"""Random variants for engine tests: other models for some pools, and controls that switch to them and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.engine.site_columns import places
from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.columns.models import ModelColumns
from tokenfleet.envs.fields import OUTCOMES, VIEW
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.quantities import quantities_of
from tokenfleet.envs.rows import Layout

SCALED = (
    *("host_s", "token_s", "decode_s", "context_s", "mixed_context_s", "prefill_attention_s"),
    *("work_j", "context_j", "token_j", "attention_j", "host_load_s"),
)


def with_variants(rng: np.random.Generator, arrays: FleetArrays) -> FleetArrays:
    """Variants of about two thirds of the pools, and of one at the least: other sizes, speeds, watts and wake times."""
    has = rng.random(arrays.num_pools) < 0.6
    has[rng.integers(arrays.num_pools)] = True
    sizes = {**arrays.view.sizes, "v": int(has.sum())}
    own = {column.name: getattr(arrays, column.name)[has] for column in quantities_of(ModelColumns)}
    count = int(has.sum())
    factor = rng.choice([0.25, 0.5, 1.0, 2.0], (len(SCALED), count))
    scaled = {name: (own[name].T * f).T for name, f in zip(SCALED, factor, strict=True)}
    space = rng.choice([0.5, 1.0, 2.0], count)
    tokens = {
        name: np.minimum(own[name] * space, 2.0**40).astype(np.int64)
        for name in ("kv_tokens", "watermark_tokens", "host_cache_tokens")
    }
    waits = {name: rng.choice([0.0, 0.5, 1.0, 3.0], count) for name in ("load_s", "resume_s")}
    variants = {
        **own,
        **scaled,
        **{**tokens, "kv_tokens": np.maximum(tokens["kv_tokens"], 1)},
        **waits,
        "wake_s": waits["load_s"] + rng.choice([0.0, 1.0], count),
        "quality": rng.choice([0.0, 0.5, 0.9, 1.0], count),
    }
    limit = arrays.kv_tokens.copy()
    limit[has] = np.minimum(limit[has], variants["kv_tokens"])
    decodes = np.where(arrays.hand_off_to >= 0, arrays.hand_off_to, np.arange(arrays.num_pools))
    return replace(
        arrays,
        variant=places(has),
        load_s=arrays.wake_s * rng.choice([0.5, 1.0], arrays.num_pools),
        context_limit_tokens=np.minimum(limit, limit[decodes]),
        variants=ModelColumns(**variants),
        view=Layout(VIEW, sizes),
        outcome=Layout(OUTCOMES, sizes),
    )


def with_switches(rng: np.random.Generator, arrays: FleetArrays, tape: list[Controls]) -> list[Controls]:
    """The same controls, and models that are switched every few ticks, often before the last switch is over."""
    asked = rng.choice([0.0, 0.0, 0.4, 1.0, 1.0], (1, arrays.num_pools))
    switching = []
    for tick in tape:
        if rng.random() < 0.3:
            asked = rng.choice([0.0, 0.0, 0.4, 1.0, 1.0], (1, arrays.num_pools))
        switching.append(replace(tick, variant_fraction=asked))
    return switching
