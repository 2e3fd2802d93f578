// What a pool has drawn and counted in a tick: the C++ mirror of envs/engine/reference/pool_meter.py, and the counts.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "arrays.hpp"
#include "pool_state.hpp"
#include "replicas.hpp"

namespace tokenfleet {

// What the servers around boards that took `boards_j` took in the tick.
inline double host_j(const Replica& replica, const Pool& pool, double tick_s, double boards_j, double power_factor) {
    double steady_w = replica.state == State::kAsleep    ? pool.host_asleep_w
                      : replica.state == State::kStandby ? pool.host_standby_w
                                                         : pool.host_w;
    if (replica.state == State::kDark || replica.state == State::kFailed) steady_w = 0.0;
    return (steady_w * tick_s + pool.host_w_per_board_w * boards_j) * power_factor;
}

// Bring every replica of a pool to the end of a tick, and write what they have drawn and counted in it.
inline void meter_pool(PoolState& pool, Replicas& replicas, double tick_s, double end_s, double host_power_factor,
                       const Outcome& outcome) {
    const double last_s = std::nextafter(end_s, 0.0);  // a boundary at the end of the tick belongs to the next
    const std::int64_t p = pool.index;
    BoardEnergy boards;
    double hosts_j = 0.0;
    for (Replica& replica : replicas.of(p)) {
        replicas.pass_boundaries(replicas.index_of(replica), last_s);
        replica.meter(end_s);
        const BoardEnergy energy = replica.take_energy();
        boards.busy_j += energy.busy_j;
        boards.idle_j += energy.idle_j;
        boards.asleep_j += energy.asleep_j;
        hosts_j += host_j(replica, pool.limits, tick_s, energy.total_j(), host_power_factor);
    }
    outcome(Outcome::busy_energy_j, p) = boards.busy_j;
    outcome(Outcome::idle_energy_j, p) = boards.idle_j;
    outcome(Outcome::asleep_energy_j, p) = boards.asleep_j;
    outcome(Outcome::host_energy_j, p) = hosts_j;
    outcome(Outcome::it_energy_j, p) = boards.total_j() + hosts_j;
    for (std::size_t i = 0; i < Counts::kNumCounts; ++i) {
        outcome(Counts::kOutcomes[i], p) = static_cast<double>(pool.counts.values[i]);
    }
    pool.counts = {};
}

}  // namespace tokenfleet
