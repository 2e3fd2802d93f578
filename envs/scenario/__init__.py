"""One scenario: sites, pools, request classes and demand, validated as a whole."""

from tokenfleet.envs.scenario.loading import load_scenario
from tokenfleet.envs.scenario.scenario import MAX_HORIZON_S, Scenario
from tokenfleet.envs.scenario.sites import SiteSpec

__all__ = [
    "MAX_HORIZON_S",
    "Scenario",
    "SiteSpec",
    "load_scenario",
]
