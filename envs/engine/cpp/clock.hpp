// The clock under a board's power limit: the C++ mirror of envs/layers/gpu/clock.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "physics.hpp"

namespace tokenfleet {

inline constexpr std::int64_t kClockSteps = 4096;
inline constexpr std::int64_t kLowestStep = kClockSteps / 8;

inline double clock_of(std::int64_t step) { return static_cast<double>(step) / static_cast<double>(kClockSteps); }

// What an iteration takes of boards, in parts that follow the core's clock and parts that do not.
struct Load {
    double fixed_s, core_s, fixed_j, core_j;

    static Load of(const Physics& physics, const Batch& batch) {
        return {
            .fixed_s = unlimited_time_s(physics.fixed, batch),
            .core_s = unlimited_time_s(physics.core, batch),
            .fixed_j = iteration_work_j(physics.fixed, batch),
            .core_j = iteration_work_j(physics.core, batch),
        };
    }

    double time_s(double clock_fraction) const { return fixed_s + core_s / clock_fraction; }
    double work_j(double voltage) const { return fixed_j + (voltage * voltage) * core_j; }

    bool holds_limit(const Pool& pool, double clock_fraction) const {
        const double voltage = voltage_fraction(clock_fraction, pool.voltage_floor_fraction);
        return !Draw::at_clock(pool, clock_fraction).exceeds_limit(time_s(clock_fraction), work_j(voltage));
    }
};

// The highest step below the clock asked for; 0 where that is lower than any step.
inline std::int64_t highest_step_below(double asked) {
    const auto step = static_cast<std::int64_t>(std::ceil(asked * static_cast<double>(kClockSteps))) - 1;
    return step < kLowestStep ? 0 : step;
}

// The highest step below the clock asked for at which boards hold their limit; see `clock_under_limit`.
inline std::int64_t step_under_limit(const Pool& pool, const Load& load, double asked) {
    std::int64_t low = kLowestStep, high = highest_step_below(asked);
    if (high == 0) return 0;
    while (low < high) {
        const std::int64_t middle = (low + high + 1) / 2;
        if (load.holds_limit(pool, clock_of(middle))) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

// How an iteration runs: at the clock asked for (`kAsked`), or at a step that the limit of its boards forces.
inline constexpr std::int64_t kAsked = -1;

inline std::int64_t step_in_force(const Pool& pool, const Physics& physics, const Batch& batch) {
    const double time_s = unlimited_time_s(physics.asked, batch), work_j = iteration_work_j(physics.asked, batch);
    if (!physics.draw.exceeds_limit(time_s, work_j)) return kAsked;
    return step_under_limit(pool, Load::of(physics, batch), physics.clock_fraction);
}

// A number that is affine in the index of an iteration, by how much work exceeds the limit at one clock.
struct Excess {
    double first, step;

    static Excess of(const Draw& draw, double time_s, double time_step_s, double work_j, double work_step_j) {
        const double over_w = draw.shoulder_w - draw.limit_w, slope = draw.shoulder_slope;
        return {over_w * time_s + slope * work_j, over_w * time_step_s + slope * work_step_j};
    }

    // The same of a load and its growth at a clock.
    static Excess of(const Pool& pool, const Load& load, const Load& growth, double clock) {
        const double voltage = voltage_fraction(clock, pool.voltage_floor_fraction);
        return of(Draw::at_clock(pool, clock), load.time_s(clock), growth.time_s(clock), load.work_j(voltage),
                  growth.work_j(voltage));
    }

    // Iterations, of so many, before its sign changes; give or take one, by rounding.
    std::int64_t keeps_sign(std::int64_t iterations) const {
        const bool moves_on = first > 0.0 ? step >= 0.0 : step <= 0.0;
        const double crossing = moves_on ? kNever : std::floor(-first / step) + 1.0;
        return crossing < static_cast<double>(iterations)
                   ? std::max<std::int64_t>(1, static_cast<std::int64_t>(crossing))
                   : iterations;
    }
};

}  // namespace tokenfleet
