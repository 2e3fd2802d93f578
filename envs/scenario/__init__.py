"""One scenario: sites, pools, request classes and demand, validated as a whole.

| module | subject |
|---|---|
| `scenario` | its keys, and what follows from them: begin here |
| `sites`, `pools`, `sleep`, `variants`, `training`, `regimes`, `uncertainty` | its sections |
| `checks` | what is wrong with how they fit together |
| `loading` | a scenario from a name, a file or plain data, with overrides |
| `axes`, `network`, `capacity` | sizes, what lies between regions, sites and pools, what pools can serve |
| `provenance` | where coefficients come from |
| `generator` | scenarios drawn from ranges |
| `shift` | scenarios that differ on purpose from the one trained on |
"""

from tokenfleet.envs.scenario.checks import MAX_HORIZON_S
from tokenfleet.envs.scenario.loading import load_scenario
from tokenfleet.envs.scenario.scenario import Scenario
from tokenfleet.envs.scenario.shift import ShiftSpec, shifted
from tokenfleet.envs.scenario.sites import SiteSpec

__all__ = [
    "MAX_HORIZON_S",
    "Scenario",
    "ShiftSpec",
    "SiteSpec",
    "load_scenario",
    "shifted",
]
