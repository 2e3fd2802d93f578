"""What a pool has drawn in a tick, boards and servers."""

from __future__ import annotations

from collections.abc import Sequence

from tokenfleet.envs.engine.arrays import FleetArrays
from tokenfleet.envs.engine.reference.activity import State
from tokenfleet.envs.engine.reference.replica import Replica
from tokenfleet.envs.rows import Record


def write_energy(
    outcome: Record, a: FleetArrays, p: int, replicas: Sequence[Replica], host_power_factor: float
) -> None:
    """Write what the replicas of pool `p` have drawn since the last call."""
    for replica in replicas:
        boards = replica.take_energy()
        boards_j = boards.busy_j + boards.idle_j + boards.asleep_j
        host_j = _host_j(replica, a, p, boards_j, host_power_factor)
        outcome["busy_energy_j"][0, p] += boards.busy_j
        outcome["idle_energy_j"][0, p] += boards.idle_j
        outcome["asleep_energy_j"][0, p] += boards.asleep_j
        outcome["host_energy_j"][0, p] += host_j
        outcome["it_energy_j"][0, p] += boards_j + host_j


def _host_j(replica: Replica, a: FleetArrays, p: int, boards_j: float, host_power_factor: float) -> float:
    """Energy of a replica's servers in the tick; its boards drew `boards_j`."""
    resting_w = {State.ASLEEP: a.host_asleep_w[p], State.STANDBY: a.host_standby_w[p]}
    steady_w = float(resting_w.get(replica.state, a.host_w[p]))
    if replica.state in (State.DARK, State.FAILED):
        steady_w = 0.0
    host_j = steady_w * a.tick_s + float(a.host_w_per_board_w[p]) * boards_j
    return host_j * host_power_factor
