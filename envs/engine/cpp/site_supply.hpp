// Who feeds a site: the C++ mirror of envs/engine/reference/site_supply.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays.hpp"
#include "battery.hpp"

namespace tokenfleet {

struct SiteSupply {
    Battery battery;

    explicit SiteSupply(const Site& site) : battery(site) {}

    // What the grid gives in a tick, never below 0; the balance is written into the outcome's columns of site `s`.
    double draw_j(const FleetArrays& arrays, std::int64_t s, double facility_j, double solar_w, double asked_w,
                  const Outcome& outcome) {
        const double offered_j = solar_w * arrays.tick_s;
        const double need_j = std::max(facility_j - offered_j, 0.0);
        const auto [charge_j, discharge_j] = battery.run(arrays.sites[s], arrays.tick_s, asked_w, need_j);
        const double solar_j = std::min(offered_j, facility_j + charge_j);
        const double grid_j = std::max(facility_j + charge_j - discharge_j - solar_j, 0.0);
        outcome(Outcome::energy_j, s) = grid_j;
        outcome(Outcome::facility_energy_j, s) = facility_j;
        outcome(Outcome::battery_charge_j, s) = charge_j;
        outcome(Outcome::battery_discharge_j, s) = discharge_j;
        outcome(Outcome::solar_j, s) = solar_j;
        return grid_j;
    }

    // What a policy sees of battery and panels, where there are any.
    void write_view(const FleetArrays& arrays, std::int64_t s, const Outcome& outcome, const View& view) const {
        const Site& site = arrays.sites[s];
        if (site.battery >= 0) {
            const double gave_j = outcome(Outcome::battery_discharge_j, s) - outcome(Outcome::battery_charge_j, s);
            view.set(View::battery_charge_fraction, site.battery, battery.stored_j / site.battery_capacity_j);
            view.set(View::battery_power_w, site.battery, gave_j / arrays.tick_s);
        }
        if (site.solar >= 0) view.set(View::solar_power_w, site.solar, outcome(Outcome::solar_j, s) / arrays.tick_s);
    }
};

}  // namespace tokenfleet
