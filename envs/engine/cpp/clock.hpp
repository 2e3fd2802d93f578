// The clock under a board's power limit: the C++ mirror of envs/layers/gpu/clock.py.
#pragma once

#include <algorithm>
#include <cmath>

#include "physics.hpp"

namespace tokenfleet {

inline constexpr double kLowestClockFraction = 0.125;
inline constexpr int kHalleySteps = 2;
inline constexpr double kLeastSlope = 1e-9;

// What an iteration takes of boards, in parts that follow the core's clock and parts that do not.
struct Load {
    double fixed_s, core_s, fixed_j, core_j;

    // Of an iteration that takes so much at the clock asked for.
    static Load of(const Pool& pool, const Physics& physics, const Batch& batch, double time_s, double work_j) {
        const double core_s = unlimited_time_s(physics.core, batch), core_j = iteration_work_j(physics.core, batch);
        const double voltage = voltage_fraction(physics.clock_fraction, pool.voltage_floor_fraction);
        return {
            .fixed_s = time_s - core_s / physics.clock_fraction,
            .core_s = core_s,
            .fixed_j = work_j - voltage * voltage * core_j,
            .core_j = core_j,
        };
    }

    double time_s(double clock_fraction) const { return fixed_s + core_s / clock_fraction; }
};

// By how much a load exceeds a limit; see `_Excess`.
struct Excess {
    double left_w, floor_w;
    Load load;

    static Excess of(const Pool& pool, const Load& load) {
        const double slope = std::max(pool.shoulder_slope, kLeastSlope);
        const double share = (1.0 - pool.knee_fraction * (1.0 - pool.shoulder_slope)) / slope;
        return {.left_w = share * (pool.limit_w - pool.static_w), .floor_w = share * pool.floor_w, .load = load};
    }

    double times_clock(double clock) const {
        const double square = clock * clock;
        const double left = left_w - floor_w * (square * clock);
        return clock * (load.fixed_j + load.core_j * square) - left * (load.fixed_s * clock + load.core_s);
    }

    double start(double asked) const {
        const double square = asked * asked;
        const double work = asked * (load.fixed_j + load.core_j * square);
        const double room = (left_w - floor_w * (square * asked)) * (load.fixed_s * asked + load.core_s);
        return asked * (3.0 * room) / (2.0 * room + work);
    }

    double solved_from(double clock) const {
        const double thrice_w = 3.0 * floor_w;
        for (int step = 0; step < kHalleySteps; ++step) {
            const double square = clock * clock, held_s = load.fixed_s * clock;
            const double left = left_w - floor_w * (square * clock);
            const double cycles = held_s + load.core_s, work_j = load.core_j * square;
            const double value = clock * (load.fixed_j + work_j) - left * cycles;
            const double first = (load.fixed_j + 3.0 * work_j) + (thrice_w * (square * cycles) - left * load.fixed_s);
            const double half_second = clock * (3.0 * load.core_j + thrice_w * (cycles + held_s));
            clock = clock - value * first / (first * first - value * half_second);
        }
        return clock;
    }

    double at_voltage(double voltage) const {
        const double square = voltage * voltage;
        const double floor = floor_w * square;
        const double linear = (load.fixed_j + load.core_j * square) + (floor * load.core_s - left_w * load.fixed_s);
        const double constant = left_w * load.core_s;
        if (constant <= 0.0) return 0.0;
        const double below = linear + std::sqrt(linear * linear + 4.0 * (floor * load.fixed_s) * constant);
        return below > 0.0 ? 2.0 * constant / below : 0.0;
    }
};

inline double clock_under_limit(const Pool& pool, const Load& load, double asked) {
    const Excess excess = Excess::of(pool, load);
    const double floor = pool.voltage_floor_fraction;
    const bool is_above = floor < asked && excess.times_clock(floor) <= 0.0;
    const double clock = is_above ? excess.solved_from(excess.start(asked)) : excess.at_voltage(floor);
    return std::min(std::max(clock, kLowestClockFraction), asked);
}

}  // namespace tokenfleet
