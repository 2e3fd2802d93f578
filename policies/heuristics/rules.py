"""Rules by name, one table for each thing that a policy may set; a configuration may also name a `module:Class`."""

from __future__ import annotations

from tokenfleet.policies.registry import Preset

_HERE = "tokenfleet.policies.heuristics"
_CLASSICAL, _PUBLISHED = f"{_HERE}.classical", f"{_HERE}.published"

ROUTINGS: dict[str, Preset] = {
    "round_robin": Preset(f"{_HERE}.routing:RoundRobin"),
    "capacity_weighted": Preset(f"{_HERE}.routing:CapacityWeighted"),
    "least_work": Preset(f"{_HERE}.routing:LeastWork"),
    "join_shortest_queue": Preset(f"{_CLASSICAL}.routers:JoinShortestQueue"),
    "power_of_two": Preset(f"{_CLASSICAL}.routers:PowerOfTwo"),
    "whittle": Preset(f"{_CLASSICAL}.routers:Whittle"),
    "max_weight": Preset(f"{_CLASSICAL}.weights:MaxWeight"),
    "eco_route": Preset(f"{_PUBLISHED}.voltana:EcoRoute"),
    "dynamo_kv": Preset(f"{_PUBLISHED}.dynamo_router:DynamoKvRouter"),
    "llm_d": Preset(f"{_PUBLISHED}.llmd:LlmdScorer"),
    "sglang": Preset(f"{_PUBLISHED}.cache_aware:SglangRouter"),
    "preble": Preset(f"{_PUBLISHED}.cache_aware:PrebleE2"),
    "mooncake": Preset(f"{_PUBLISHED}.cache_aware:MooncakeConductor"),
    "tapas": Preset(f"{_PUBLISHED}.tapas:TapasRouting"),
}
"""Where requests go."""

CLOCKINGS: dict[str, Preset] = {
    "full": Preset(f"{_HERE}.clocking:FullClock"),
    "proportional": Preset(f"{_HERE}.clocking:ProportionalClock"),
    "uniform": Preset(f"{_HERE}.clocking:UniformClock"),
    "feedback": Preset(f"{_HERE}.feedback:FeedbackClock"),
    "thermal": Preset(f"{_HERE}.feedback:ThermalClock"),
    "worth": Preset(f"{_HERE}.economy:WorthClock"),
    "lowest": Preset(f"{_HERE}.lowest:LowestClock"),
    "drift_plus_penalty": Preset(f"{_CLASSICAL}.drift:DriftPlusPenalty"),
    "dual_price": Preset(f"{_PUBLISHED}.dual_price:DualPrice"),
    "kv_steps": Preset(f"{_PUBLISHED}.kv_utilisation:KvSteps"),
    "kairos": Preset(f"{_PUBLISHED}.kv_utilisation:KairosClock"),
    "polca": Preset(f"{_PUBLISHED}.polca:Polca"),
    "eco_freq": Preset(f"{_PUBLISHED}.voltana:EcoFreq"),
    "throttllem": Preset(f"{_PUBLISHED}.throttllem:ThrottLLeM"),
    "greenllm": Preset(f"{_PUBLISHED}.greenllm:GreenLlm"),
    "agft": Preset(f"{_PUBLISHED}.agft:Agft"),
    "dynamollm": Preset(f"{_PUBLISHED}.dynamollm:DynamoLlmInstance"),
}
"""How fast GPUs run."""

AWAKES: dict[str, Preset] = {
    "all": Preset(f"{_HERE}.awake:AllAwake"),
    "fit_contract": Preset(f"{_HERE}.awake:FitContract"),
    "fit_deepest": Preset(f"{_HERE}.awake:FitDeepest"),
    "by_value": Preset(f"{_HERE}.awake:ByValue"),
    "by_value_of_cap": Preset(f"{_HERE}.awake:ByValue", {"follow": "all"}),
    "proportional_to_cap": Preset(f"{_HERE}.awake:ProportionalToCap"),
    "follow_demand": Preset(f"{_HERE}.awake:FollowDemand"),
    "dynamo_planner": Preset(f"{_PUBLISHED}.dynamo_planner:DynamoPlanner"),
    "dynamollm": Preset(f"{_PUBLISHED}.dynamollm:DynamoLlmPool"),
}
"""How many replicas are awake."""

ADMISSIONS: dict[str, Preset] = {
    "open": Preset(f"{_HERE}.admission:Open"),
    "backlog_gate": Preset(f"{_HERE}.admission:BacklogGate"),
    "worth_gate": Preset(f"{_HERE}.economy:WorthGate"),
    "c_mu": Preset(f"{_CLASSICAL}.weights:CMu"),
    "earliest_deadline": Preset(f"{_CLASSICAL}.weights:EarliestDeadline"),
    "llm_d": Preset(f"{_PUBLISHED}.llmd:LlmdAdmitter"),
    "mooncake": Preset(f"{_PUBLISHED}.cache_aware:MooncakeAdmission"),
    "kairos": Preset(f"{_PUBLISHED}.kv_utilisation:KairosAdmission"),
}
"""What is let in and released."""

STORAGES: dict[str, Preset] = {
    "rest": Preset(f"{_HERE}.storage:Rest"),
    "carry_events": Preset(f"{_HERE}.storage:CarryEvents"),
}
"""What batteries do."""

AFFINITIES: dict[str, Preset] = {
    "even": Preset(f"{_HERE}.affinity:FixedAffinity", {"tokens_per_token": 1.0}),
    "load_alone": Preset(f"{_HERE}.affinity:FixedAffinity", {"tokens_per_token": 0.0}),
    "sglang": Preset(f"{_PUBLISHED}.cache_aware:SglangAffinity"),
    "always_return": Preset(f"{_HERE}.affinity:FixedAffinity", {"tokens_per_token": None}),
}
"""How much calls are drawn to their contexts."""

PRICINGS: dict[str, Preset] = {
    "list": Preset(f"{_HERE}.pricing:ListPrice"),
    "by_demand": Preset(f"{_HERE}.pricing:ByDemand"),
}
"""What a token costs."""

SERVINGS: dict[str, Preset] = {
    "own_model": Preset(f"{_HERE}.serving:OwnModel"),
    "variant_for_caps": Preset(f"{_HERE}.serving:VariantForCaps"),
}
"""Which model replicas serve."""
