// The air at a site's servers in time: the C++ mirror of envs/engine/reference/room.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

struct Room {
    double air_c;
    bool derated = false;

    explicit Room(const Site& site) : air_c(site.room_supply_c) {}

    // A tick of `it_energy_j` under a sky of `outdoor_c`.
    void exchange_heat(const FleetArrays& arrays, std::int64_t s, double it_energy_j, double outdoor_c,
                       const Outcome& outcome) {
        const Site& site = arrays.sites[s];
        outcome(Outcome::derated_s, s) = derated ? arrays.tick_s : 0.0;
        if (site.room < 0) return;
        const double excess_k = std::max(outdoor_c - site.design_outdoor_c, 0.0);
        const double target_c = site.room_supply_c + excess_k + site.room_k_per_w * (it_energy_j / arrays.tick_s);
        air_c += (target_c - air_c) * site.room_response;
        derated = air_c > (derated ? site.room_release_c : site.room_limit_c);
    }

    // What a policy sees of the room, where there is one.
    void write_view(const Site& site, const View& view) const {
        if (site.room < 0) return;
        view.set(View::room_c, site.room, air_c);
        view.set(View::derated, site.room, derated);
    }
};

}  // namespace tokenfleet
