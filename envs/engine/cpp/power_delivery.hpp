// From the grid connection to the pools: the C++ mirror of envs/engine/reference/power_delivery.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "delay_line.hpp"
#include "links.hpp"
#include "power_charges.hpp"
#include "power_node.hpp"
#include "programme.hpp"
#include "regulation.hpp"
#include "room.hpp"
#include "site_supply.hpp"
#include "training.hpp"

namespace tokenfleet {

// What one tick brings to the sites, [S] where nothing else is said.
struct SiteTick {
    double start_s, end_s;
    const double* cap_w;
    const double* brake_cap_w;
    const double* rating_w;
    const double* called_w;           // [C]
    const double* call_phase;         // [C]
    const double* regulation_signal;  // [U]
    const double* row_cap_w;          // [W]
    const double* row_rating_w;       // [W]
    const double* solar_w;
    const double* outdoor_c;
    const double* pue;
    const double* fixed_w;
    const double* battery_power_w;  // asked for
    const double* training_share;   // likewise
};

class PowerDelivery : ArraysLink {
public:
    explicit PowerDelivery(const FleetArrays& arrays)
        : ArraysLink(arrays),
          nodes_(arrays.nodes.begin(), arrays.nodes.end()),
          node_j_(arrays.nodes.size()),
          rooms_(arrays.sites.begin(), arrays.sites.end()),
          supplies_(arrays.sites.begin(), arrays.sites.end()),
          training_(arrays.sites.begin(), arrays.sites.end()) {
        for (const Pool& pool : arrays.pools) clocks_.emplace_back(pool.clock_latency_ticks, 1.0);
        for (const Site& site : arrays.sites) {
            if (site.charges >= 0) charges_.emplace_back(site);
            if (site.programme >= 0) programmes_.emplace_back(site);
            if (site.regulation >= 0) regulations_.emplace_back(site);
        }
    }

    // Whether a pool is without power.
    bool is_dark(const Pool& pool, double now_s) const {
        if (nodes_[pool.site].is_dark(now_s)) return true;
        for (const std::int64_t w : rows_above(pool)) {
            if (w >= 0 && nodes_[node_of_row(w)].is_dark(now_s)) return true;
        }
        return false;
    }

    // The clock fraction of pool `p` in this tick; call it once a tick with what is asked for now.
    double clock_in_force(std::int64_t p, double asked) {
        const Pool& pool = arrays_.pools[p];
        double clock = clocks_[p].push(asked);
        if (nodes_[pool.site].braked) clock = std::min(clock, arrays_.nodes[pool.site].brake_clock_fraction);
        for (const std::int64_t w : rows_above(pool)) {
            const std::int64_t node = node_of_row(w);
            if (w >= 0 && nodes_[node].braked) clock = std::min(clock, arrays_.nodes[node].brake_clock_fraction);
        }
        if (rooms_[pool.site].derated) clock = std::min(clock, arrays_.sites[pool.site].derate_clock_fraction);
        return clock;
    }

    // Account the tick, from `it_energy_j` of the pools; the pools whose breakers trip at its end.
    const std::vector<std::int64_t>& read_meters(const SiteTick& tick, const Outcome& outcome) {
        tripped_pools_.clear();
        add_up_it_energy(outcome);
        for (std::int64_t s = 0; s < arrays_.num_sites(); ++s) {
            const bool is_dark = nodes_[s].is_dark(tick.start_s);
            node_j_[s] += training_[s].run(arrays_.sites[s], arrays_.tick_s, tick.training_share[s], is_dark,
                                           training_speed(s), outcome);
            rooms_[s].exchange_heat(arrays_, s, node_j_[s], tick.outdoor_c[s], outcome);
            const double fixed_j = is_dark ? 0.0 : tick.fixed_w[s] * arrays_.tick_s;
            const double facility_j = node_j_[s] * tick.pue[s] + fixed_j;
            const double asked_w = is_dark ? 0.0 : tick.battery_power_w[s];
            const double energy_j = supplies_[s].draw_j(arrays_, s, facility_j, tick.solar_w[s], asked_w, outcome);
            const NodeCaps caps{tick.cap_w[s], tick.brake_cap_w[s], tick.rating_w[s]};
            const bool tripped = read(s, energy_j, caps, tick.end_s, outcome, kSiteFields, s);
            account(tick, s, energy_j, outcome);
            if (!tripped) continue;
            for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
                if (arrays_.pools[p].site == s) tripped_pools_.push_back(p);
            }
        }
        for (std::int64_t w = 0; w < arrays_.num_rows(); ++w) {
            const std::int64_t node = node_of_row(w);
            const NodeCaps caps{tick.row_cap_w[w], tick.row_cap_w[w], tick.row_rating_w[w]};
            if (!read(node, node_j_[node], caps, tick.end_s, outcome, kRowFields, w)) continue;
            for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
                if (std::ranges::count(rows_above(arrays_.pools[p]), w) > 0) tripped_pools_.push_back(p);
            }
        }
        return tripped_pools_;
    }

    // What a policy sees of the nodes; the caps are those of the coming tick.
    void write_view(double now_s, const float* site_cap_w, const float* row_cap_w, const Outcome& outcome,
                    const View& view) const {
        for (std::int64_t s = 0; s < arrays_.num_sites(); ++s) {
            view.set(View::site_power_w, s, outcome(Outcome::power_w, s));
            write_node(nodes_[s], site_cap_w[s], now_s, outcome, view, kSiteFields, s);
            supplies_[s].write_view(arrays_, s, outcome, view);
            rooms_[s].write_view(arrays_.sites[s], view);
            training_[s].write_view(arrays_.sites[s], view);
            const Site& site = arrays_.sites[s];
            if (site.charges >= 0) charges_[site.charges].write_view(site, arrays_.tick_s, view);
            if (site.programme >= 0) programmes_[site.programme].write_view(site, view);
            if (site.regulation >= 0) regulations_[site.regulation].write_view(site, view);
        }
        for (std::int64_t w = 0; w < arrays_.num_rows(); ++w) {
            write_node(nodes_[node_of_row(w)], row_cap_w[w], now_s, outcome, view, kRowFields, w);
        }
    }

private:
    // What a node may carry: what is asked of it, what its brake holds and what its breaker minds.
    struct NodeCaps {
        double cap_w, brake_cap_w, rating_w;
    };
    // Where a kind of node writes what it has read, and what a policy sees of it.
    struct NodeFields {
        Outcome::Field power_w, above_cap_s, over_cap_w, brakes, trips;
        View::Field power_over_cap, braked, brake_timer_s, dark_remaining_s;
    };
    static constexpr NodeFields kSiteFields{
        Outcome::power_w,     Outcome::above_cap_s, Outcome::over_cap_w, Outcome::brakes,        Outcome::trips,
        View::power_over_cap, View::braked,         View::brake_timer_s, View::dark_remaining_s,
    };
    static constexpr NodeFields kRowFields{
        Outcome::row_power_w, Outcome::row_above_cap_s, Outcome::row_over_cap_w,
        Outcome::row_brakes,  Outcome::row_trips,       View::row_power_over_cap,
        View::row_braked,     View::row_brake_timer_s,  View::row_dark_remaining_s,
    };

    std::vector<PowerNode> nodes_;             // [S + W]
    std::vector<double> node_j_;               // [S + W] IT energy of the tick
    std::vector<Room> rooms_;                  // [S]
    std::vector<SiteSupply> supplies_;         // [S]
    std::vector<Training> training_;           // [S]
    std::vector<PowerCharges> charges_;        // [M]
    std::vector<Programme> programmes_;        // [C]
    std::vector<Regulation> regulations_;      // [U]
    std::vector<DelayLine> clocks_;            // [P] on their way to the boards
    std::vector<std::int64_t> tripped_pools_;  // in the last tick

    // Clock of a site's training jobs in this tick, over the highest.
    double training_speed(std::int64_t s) const {
        const double braked = nodes_[s].braked ? arrays_.nodes[s].brake_clock_fraction : 1.0;
        return std::min(rooms_[s].derated ? arrays_.sites[s].derate_clock_fraction : 1.0, braked);
    }

    std::int64_t node_of_row(std::int64_t w) const { return arrays_.num_sites() + w; }

    // The rows that a pool hangs under; -1 stands for none.
    static std::array<std::int64_t, 2> rows_above(const Pool& pool) { return {pool.whole_site_row, pool.row}; }

    void add_up_it_energy(const Outcome& outcome) {
        std::ranges::fill(node_j_, 0.0);
        for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
            const Pool& pool = arrays_.pools[p];
            const double energy_j = outcome(Outcome::it_energy_j, p);
            node_j_[pool.site] += energy_j;
            for (const std::int64_t w : rows_above(pool)) {
                if (w >= 0) node_j_[node_of_row(w)] += energy_j;
            }
        }
    }

    // What a site pays and is paid for the power of a tick, whose meters have been read.
    void account(const SiteTick& tick, std::int64_t s, double energy_j, const Outcome& outcome) {
        const Site& site = arrays_.sites[s];
        if (site.charges >= 0) charges_[site.charges].account(site, arrays_.tick_s, energy_j, outcome);
        if (const std::int64_t c = site.programme; c >= 0) {
            programmes_[c].account(site, s, arrays_.tick_s, energy_j, tick.called_w[c], tick.call_phase[c],
                                   tick.brake_cap_w[s], outcome);
        }
        if (const std::int64_t u = site.regulation; u >= 0) {
            regulations_[u].account(site, arrays_.tick_s, energy_j, tick.regulation_signal[u], outcome);
        }
    }

    // One node's tick; true when its breaker trips.
    bool read(std::int64_t node, double energy_j, const NodeCaps& caps, double end_s, const Outcome& outcome,
              const NodeFields& fields, std::int64_t i) {
        const Reading reading = nodes_[node].read(arrays_.nodes[node], arrays_.tick_s, energy_j, caps.cap_w,
                                                  caps.brake_cap_w, caps.rating_w, end_s);
        outcome(fields.power_w, i) = reading.power_w;
        outcome(fields.above_cap_s, i) = reading.above ? arrays_.tick_s : 0.0;
        outcome(fields.over_cap_w, i) = reading.over_cap_w;
        outcome(fields.brakes, i) = reading.brake_began ? 1.0 : 0.0;
        outcome(fields.trips, i) = reading.tripped ? 1.0 : 0.0;
        return reading.tripped;
    }

    static void write_node(const PowerNode& node, float cap_w, double now_s, const Outcome& outcome, const View& view,
                           const NodeFields& fields, std::int64_t i) {
        view.set(fields.power_over_cap, i, outcome(fields.power_w, i) / static_cast<double>(cap_w));
        view.set(fields.braked, i, node.braked);
        view.set(fields.brake_timer_s, i, node.brake_timer_s);
        view.set(fields.dark_remaining_s, i, std::max(node.dark_until_s - now_s, 0.0));
    }
};

}  // namespace tokenfleet
