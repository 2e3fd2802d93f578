// What watches one cap: the C++ mirror of envs/engine/reference/power_node.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "arrays.hpp"
#include "delay_line.hpp"
#include "meter.hpp"

namespace tokenfleet {

// What a node found at the end of a tick.
struct Reading {
    double power_w, over_cap_w;
    bool above, brake_began, tripped;
};

struct PowerNode {
    bool wants_brake = false, braked = false;  // what the brake has decided, and what the clocks have heard of it
    double brake_timer_s = 0.0, below_release_s = 0.0, damage = 0.0, dark_until_s = 0.0;

    explicit PowerNode(const NodeLimits& limits)
        : meter_(limits.meter_window_ticks), command_(limits.control_lag_ticks, 0.0) {}

    bool is_dark(double now_s) const { return now_s < dark_until_s; }

    // Account the energy of the tick that ends at `now_s`: brake and breaker hold caps of their own.
    Reading read(const NodeLimits& limits, double tick_s, double energy_j, double cap_w, double brake_cap_w,
                 double rating_w, double now_s) {
        const double power_w = meter_.read_w(energy_j, tick_s);
        const bool above = power_w > cap_w;
        const double recovered_s = std::max(brake_timer_s - limits.recovery_ratio * tick_s, 0.0);
        brake_timer_s = power_w > brake_cap_w ? brake_timer_s + tick_s : recovered_s;
        const bool brake_began = update_brake(limits, tick_s, power_w, brake_cap_w);
        heat(limits, tick_s, energy_j / tick_s, rating_w);
        const bool tripped = damage >= 1.0 - 1e-9;
        if (tripped) begin_anew(limits, now_s + limits.restart_s);
        return {power_w, above ? power_w - cap_w : 0.0, above, brake_began, tripped};
    }

private:
    Meter meter_;
    DelayLine command_;

    // Released and cold, as at first, but without power for a while.
    void begin_anew(const NodeLimits& limits, double until_s) {
        *this = PowerNode(limits);
        dark_until_s = until_s;
    }

    // Decide for the brake, and tell the clocks; true when they have just heard of it.
    bool update_brake(const NodeLimits& limits, double tick_s, double power_w, double cap_w) {
        if (wants_brake) {
            consider_release(limits, tick_s, power_w, cap_w);
        } else {
            wants_brake = power_w > cap_w && brake_timer_s >= limits.brake_delay_s;
            below_release_s = 0.0;
        }
        const bool was_braked = braked;
        braked = command_.push(wants_brake ? 1.0 : 0.0) > 0.0;
        return braked && !was_braked;
    }

    void consider_release(const NodeLimits& limits, double tick_s, double power_w, double cap_w) {
        const bool well_below = power_w <= limits.release_fraction * cap_w;
        below_release_s = well_below ? below_release_s + tick_s : 0.0;
        if (well_below && below_release_s >= limits.release_delay_s) {
            wants_brake = false;
            brake_timer_s = 0.0;
        }
    }

    // Bring the breaker nearer to its trip (at a damage of 1), or let it cool.
    void heat(const NodeLimits& limits, double tick_s, double power_w, double rating_w) {
        const double carries_w = limits.pickup_ratio * rating_w;
        if (power_w > carries_w) {
            damage += tick_s * (std::pow(power_w / carries_w, limits.trip_exponent) - 1.0) / limits.trip_heat_s;
        } else if (power_w < rating_w) {
            damage = std::max(damage - tick_s / limits.cooling_s, 0.0);
        }
    }
};

}  // namespace tokenfleet
