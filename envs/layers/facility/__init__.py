"""Layer 2, facility: what a data centre draws besides its GPU boards, how warm its rooms get, and how racks are fed.

`servers` are the machines around the boards, `cooling` is the plant that carries their heat away, `room` is the air
around them, `rows` are racks with a limit of their own, and `hall` puts them together.
"""

from tokenfleet.envs.layers.facility.cooling import CoolingSpec, pue_at
from tokenfleet.envs.layers.facility.hall import FacilitySpec, fixed_w, it_nameplate_w, nameplate_w, pue
from tokenfleet.envs.layers.facility.room import RoomSpec, steady_room_c
from tokenfleet.envs.layers.facility.rows import RowSpec
from tokenfleet.envs.layers.facility.servers import FAN_W_PER_W, fan_w

__all__ = [
    "FAN_W_PER_W",
    "CoolingSpec",
    "FacilitySpec",
    "RoomSpec",
    "RowSpec",
    "fan_w",
    "fixed_w",
    "it_nameplate_w",
    "nameplate_w",
    "pue",
    "pue_at",
    "steady_room_c",
]
