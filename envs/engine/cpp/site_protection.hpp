// A site's meter, brake and breaker: the C++ mirror of envs/engine/reference/site.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

struct SiteProtection {
    bool braked = false;
    double over_cap_s = 0.0, overload_s = 0.0, below_release_s = 0.0, dark_until_s = 0.0;

    bool is_dark(double now_s) const { return now_s < dark_until_s; }

    // Account one tick's facility energy; true when the breaker trips at its end.
    bool read_meter(const FleetArrays& arrays, std::int64_t s, double energy_j, double cap_w, double now_s,
                    double* outcome) {
        const Site& site = arrays.sites[s];
        const double power_w = energy_j / arrays.tick_s;
        const bool above = power_w > cap_w;
        outcome[arrays.outcome.energy_j + s] = energy_j;
        outcome[arrays.outcome.power_w + s] = power_w;
        outcome[arrays.outcome.above_cap_s + s] = above ? arrays.tick_s : 0.0;
        outcome[arrays.outcome.over_cap_w + s] = above ? power_w - cap_w : 0.0;
        const double recovered_s = std::max(over_cap_s - site.recovery_ratio * arrays.tick_s, 0.0);
        over_cap_s = above ? over_cap_s + arrays.tick_s : recovered_s;
        const bool overloaded = power_w > site.overload_ratio * cap_w;
        overload_s = overloaded ? overload_s + arrays.tick_s : 0.0;
        outcome[arrays.outcome.brakes + s] = update_brake(site, arrays.tick_s, power_w, cap_w) ? 1.0 : 0.0;
        const bool tripped = overloaded && overload_s >= site.breaker_delay_s;
        outcome[arrays.outcome.trips + s] = tripped ? 1.0 : 0.0;
        if (tripped) *this = {.dark_until_s = now_s + site.restart_s};
        return tripped;
    }

private:
    // Engage or release the brake for the next tick; true when it has just engaged.
    bool update_brake(const Site& site, double tick_s, double power_w, double cap_w) {
        if (!braked) {
            braked = power_w > cap_w && over_cap_s >= site.brake_delay_s;
            below_release_s = 0.0;
            return braked;
        }
        const bool well_below = power_w <= site.release_fraction * cap_w;
        below_release_s = well_below ? below_release_s + tick_s : 0.0;
        braked = !(well_below && below_release_s >= site.release_delay_s);
        if (!braked) over_cap_s = 0.0;
        return false;
    }
};

}  // namespace tokenfleet
