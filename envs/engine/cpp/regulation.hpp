// What a site is paid for following the grid's signal: the C++ mirror of envs/engine/reference/regulation.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "arrays.hpp"
#include "meter.hpp"

namespace tokenfleet {

// Of a site that regulates frequency.
class Regulation {
public:
    explicit Regulation(const Site& site)
        : meter_(site.regulation_base_ticks), base_w_(site.regulation_initial_base_w) {}

    // Pay for a tick.
    void account(const Site& site, double tick_s, double energy_j, double signal, const Outcome& outcome) {
        response_ = (energy_j / tick_s - base_w_) / site.regulation_w;
        const double score = std::max(1.0 - std::abs(response_ - signal), 0.0);
        const double mileage = std::abs(signal - signal_);
        const double offered_usd = site.regulation_usd_per_s * tick_s + mileage * site.regulation_usd_per_mileage;
        outcome(Outcome::regulation_score, site.regulation) = score;
        outcome(Outcome::regulation_ticks, site.regulation) = 1.0;
        outcome(Outcome::regulation_usd, site.regulation) =
            score < site.regulation_least_score ? 0.0 : score * offered_usd;
        signal_ = signal;
        base_w_ = meter_.read_w(energy_j, tick_s);
    }

    // What a policy sees of it, beside the signal.
    void write_view(const Site& site, const View& view) const {
        view.set(View::regulation_base_w, site.regulation, base_w_);
        view.set(View::regulation_response, site.regulation, response_);
    }

private:
    Meter meter_;
    double base_w_;
    double response_ = 0.0, signal_ = 0.0;  // in the tick before
};

}  // namespace tokenfleet
