// From the grid connection to the pools: the C++ mirror of envs/engine/reference/power_delivery.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "power_node.hpp"
#include "room.hpp"
#include "site_supply.hpp"

namespace tokenfleet {

// What one tick brings to the sites, [S] where nothing else is said.
struct SiteTick {
    double start_s, end_s;
    const double* cap_w;
    const double* rating_w;
    const double* row_cap_w;     // [W]
    const double* row_rating_w;  // [W]
    const double* solar_w;
    const double* outdoor_c;
    const double* pue;
    const double* fixed_w;
    const double* battery_power_w;  // asked for
};

class PowerDelivery {
public:
    explicit PowerDelivery(const FleetArrays& arrays)
        : arrays_(arrays),
          nodes_(arrays.nodes.size()),
          node_j_(arrays.nodes.size()),
          rooms_(arrays.sites.size()),
          supplies_(arrays.sites.size()),
          clocks_(arrays.pools.size()) {}

    void reset() {
        for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i].reset(arrays_.nodes[i], 0.0);
        for (std::size_t s = 0; s < supplies_.size(); ++s) {
            supplies_[s].reset(arrays_.sites[s]);
            rooms_[s].reset(arrays_.sites[s]);
        }
        for (std::size_t p = 0; p < clocks_.size(); ++p) clocks_[p].reset(arrays_.pools[p].clock_latency_ticks, 1.0);
    }

    // Whether a pool is without power.
    bool is_dark(const Pool& pool, double now_s) const {
        if (nodes_[pool.site].is_dark(now_s)) return true;
        for (const std::int64_t w : rows_above(pool)) {
            if (w >= 0 && nodes_[num_sites() + w].is_dark(now_s)) return true;
        }
        return false;
    }

    // The clock fraction of pool `p` in this tick; call it once a tick with what is asked for now.
    double clock_in_force(std::int64_t p, double asked) {
        const Pool& pool = arrays_.pools[p];
        double clock = clocks_[p].push(asked);
        if (nodes_[pool.site].braked) clock = std::min(clock, arrays_.nodes[pool.site].brake_clock_fraction);
        for (const std::int64_t w : rows_above(pool)) {
            const std::int64_t node = num_sites() + w;
            if (w >= 0 && nodes_[node].braked) clock = std::min(clock, arrays_.nodes[node].brake_clock_fraction);
        }
        if (rooms_[pool.site].derated) clock = std::min(clock, arrays_.sites[pool.site].derate_clock_fraction);
        return clock;
    }

    // Account the tick, from `it_energy_j` of the pools; calls `go_dark(p)` for those whose breakers trip at its end.
    template <typename GoDark>
    void read_meters(const SiteTick& tick, double* outcome, GoDark go_dark) {
        add_up_it_energy(outcome);
        const OutcomeLayout& o = arrays_.outcome;
        const NodeColumns site{o.power_w, o.above_cap_s, o.over_cap_w, o.brakes, o.trips};
        for (std::int64_t s = 0; s < num_sites(); ++s) {
            const bool is_dark = nodes_[s].is_dark(tick.start_s);
            rooms_[s].breathe(arrays_, s, node_j_[s], tick.outdoor_c[s], outcome);
            const double fixed_j = is_dark ? 0.0 : tick.fixed_w[s] * arrays_.tick_s;
            const double facility_j = node_j_[s] * tick.pue[s] + fixed_j;
            const double asked_w = is_dark ? 0.0 : tick.battery_power_w[s];
            const double energy_j = supplies_[s].draw_j(arrays_, s, facility_j, tick.solar_w[s], asked_w, outcome);
            if (!read(s, energy_j, tick.cap_w[s], tick.rating_w[s], tick.end_s, outcome, site, s)) continue;
            for (std::size_t p = 0; p < arrays_.pools.size(); ++p) {
                if (arrays_.pools[p].site == s) go_dark(static_cast<std::int64_t>(p));
            }
        }
        const NodeColumns row{o.row_power_w, o.row_above_cap_s, o.row_over_cap_w, o.row_brakes, o.row_trips};
        for (std::int64_t w = 0; w < num_rows(); ++w) {
            const std::int64_t node = num_sites() + w;
            if (!read(node, node_j_[node], tick.row_cap_w[w], tick.row_rating_w[w], tick.end_s, outcome, row, w)) continue;
            for (std::size_t p = 0; p < arrays_.pools.size(); ++p) {
                const Pool& pool = arrays_.pools[p];
                if (pool.row == w || pool.whole_site_row == w) go_dark(static_cast<std::int64_t>(p));
            }
        }
    }

    // What the brain sees of the nodes; the caps are those of the coming tick.
    void write_view(double now_s, const float* site_cap_w, const float* row_cap_w, const double* outcome, float* view) const {
        const ViewLayout& v = arrays_.view;
        const OutcomeLayout& o = arrays_.outcome;
        for (std::int64_t s = 0; s < num_sites(); ++s) {
            const PowerNode& node = nodes_[s];
            view[v.site_power_w + s] = static_cast<float>(outcome[o.power_w + s]);
            view[v.power_over_cap + s] = static_cast<float>(outcome[o.power_w + s] / static_cast<double>(site_cap_w[s]));
            view[v.braked + s] = node.braked ? 1.0F : 0.0F;
            view[v.over_cap_s + s] = static_cast<float>(node.over_cap_s);
            view[v.dark_remaining_s + s] = static_cast<float>(std::max(node.dark_until_s - now_s, 0.0));
            supplies_[s].write_view(arrays_, s, outcome, view);
            rooms_[s].write_view(arrays_, s, view);
        }
        for (std::int64_t w = 0; w < num_rows(); ++w) {
            const PowerNode& node = nodes_[num_sites() + w];
            const double cap_w = static_cast<double>(row_cap_w[w]);
            view[v.row_power_over_cap + w] = static_cast<float>(outcome[o.row_power_w + w] / cap_w);
            view[v.row_braked + w] = node.braked ? 1.0F : 0.0F;
            view[v.row_over_cap_s + w] = static_cast<float>(node.over_cap_s);
            view[v.row_dark_remaining_s + w] = static_cast<float>(std::max(node.dark_until_s - now_s, 0.0));
        }
    }

private:
    // Where a kind of node writes what it read.
    struct NodeColumns {
        std::int64_t power_w, above_cap_s, over_cap_w, brakes, trips;
    };

    const FleetArrays& arrays_;
    std::vector<PowerNode> nodes_;  // [S + W]
    std::vector<double> node_j_;    // [S + W] IT energy of the tick
    std::vector<Room> rooms_;           // [S]
    std::vector<SiteSupply> supplies_;  // [S]
    std::vector<DelayLine> clocks_;  // [P] on their way to the boards

    std::int64_t num_sites() const { return static_cast<std::int64_t>(arrays_.sites.size()); }
    std::int64_t num_rows() const { return static_cast<std::int64_t>(arrays_.nodes.size()) - num_sites(); }

    // Where a row's place may be -1: there is none.
    static std::array<std::int64_t, 2> rows_above(const Pool& pool) { return {pool.whole_site_row, pool.row}; }

    void add_up_it_energy(const double* outcome) {
        std::fill(node_j_.begin(), node_j_.end(), 0.0);
        for (std::size_t p = 0; p < arrays_.pools.size(); ++p) {
            const Pool& pool = arrays_.pools[p];
            const double energy_j = outcome[arrays_.outcome.it_energy_j + static_cast<std::int64_t>(p)];
            node_j_[pool.site] += energy_j;
            for (const std::int64_t w : rows_above(pool)) {
                if (w >= 0) node_j_[num_sites() + w] += energy_j;
            }
        }
    }

    // One node's tick; true when its breaker trips.
    bool read(std::int64_t node, double energy_j, double cap_w, double rating_w, double end_s, double* outcome,
              const NodeColumns& columns, std::int64_t i) {
        const NodeLimits& limits = arrays_.nodes[node];
        const Reading reading = nodes_[node].read(limits, arrays_.tick_s, energy_j, cap_w, rating_w, end_s);
        outcome[columns.power_w + i] = reading.power_w;
        outcome[columns.above_cap_s + i] = reading.above ? arrays_.tick_s : 0.0;
        outcome[columns.over_cap_w + i] = reading.over_cap_w;
        outcome[columns.brakes + i] = reading.brake_began ? 1.0 : 0.0;
        outcome[columns.trips + i] = reading.tripped ? 1.0 : 0.0;
        return reading.tripped;
    }
};

}  // namespace tokenfleet
