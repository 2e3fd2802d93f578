// What of a fleet has power, and at which clocks: failures, power states, and replicas that lose their power.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fleet.hpp"
#include "physics.hpp"
#include "power_states.hpp"

namespace tokenfleet {

// What is repaired is switched off and may be woken.
inline void Fleet::break_and_repair(double now_s) {
    if (!course_.has_failures()) return;
    for (Replica& replica : replicas_.all()) {
        if (replica.state == State::kFailed && replica.ready_s <= now_s) replica.state = State::kAsleep;
    }
    while (const Failure* failure = course_.take_failure(tick_)) {
        Replica& replica = replicas_[failure->replica];
        stop(replica, now_s, State::kFailed);
        replica.ready_s = failure->repaired_s;
    }
}

inline void Fleet::apply_power_states(double now_s, const ControlsRow& controls) {
    for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
        if (power_.is_dark(arrays_.pools[p], now_s)) continue;
        const Pool& pool = arrays_.pools[p];
        const std::int64_t switches = follow(replicas_.of(p), pool, controls.awake_fraction[p],
                                             controls.standby_fraction[p], controls.variant_fraction[p], now_s);
        if (pool.variant >= 0) outcome_(Outcome::switches, pool.variant) = static_cast<double>(switches);
        for (Replica& replica : replicas_.of(p)) replicas_.note(replicas_.index_of(replica));
    }
}

inline void Fleet::apply_clocks(const double* clock_fraction) {
    for (PoolState& pool : pools_) {
        const double wanted = clock_fraction[pool.index];
        const double asked = std::min(std::max(wanted, pool.limits.clock_floor_fraction), 1.0);
        const double clock = power_.clock_in_force(pool.index, asked);
        const double factor = course_.clock_sensitivity_factor_of(pool.limits, tick_);
        const bool is_other_share = factor != pool.clock_sensitivity_factor;
        if (clock == pool.clock_fraction && !is_other_share) continue;
        pool.clock_fraction = clock;
        pool.clock_sensitivity_factor = factor;
        const double own = memory_fraction_under(course_.decode_memory_fraction[pool.index], factor);
        change_clock(pool.physics, pool.limits, own, clock, is_other_share);
        if (pool.variant != nullptr) {
            const double other = memory_fraction_under(course_.variant_memory_fraction[pool.limits.variant], factor);
            change_clock(*pool.variant_physics, *pool.variant, other, clock, is_other_share);
        }
        for (Replica& replica : replicas_.of(pool.index)) {
            replica.on_new_clock();
            replicas_.note(replicas_.index_of(replica));
        }
    }
}

inline void Fleet::go_dark(std::int64_t p, double now_s) {
    for (Replica& replica : replicas_.of(p)) {
        if (replica.state != State::kFailed) stop(replica, now_s, State::kDark);
    }
}

// A replica loses its power and with it every request.
inline void Fleet::stop(Replica& replica, double now_s, State state) {
    const std::int64_t r = replicas_.index_of(replica);
    outcome_(Outcome::dropped_tokens, replicas_.pool_of[r]) += static_cast<double>(replica.running_tokens());
    for (const std::int32_t index : replica.drop_everything(now_s)) endings_.fail(index, now_s, Status::kRefused);
    replica.state = state;
    replicas_.note(r);
}

}  // namespace tokenfleet
