// The clock under a board's power limit: the C++ mirror of envs/layers/gpu/clock.py.
#pragma once

#include <algorithm>
#include <cmath>

#include "physics.hpp"

namespace tokenfleet {

inline constexpr double kLowestClockFraction = 0.125;
inline constexpr int kHalleySteps = 3;

// Time and work of an iteration, each as a part that follows the core's clock and a fixed part.
struct Load {
    double fixed_s, core_s, fixed_j, core_j;

    // Of an iteration that takes so much at the clock asked for.
    static Load of(const Physics& physics, const Batch& batch, double time_s, double work_j) {
        if (physics.clock_fraction != 1.0) {
            time_s = unlimited_time_s(physics.full, batch);
            work_j = iteration_work_j(physics.full, batch);
        }
        const double core_s = unlimited_time_s(physics.core, batch), core_j = iteration_work_j(physics.core, batch);
        return {.fixed_s = time_s - core_s, .core_s = core_s, .fixed_j = work_j - core_j, .core_j = core_j};
    }

    double time_s(double clock_fraction) const { return fixed_s + core_s / clock_fraction; }
};

// By how much a load exceeds a limit, times F, where the voltage follows the clock F; see `_Excess`.
struct Excess {
    double quartic, cubic, linear, constant;

    static Excess of(const Headroom& headroom, const Load& load) {
        return {.quartic = headroom.floor_w * load.fixed_s,
                .cubic = load.core_j + headroom.floor_w * load.core_s,
                .linear = load.fixed_j - headroom.left_w * load.fixed_s,
                .constant = headroom.left_w * load.core_s};
    }

    double root_from(double clock) const {
        for (int step = 0; step < kHalleySteps; ++step) {
            const double square = clock * clock, steepest = quartic * clock;
            const double value = clock * ((steepest + cubic) * square + linear) - constant;
            const double first = (4.0 * steepest + 3.0 * cubic) * square + linear;
            const double half_second = (6.0 * steepest + 3.0 * cubic) * clock;
            clock = clock - value * first / (first * first - value * half_second);
        }
        return clock;
    }
};

[[gnu::noinline]] inline double at_voltage(double voltage, const Headroom& headroom, const Load& load) {
    const double square = voltage * voltage;
    const double floor = headroom.floor_w * square;
    const double linear =
        (load.fixed_j + load.core_j * square) + (floor * load.core_s - headroom.left_w * load.fixed_s);
    const double constant = headroom.left_w * load.core_s;
    if (constant <= 0.0) return 0.0;
    const double below = linear + std::sqrt(linear * linear + 4.0 * (floor * load.fixed_s) * constant);
    return below > 0.0 ? 2.0 * constant / below : 0.0;
}

// The highest clock below the one asked for at which boards hold their limit.
inline double clock_under_limit(const Pool& pool, const Physics& physics, const Load& load) {
    const Headroom& headroom = physics.headroom;
    const double left_j = (headroom.left_w - headroom.floor_w) * (load.fixed_s + load.core_s);
    const double start = 3.0 * left_j / (2.0 * left_j + (load.fixed_j + load.core_j));
    double clock = Excess::of(headroom, load).root_from(start);
    const double floor = pool.voltage_floor_fraction;
    if (!(clock >= floor)) clock = at_voltage(floor, headroom, load);
    return std::min(std::max(clock, kLowestClockFraction), physics.clock_fraction);
}

}  // namespace tokenfleet
