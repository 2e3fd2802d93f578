// Which replicas of a pool are awake and with which model: the C++ mirror of envs/engine/reference/power_states.py.
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
// on loading, be it to wake or to stand by. False if there are as many already: then nothing changes.
inline bool reach(std::span<Replica> replicas, double now_s, std::int64_t target) {
    std::int64_t up = number_of(replicas, {State::kAwake, State::kSwitching, State::kWaking, State::kResuming});
    if (up == target) return false;
    for (const State state : {State::kDraining, State::kStandby, State::kPreparing, State::kAsleep}) {
        for (auto& replica : replicas) {
            if (up >= target || replica.state != state) continue;
            if (state == State::kDraining) {
                replica.state = State::kAwake;
            } else if (state == State::kStandby) {
                begin(replica, State::kResuming, now_s + replica.limits().resume_s);
            } else if (state == State::kPreparing) {
                replica.state = State::kWaking;
            } else {
                begin(replica, State::kWaking, now_s + replica.limits().wake_s);
            }
            ++up;
        }
    }
    for (const State state : {State::kWaking, State::kResuming, State::kSwitching, State::kAwake}) {
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
inline void stand(std::span<Replica> replicas, double now_s, std::int64_t target) {
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
        begin(replica, State::kPreparing, now_s + replica.limits().wake_s);
        ++standing;
    }
}

// Begin to load the other model; a server that boots finishes booting first.
inline void load_other(Replica& replica, double now_s) {
    double booted_s = now_s;
    if (replica.state == State::kWaking || replica.state == State::kPreparing) {
        booted_s = std::max(now_s, replica.ready_s - replica.limits().load_s);
    }
    replica.load(!replica.limits().is_variant);
    const bool stands = replica.state == State::kStandby || replica.state == State::kPreparing;
    begin(replica, stands ? State::kPreparing : State::kWaking, booted_s + replica.limits().load_s);
}

// Who has nothing loaded wakes with the variant if it is among the first `target` replicas.
inline void choose_models(std::span<Replica> replicas, std::int64_t target) {
    std::int64_t place = 0;
    for (auto& replica : replicas) {
        const bool wants_variant = place++ < target;
        const bool unloaded =
            replica.state == State::kAsleep || replica.state == State::kDark || replica.state == State::kFailed;
        if (unloaded && replica.limits().is_variant != wants_variant) replica.load(wants_variant);
    }
}

// Bring the variant to the first `target` replicas and the own model to the others; how many begin to load. Who has
// requests finishes them first.
inline std::int64_t switch_models(std::span<Replica> replicas, double now_s, std::int64_t target) {
    std::int64_t switches = 0, place = 0;
    for (auto& replica : replicas) {
        const bool wants_variant = place++ < target;
        State& state = replica.state;
        if (replica.limits().is_variant == wants_variant) {
            if (state == State::kSwitching) state = State::kAwake;
            continue;
        }
        if (state == State::kAwake) state = State::kSwitching;
        const bool loaded = state == State::kWaking || state == State::kResuming || state == State::kStandby ||
                            state == State::kPreparing;
        if (loaded || (state == State::kSwitching && replica.is_idle())) {
            load_other(replica, now_s);
            ++switches;
        }
    }
    return switches;
}

// A policy that asks for a share of a replica gets a whole one. Shares up to this size come from the rounding of
// float32 actions, and count as none.
inline constexpr double kRoundedReplicas = 1e-4;

inline std::int64_t replicas_asked_for(const Pool& pool, double fraction) {
    return static_cast<std::int64_t>(std::ceil(fraction * static_cast<double>(pool.replicas) - kRoundedReplicas));
}

// One tick of a pool that has power: boot, wake, drain, stand by, fall asleep or load another model as asked. How many
// began to load another model instead of the one that they had.
inline std::int64_t follow(std::span<Replica> replicas, const Pool& pool, double awake_fraction,
                           double standby_fraction, double variant_fraction, double now_s) {
    const std::int64_t on_variant = pool.variant >= 0 ? replicas_asked_for(pool, variant_fraction) : 0;
    if (pool.variant >= 0) choose_models(replicas, on_variant);
    for (auto& replica : replicas) {
        if (replica.state == State::kDark) begin(replica, State::kWaking, now_s + replica.limits().wake_s);
    }
    const std::int64_t awake = replicas_asked_for(pool, awake_fraction);
    std::int64_t standby = 0;
    if (pool.standby >= 0) {
        const std::int64_t left = pool.replicas - awake, asked = replicas_asked_for(pool, standby_fraction);
        standby = std::max<std::int64_t>(std::min(asked, left), 0);
    }
    if (reach(replicas, now_s, awake) || pool.standby >= 0) stand(replicas, now_s, standby);
    std::int64_t switches = 0;
    if (pool.variant >= 0) switches = switch_models(replicas, now_s, on_variant);
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
    return switches;
}

}  // namespace tokenfleet
