"""What a pool allows each of its replicas, by the model that they have loaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.engine.arrays import FleetArrays


@dataclass
class Limits:
    """Bounds of a batch, patience of each class, and the value of answers."""

    max_batch: int
    token_budget: int
    kv_tokens: int
    kv_grows: bool
    watermark_tokens: int
    prefix_block_tokens: int
    host_cache_tokens: int
    host_load_s: float
    window_tokens: int
    window_ratio: float
    hands_off: bool
    patience_s: np.ndarray
    ranks_classes: bool
    priority: np.ndarray
    reserved_seats: np.ndarray
    is_variant: bool
    quality: float

    @classmethod
    def of(cls, a: FleetArrays, p: int, is_variant: bool = False) -> Limits:
        """The limits of pool `p`, with its own model or with its variant."""
        a = a.switched if is_variant else a
        return cls(
            max_batch=int(a.max_batch[p]),
            token_budget=int(a.token_budget[p]),
            kv_tokens=int(a.kv_tokens[p]),
            kv_grows=bool(a.kv_grows[p]),
            watermark_tokens=int(a.watermark_tokens[p]),
            prefix_block_tokens=int(a.prefix_block_tokens[p]),
            host_cache_tokens=int(a.host_cache_tokens[p]),
            host_load_s=float(a.host_load_s[p]),
            window_tokens=int(a.window_tokens[p]),
            window_ratio=float(a.window_ratio[p]),
            hands_off=bool(a.hand_off_to[p] >= 0),
            patience_s=a.patience_s,
            ranks_classes=bool(a.ranks_classes[p]),
            priority=a.priority,
            reserved_seats=a.reserved_seats[p],
            is_variant=is_variant,
            quality=float(a.quality[p]),
        )
