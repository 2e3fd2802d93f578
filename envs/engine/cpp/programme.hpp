// What a demand-response programme pays a site: the C++ mirror of envs/engine/reference/programme.py.
#pragma once

#include <algorithm>

#include "arrays.hpp"
#include "meter.hpp"

namespace tokenfleet {

// As in envs/layers/power/programme.py.
inline constexpr double kNoCall = 0.0, kRebound = 3.0;

// Of a site that takes part in one.
class Programme {
public:
    explicit Programme(const Site& site) : meter_(site.baseline_ticks), baseline_w_(site.initial_baseline_w) {}

    // Pay and charge for a tick, whose meters have been read.
    void account(const Site& site, std::int64_t s, double tick_s, double energy_j, double called_w, double phase,
                 double brake_cap_w, const Outcome& outcome) {
        delivered_w_ = std::min(std::max(baseline_w_ - energy_j / tick_s, 0.0), called_w);
        const bool called = called_w > 0.0;
        const double over_j = called ? std::max(energy_j - (site.contract_w - called_w) * tick_s, 0.0) : 0.0;
        const double rebound_w = baseline_w_ * site.rebound_level;
        const double rebound_j = phase == kRebound ? std::max(energy_j - rebound_w * tick_s, 0.0) : 0.0;
        const double delivered_j = delivered_w_ * tick_s;
        const std::int64_t c = site.programme;
        outcome(Outcome::called_j, c) = called_w * tick_s;
        outcome(Outcome::delivered_j, c) = delivered_j;
        outcome(Outcome::over_call_j, c) = over_j;
        outcome(Outcome::rebound_j, c) = rebound_j;
        outcome(Outcome::availability_usd, c) =
            site.availability_usd_per_s * tick_s * (called ? delivered_w_ / called_w : 1.0);
        outcome(Outcome::activation_usd, c) = delivered_j * site.activation_usd_per_j;
        outcome(Outcome::damages_usd, c) = over_j * site.damages_usd_per_j;
        outcome(Outcome::rebound_usd, c) = rebound_j * site.rebound_usd_per_j;
        const double held_over_w = std::max(outcome(Outcome::power_w, s) - brake_cap_w, 0.0);
        outcome(Outcome::unbraked_over_cap_w, c) = outcome(Outcome::over_cap_w, s) - held_over_w;
        if (phase == kNoCall && site.baseline_ticks > 0) baseline_w_ = meter_.read_w(energy_j, tick_s);
    }

    // What a policy sees of the programme, beside what is announced.
    void write_view(const Site& site, const View& view) const {
        view.set(View::baseline_w, site.programme, baseline_w_);
        view.set(View::delivered_w, site.programme, delivered_w_);
    }

private:
    Meter meter_;
    double baseline_w_;
    double delivered_w_ = 0.0;
};

}  // namespace tokenfleet
