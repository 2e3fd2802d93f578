"""The shipped policies: data, one entry a name."""

from __future__ import annotations

from typing import Any

from tokenfleet.policies.presets import Preset

GROUPS = {
    "reference": "what others are measured against: chance, no power management, a proof",
    "baseline": "hand-made rules; none of them earns less than the middle of the action box anywhere",
    "classical": "laws of queues from textbooks",
    "published": "controllers of others, as their texts and public code have them",
}
"""Kinds of shipped policies."""

_HERE = "tokenfleet.policies.heuristics"


def _composed(group: str, **rules: Any) -> Preset:
    return Preset(f"{_HERE}.composed:ComposedPolicy", rules, group)


POLICIES: dict[str, Preset] = {
    "random": Preset(f"{_HERE}.uniform_random:RandomPolicy", group="reference"),
    "max_clock": _composed("reference", routing="capacity_weighted", clocking="full"),
    "careful_operator": _composed("reference", routing="capacity_weighted", clocking="uniform"),
    "least_work": _composed("reference", routing="least_work", clocking="proportional"),
    "feedback_capping": _composed("baseline", routing="least_work", clocking="feedback", awake="by_value"),
    "operator": _composed("baseline", routing={"name": "least_work", "spread_s": 3.0},
        clocking={"name": "feedback", "brake_share": 0.3}, awake="by_value", admission="backlog_gate",
        storage="carry_events", pricing="by_demand"),
    "greedy_efficiency": Preset(f"{_HERE}.greedy:GreedyEfficiency", group="baseline"),
    "supervisor": Preset(f"{_HERE}.supervisor:Supervisor", group="baseline"),
}
"""The shipped policies by name; `register_policy` adds to it."""
