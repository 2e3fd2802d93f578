// A site's battery in time: the C++ mirror of envs/engine/reference/battery.py.
#pragma once

#include <algorithm>

#include "arrays.hpp"

namespace tokenfleet {

struct Battery {
    double stored_j;

    struct Flow {
        double charge_j, discharge_j;  // at the busbar; one of them is 0
    };

    explicit Battery(const Site& site) : stored_j(site.battery_initial_j) {}

    // Charge (`asked_w` below 0) or discharge for a tick; the busbar takes at most `need_j`.
    Flow run(const Site& site, double tick_s, double asked_w, double need_j) {
        if (site.battery_limit_w == 0.0) return {0.0, 0.0};
        const double charge_j = asked_w < 0.0 ? charge(site, tick_s, -asked_w) : 0.0;
        const double discharge_j = asked_w > 0.0 ? discharge(site, tick_s, asked_w, need_j) : 0.0;
        const double after_j =
            stored_j + charge_j * site.battery_charge_efficiency - discharge_j / site.battery_discharge_efficiency;
        stored_j = std::min(std::max(after_j, site.battery_lowest_j), site.battery_highest_j);
        return {charge_j, discharge_j};
    }

private:
    double charge(const Site& site, double tick_s, double asked_w) const {
        const double free_j = (site.battery_highest_j - stored_j) / site.battery_charge_efficiency;
        return std::min(std::min(asked_w, site.battery_limit_w) * tick_s, free_j);
    }

    double discharge(const Site& site, double tick_s, double asked_w, double need_j) const {
        const double left_j = (stored_j - site.battery_lowest_j) * site.battery_discharge_efficiency;
        return std::min(std::min(std::min(asked_w, site.battery_limit_w) * tick_s, left_j), need_j);
    }
};

}  // namespace tokenfleet
