// The air at a site's servers in time: the C++ mirror of envs/engine/reference/room.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

struct Room {
    double air_c = 0.0;
    bool derated = false;

    void reset(const Site& site) {
        air_c = site.room_supply_c;
        derated = false;
    }

    // A tick of `it_energy_j` under a sky of `outdoor_c`.
    void breathe(const FleetArrays& arrays, std::int64_t s, double it_energy_j, double outdoor_c, double* outcome) {
        const Site& site = arrays.sites[s];
        outcome[arrays.outcome.derated_s + s] = derated ? arrays.tick_s : 0.0;
        if (site.room < 0) return;
        const double excess_k = std::max(outdoor_c - site.design_outdoor_c, 0.0);
        const double target_c = site.room_supply_c + excess_k + site.room_k_per_w * (it_energy_j / arrays.tick_s);
        air_c += (target_c - air_c) * site.room_response;
        derated = air_c > (derated ? site.room_release_c : site.room_limit_c);
    }

    // What the brain sees of the room, where there is one.
    void write_view(const FleetArrays& arrays, std::int64_t s, float* view) const {
        const std::int64_t index = arrays.sites[s].room;
        if (index < 0) return;
        view[arrays.view.room_c + index] = static_cast<float>(air_c);
        view[arrays.view.derated + index] = derated ? 1.0F : 0.0F;
    }
};

}  // namespace tokenfleet
