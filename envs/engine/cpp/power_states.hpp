// Which replicas of a pool are awake: the C++ mirror of envs/engine/reference/power_states.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <ranges>
#include <span>

#include "arrays.hpp"
#include "replica.hpp"

namespace tokenfleet {

inline void begin(Replica& replica, State state, double ready_s) {
    replica.state = state;
    replica.ready_s = ready_s;
}

inline std::int64_t number_of(std::span<const Replica> replicas, std::initializer_list<State> states) {
    return std::ranges::count_if(
        replicas, [&](const Replica& replica) { return std::ranges::find(states, replica.state) != states.end(); });
}

// Bring the number of replicas that are awake or waking to `target`, the cheapest change first. What loads its model goes
// on loading, be it to wake or to stand by. True if anything changes.
inline bool reach(std::span<Replica> replicas, const Pool& pool, double now_s, std::int64_t target) {
    std::int64_t up = number_of(replicas, {State::kAwake, State::kWaking, State::kResuming});
    if (up == target) return false;
    for (const State state : {State::kDraining, State::kStandby, State::kPreparing, State::kAsleep}) {
        for (auto& replica : replicas) {
            if (up >= target || replica.state != state) continue;
            if (state == State::kDraining) {
                replica.state = State::kAwake;
            } else if (state == State::kStandby) {
                begin(replica, State::kResuming, now_s + pool.resume_s);
            } else if (state == State::kPreparing) {
                replica.state = State::kWaking;
            } else {
                begin(replica, State::kWaking, now_s + pool.wake_s);
            }
            ++up;
        }
    }
    for (const State state : {State::kWaking, State::kResuming, State::kAwake}) {
        for (auto& replica : std::views::reverse(replicas)) {
            if (up <= target || replica.state != state) continue;
            replica.state = state == State::kWaking     ? State::kPreparing
                            : state == State::kResuming ? State::kStandby
                                                        : State::kDraining;
            --up;
        }
    }
    return true;
}

// Bring the number of replicas that stand by, or prepare to, to `target`; who drains is about to.
inline void stand(std::span<Replica> replicas, const Pool& pool, double now_s, std::int64_t target) {
    std::int64_t standing = number_of(replicas, {State::kStandby, State::kPreparing});
    for (const State state : {State::kPreparing, State::kStandby}) {
        for (auto& replica : std::views::reverse(replicas)) {
            if (standing <= target || replica.state != state) continue;
            replica.state = State::kAsleep;
            --standing;
        }
    }
    if (target == 0) return;
    standing += number_of(replicas, {State::kDraining});
    for (auto& replica : replicas) {
        if (standing >= target || replica.state != State::kAsleep) continue;
        begin(replica, State::kPreparing, now_s + pool.wake_s);
        ++standing;
    }
}

// A share of a replica that a policy asks for is a whole one, but for so little, which float32 actions round up.
inline constexpr double kRoundedReplicas = 1e-4;

inline std::int64_t replicas_asked_for(const Pool& pool, double fraction) {
    return static_cast<std::int64_t>(std::ceil(fraction * static_cast<double>(pool.replicas) - kRoundedReplicas));
}

// One tick of a pool that has power: boot, wake, drain, stand by or fall asleep as asked.
inline void follow(std::span<Replica> replicas, const Pool& pool, double awake_fraction, double standby_fraction,
                   double now_s) {
    for (auto& replica : replicas) {
        if (replica.state == State::kDark) begin(replica, State::kWaking, now_s + pool.wake_s);
    }
    const std::int64_t awake = replicas_asked_for(pool, awake_fraction);
    std::int64_t standby = 0;
    if (pool.standby >= 0) {
        const std::int64_t left = pool.replicas - awake, asked = replicas_asked_for(pool, standby_fraction);
        standby = std::max<std::int64_t>(std::min(asked, left), 0);
    }
    if (reach(replicas, pool, now_s, awake) || pool.standby >= 0) stand(replicas, pool, now_s, standby);
    for (auto& replica : replicas) {
        const bool ready = replica.ready_s <= now_s;
        if (ready && (replica.state == State::kWaking || replica.state == State::kResuming)) {
            replica.state = State::kAwake;
        }
        if (ready && replica.state == State::kPreparing) replica.state = State::kStandby;
        if (replica.state == State::kDraining && replica.is_idle()) {
            const bool stands = standby > 0 && number_of(replicas, {State::kStandby, State::kPreparing}) < standby;
            replica.state = stands ? State::kStandby : State::kAsleep;
            replica.forget_prefixes();
        }
    }
}

}  // namespace tokenfleet
