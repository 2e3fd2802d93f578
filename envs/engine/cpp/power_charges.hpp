// What a site's tariff charges beyond energy: the C++ mirror of envs/engine/reference/power_charges.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "arrays.hpp"

namespace tokenfleet {

// Of a site that has charges.
class PowerCharges {
public:
    explicit PowerCharges(const Site& site) : peak_w_(site.ratchet_w) {}

    // Charge for a tick.
    void account(const Site& site, double tick_s, double energy_j, const Outcome& outcome) {
        outcome(Outcome::demand_charge_usd, site.charges) = demand_charge_usd(site, tick_s, energy_j);
        outcome(Outcome::ramp_charge_usd, site.charges) = ramp_charge_usd(site, energy_j / tick_s);
    }

    // What a policy sees of the meter.
    void write_view(const Site& site, double tick_s, const View& view) const {
        const auto ticks = static_cast<double>(std::max(ticks_, std::int64_t{1}));
        view.set(View::peak_power_w, site.charges, peak_w_);
        view.set(View::window_power_w, site.charges, window_j_ / (ticks * tick_s));
        view.set(View::window_fraction, site.charges,
                 static_cast<double>(ticks_) / static_cast<double>(site.demand_window_ticks));
    }

private:
    double peak_w_;
    double window_j_ = 0.0;
    double power_w_ = -1.0;  // of the tick before, below 0 without one
    std::int64_t ticks_ = 0;

    double demand_charge_usd(const Site& site, double tick_s, double energy_j) {
        if (ticks_ == site.demand_window_ticks) window_j_ = 0.0, ticks_ = 0;
        window_j_ += energy_j;
        ++ticks_;
        const double window_s = static_cast<double>(site.demand_window_ticks) * tick_s;
        const double rise_w = std::max(window_j_ / window_s - peak_w_, 0.0);
        peak_w_ += rise_w;
        return rise_w * site.demand_usd_per_w;
    }

    double ramp_charge_usd(const Site& site, double power_w) {
        const double change_w = power_w_ >= 0.0 ? std::abs(power_w - power_w_) : 0.0;
        power_w_ = power_w;
        return std::max(change_w - site.ramp_limit_w, 0.0) * site.ramp_usd_per_w;
    }
};

}  // namespace tokenfleet
