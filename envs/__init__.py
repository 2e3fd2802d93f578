"""Simulated fleets: sites, fleets, demand, and the Gymnasium environments over them.

Importing this package registers `tokenfleet/Fleet-v0`, and an id for each shipped scenario, as `tokenfleet/Tiny-v0`:

>>> import gymnasium
>>> env = gymnasium.make("tokenfleet:tokenfleet/Fleet-v0", scenario="tiny", engine="reference")
>>> observation, info = env.reset(seed=0)
"""

if __name__ != "tokenfleet.envs":
    raise ImportError("import tokenfleet.envs, not envs (a plain `envs` would load everything a second time)")

from tokenfleet.envs.fleet import FleetEnv
from tokenfleet.envs.interface.action import Action, FleetAction
from tokenfleet.envs.interface.observation import FleetObservation, Observation
from tokenfleet.envs.interface.reward import NetValue, Reward
from tokenfleet.envs.layers.scheduling import Controls
from tokenfleet.envs.registration import register_all
from tokenfleet.envs.rows import Record
from tokenfleet.envs.scenario import Scenario, load_scenario
from tokenfleet.envs.spec import SpecError
from tokenfleet.envs.vector import FleetVectorEnv

__all__ = [
    "Action",
    "Controls",
    "FleetAction",
    "FleetEnv",
    "FleetObservation",
    "FleetVectorEnv",
    "NetValue",
    "Observation",
    "Record",
    "Reward",
    "Scenario",
    "SpecError",
    "load_scenario",
]

register_all()
