// Which replicas of a pool are awake: the C++ mirror of envs/engine/reference/power_states.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <ranges>
#include <span>

#include "arrays.hpp"
#include "replica.hpp"

namespace tokenfleet {

inline void wake(Replica& replica, const Pool& pool, double now_s) {
    replica.state = State::kWaking;
    replica.ready_s = now_s + pool.wake_s;
}

// Bring the number of replicas that are awake or waking to `target`, the cheapest change first.
inline void reach(std::span<Replica> replicas, const Pool& pool, double now_s, std::int64_t target) {
    std::int64_t up = 0;
    for (const auto& replica : replicas) up += replica.state == State::kAwake || replica.state == State::kWaking;
    if (up == target) return;
    for (const State state : {State::kDraining, State::kAsleep}) {
        for (auto& replica : replicas) {
            if (up >= target || replica.state != state) continue;
            if (state == State::kDraining) {
                replica.state = State::kAwake;
            } else {
                wake(replica, pool, now_s);
            }
            ++up;
        }
    }
    for (const State state : {State::kWaking, State::kAwake}) {
        for (auto& replica : std::views::reverse(replicas)) {
            if (up <= target || replica.state != state) continue;
            replica.state = state == State::kWaking ? State::kAsleep : State::kDraining;
            --up;
        }
    }
}

// A share of a replica that a policy asks for is a whole one, but for so little, which float32 actions round up.
inline constexpr double kRoundedReplicas = 1e-4;

// One tick of a pool that has power: boot, wake, drain or fall asleep as asked.
inline void follow(std::span<Replica> replicas, const Pool& pool, double awake_fraction, double now_s) {
    for (auto& replica : replicas) {
        if (replica.state == State::kDark) wake(replica, pool, now_s);
    }
    const double wanted = awake_fraction * static_cast<double>(pool.replicas);
    reach(replicas, pool, now_s, static_cast<std::int64_t>(std::ceil(wanted - kRoundedReplicas)));
    for (auto& replica : replicas) {
        if (replica.state == State::kWaking && replica.ready_s <= now_s) replica.state = State::kAwake;
        if (replica.state == State::kDraining && replica.is_idle()) {
            replica.state = State::kAsleep;
            replica.forget_prefixes();
        }
    }
}

}  // namespace tokenfleet
