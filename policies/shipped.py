"""The shipped policies: data, one entry a name."""

from __future__ import annotations

from typing import Any

from tokenfleet.policies.presets import Preset

CHECKPOINT = "checkpoint"
"""Name of the policy whose weights come from a folder."""
LOADED = "loaded"
"""Group of the policies that need a folder."""
GROUPS = {
    "reference": "one plain idea each: chance, no power management, a rule of thumb, a proof, a meter, few replicas",
    "baseline": "the best hand-made rules",
    "variant": "one idea each beside `feedback_capping` or `operator`, to see what the idea is worth",
    "classical": "laws of queues from textbooks, made into rules",
    "trained": "weights that a search found on many drawn fleets, for any fleet",
    "form": "a form whose numbers a search finds; without any it acts as `supervisor` does",
    LOADED: "weights from the folder of a checkpoint or run, which `folder` names; there is none without",
    "published": "controllers of others, as their texts and public code have them",
    "planner": "choose by simulating copies of the fleet (each beside its placebo), or by a linear programme",
}
"""Kinds of shipped policies."""

_HERE = "tokenfleet.policies.heuristics"
_WIDE = {"name": "least_work", "spread_s": 1.0, "context_spread_s": 10.0}

_OPERATOR = {
    "routing": _WIDE,
    "clocking": {"name": "lowest", "of": [{"name": "thermal", "brake_share": 0.5}, "worth"]},
    "awake": "by_value",
    "admission": "backlog_gate",
    "storage": "carry_events",
    "pricing": {"name": "by_demand", "quiet": 0.9, "full_s": 60.0},
    "serving": "variant_for_caps",
}


def _composed(group: str, **rules: Any) -> Preset:
    return Preset(f"{_HERE}.composed:ComposedPolicy", rules, group)


def _router(group: str, routing: Any, **rules: Any) -> Preset:
    """A composition with the clocks and awake replicas of `feedback_capping`, unless `rules` sets others."""
    return _composed(group, routing=routing, **{"clocking": "feedback", "awake": "by_value", **rules})


def _raw(clocking: Any, **rules: Any) -> Preset:
    """A clock rule that ignores caps, on its own."""
    return _composed("published", **{"routing": _WIDE, "clocking": clocking, "awake": "by_value", **rules})


def _capped(clocking: str, **rules: Any) -> Preset:
    """`_raw` with the lower of its clocks and those of `feedback_capping`."""
    return _raw({"name": "lowest", "of": [clocking, "feedback"]}, **rules)


def _rollout(**parameters: Any) -> Preset:
    return Preset("tokenfleet.policies.planning.rollout:Rollout", parameters, "planner")


PLACEBO_SIZE = 1e-4
"""Size of a placebo's alternatives, too small to matter."""

POLICIES: dict[str, Preset] = {
    "random": Preset(f"{_HERE}.uniform_random:RandomPolicy", group="reference"),
    "max_clock": _composed("reference", routing="capacity_weighted", clocking="full"),
    "least_work": _composed("reference", routing="least_work", clocking="proportional"),
    "careful_operator": _composed("reference", routing="capacity_weighted", clocking="uniform"),
    "feedback_capping": _composed("reference", routing=_WIDE, clocking="feedback", awake="by_value"),
    "greedy_efficiency": Preset(f"{_HERE}.greedy:GreedyEfficiency", group="reference"),
    "operator": _composed("baseline", **_OPERATOR),
    "supervisor": Preset(f"{_HERE}.supervisor:Supervisor", group="baseline"),
    "linear_feedback": Preset(f"{_HERE}.linear.policy:LinearFeedback", group="form"),
    "generalist": Preset("tokenfleet.policies.generalist.policy:Generalist", group="trained"),
    CHECKPOINT: Preset("tokenfleet.policies.learned.as_policy:CheckpointPolicy", group=LOADED),
    "operator_with_cap": _composed("variant", **{**_OPERATOR, "awake": "by_value_of_cap"}),
    "awake_with_cap": _router("variant", _WIDE, awake="proportional_to_cap"),
    "awake_with_demand": _router("variant", _WIDE, awake="follow_demand"),
    "gate_backlog": _router("variant", _WIDE, admission="backlog_gate"),
    "spend_brake": _router("variant", _WIDE, clocking={"name": "feedback", "brake_share": 0.3}),
    "stay_cool": _router("variant", _WIDE, clocking="thermal"),
    "battery_for_events": _router("variant", _WIDE, storage="carry_events"),
    "brown_out": _router("variant", _WIDE, serving="variant_for_caps"),
    "mind_energy": _router("variant", _WIDE, clocking={"name": "lowest", "of": ["worth", "feedback"]}),
    "gate_by_worth": _router("variant", _WIDE, admission="worth_gate"),
    "price_by_demand": _router("variant", _WIDE, pricing="by_demand"),
    "join_shortest_queue": _router("classical", "join_shortest_queue"),
    "power_of_two": _router("classical", "power_of_two"),
    "whittle": _router("classical", "whittle"),
    "max_weight": _router("classical", "max_weight"),
    "c_mu": _router("classical", _WIDE, admission="c_mu"),
    "earliest_deadline": _router("classical", _WIDE, admission="earliest_deadline"),
    "drift_plus_penalty": _router("classical", _WIDE, clocking="drift_plus_penalty"),
    "dual_price": _router("published", _WIDE, clocking="dual_price"),
    "kv_steps": _raw("kv_steps"),
    "kv_steps_capped": _capped("kv_steps"),
    "polca": _raw("polca"),
    "voltana": _raw("eco_freq", routing="eco_route"),
    "voltana_capped": _capped("eco_freq", routing="eco_route"),
    "dynamo_planner": _raw("full", awake="dynamo_planner"),
    "dynamo_planner_capped": _capped("full", awake="dynamo_planner"),
    "llm_d": _router("published", "llm_d", admission="llm_d", affinity="always_return"),
    "sglang": _router("published", "sglang", affinity="sglang"),
    "agft": _raw("agft"),
    "agft_capped": _capped("agft"),
    "greenllm": _raw("greenllm"),
    "greenllm_capped": _capped("greenllm"),
    "kairos": _raw("kairos", admission="kairos"),
    "kairos_capped": _capped("kairos", admission="kairos"),
    "dynamo_kv": _router("published", "dynamo_kv"),
    "throttllem": _raw("throttllem"),
    "throttllem_capped": _capped("throttllem"),
    "dynamollm": _raw("dynamollm", awake="dynamollm"),
    "dynamollm_capped": _capped("dynamollm", awake="dynamollm"),
    "mooncake": _router("published", "mooncake", admission="mooncake"),
    "preble": _router("published", "preble"),
    "tapas": _router("published", "tapas", clocking="thermal"),
    "rolling_horizon": Preset(
        "tokenfleet.policies.planning.rolling:RollingHorizon",
        {"routing": _WIDE, "clocking": "feedback", "awake": "by_value"},
        "planner",
    ),
    "rollout": _rollout(),
    "rollout_placebo": _rollout(size=PLACEBO_SIZE),
    "rollout_clairvoyant": _rollout(future="same"),
    "rollout_clairvoyant_placebo": _rollout(future="same", size=PLACEBO_SIZE),
}
"""The shipped policies by name; `register_policy` adds to it."""
