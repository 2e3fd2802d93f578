"""Layer 4, models: what an entry leaves out and its shape says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VOCABULARY = 128_000
WAKE_FIXED_S = 6.2
WAKE_S_PER_BYTE = 1.48e-9
"""A line through the start-up of Llama 3.1 8B (30 s) and 70B (215 s), both in bf16; an assumption for other models."""


def with_left_out(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its active parameters and its time to wake, where it leaves them out.

    An entry whose numbers are no numbers stays as it is: other checks say so.

    >>> shape = {"parameters": 8.03e9, "hidden_dim": 4096, "vocabulary": 128256}
    >>> found = with_left_out(shape)
    >>> round(found["active_parameters"] / 1e9, 3), found["wake_s"]
    (7.505, 30.0)
    """
    if "active_parameters" in entry and "wake_s" in entry:
        return dict(entry)
    try:
        found = {"active_parameters": _active_parameters(entry), "wake_s": _wake_s(entry)}
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return dict(entry)
    added = [name for name in found if name not in entry]
    source = f"{', '.join(added)}: assumption, from the entry's shape"
    return {**found, **entry, "sources": (*(entry.get("sources") or ()), source)}


def _active_parameters(entry: Mapping[str, Any]) -> float:
    width = entry.get("hidden_dim") or entry["attention_heads"] * entry["head_dim"]
    embedding = float(entry.get("vocabulary", VOCABULARY)) * float(width)
    taken = float(entry.get("experts_per_token", 1)) / float(entry.get("experts", 1))
    return float(entry["parameters"]) - embedding - float(entry.get("expert_parameters", 0.0)) * (1.0 - taken)


def _wake_s(entry: Mapping[str, Any]) -> float:
    per_weight = float(entry.get("bytes_per_parameter", 2.0))
    expert_bytes = entry.get("bytes_per_expert_parameter")
    per_expert_weight = per_weight if expert_bytes is None else float(expert_bytes)
    of_experts = float(entry.get("expert_parameters", 0.0))
    weight_bytes = (float(entry["parameters"]) - of_experts) * per_weight + of_experts * per_expert_weight
    return round(WAKE_FIXED_S + WAKE_S_PER_BYTE * weight_bytes, 1)
