"""Rules by name, one table for each thing that a policy may set; a configuration may also name a `module:Class`."""

from __future__ import annotations

from tokenfleet.policies.registry import Preset

_HERE = "tokenfleet.policies.heuristics"
_CLASSICAL, _PUBLISHED = f"{_HERE}.classical", f"{_HERE}.published"

ROUTINGS: dict[str, Preset] = {
    "round_robin": Preset(f"{_HERE}.routing:RoundRobin"),
    "capacity_weighted": Preset(f"{_HERE}.routing:CapacityWeighted"),
    "least_work": Preset(f"{_HERE}.routing:LeastWork"),
}
"""Where requests go."""

CLOCKINGS: dict[str, Preset] = {
    "full": Preset(f"{_HERE}.clocking:FullClock"),
    "proportional": Preset(f"{_HERE}.clocking:ProportionalClock"),
    "uniform": Preset(f"{_HERE}.clocking:UniformClock"),
    "feedback": Preset(f"{_HERE}.feedback:FeedbackClock"),
    "thermal": Preset(f"{_HERE}.feedback:ThermalClock"),
    "lowest": Preset(f"{_HERE}.lowest:LowestClock"),
}
"""How fast GPUs run."""

AWAKES: dict[str, Preset] = {
    "all": Preset(f"{_HERE}.awake:AllAwake"),
    "fit_contract": Preset(f"{_HERE}.awake:FitContract"),
    "fit_deepest": Preset(f"{_HERE}.awake:FitDeepest"),
    "by_value": Preset(f"{_HERE}.awake:ByValue"),
    "proportional_to_cap": Preset(f"{_HERE}.awake:ProportionalToCap"),
    "follow_demand": Preset(f"{_HERE}.awake:FollowDemand"),
}
"""How many replicas are awake."""

ADMISSIONS: dict[str, Preset] = {
    "open": Preset(f"{_HERE}.admission:Open"),
    "backlog_gate": Preset(f"{_HERE}.admission:BacklogGate"),
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
    "always_return": Preset(f"{_HERE}.affinity:FixedAffinity", {"tokens_per_token": float("inf")}),
}
"""How much calls are drawn to their contexts."""

PRICINGS: dict[str, Preset] = {
    "list": Preset(f"{_HERE}.pricing:ListPrice"),
    "by_demand": Preset(f"{_HERE}.pricing:ByDemand"),
}
"""What a token costs."""
