// What classes whose service agreement is missed get back: the C++ mirror of envs/engine/reference/agreements.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "links.hpp"

namespace tokenfleet {

class Agreements : ArraysLink {
public:
    explicit Agreements(const FleetArrays& arrays) : ArraysLink(arrays) {
        for (std::int64_t k = 0; k < arrays.num_classes(); ++k) {
            if (arrays.classes[k].agreement >= 0) windows_.push_back({.class_id = k});
        }
    }

    // Count what has ended in a tick, and settle the windows that end with it.
    void account(std::int64_t tick, const Outcome& outcome) {
        for (Window& window : windows_) {
            const RequestClass& limits = arrays_.classes[window.class_id];
            window.add(outcome, window.class_id, limits);
            const bool closes = window.ticks == limits.agreement_window_ticks || tick + 1 == arrays_.horizon_ticks;
            if (!closes) continue;
            outcome(Outcome::credit_usd, limits.agreement) = window.credit_fraction(limits) * window.value_usd;
            window.closed = true;
        }
    }

    // What a policy sees of the windows.
    void write_view(const View& view) const {
        for (const Window& window : windows_) {
            const RequestClass& limits = arrays_.classes[window.class_id];
            view.set(View::agreement_share, limits.agreement, window.share());
            view.set(View::agreement_ended, limits.agreement, window.ended);
            view.set(View::agreement_fraction, limits.agreement,
                     static_cast<double>(window.ticks) / static_cast<double>(limits.agreement_window_ticks));
        }
    }

private:
    struct Window {
        std::int64_t class_id;
        std::int64_t ticks = 0;
        double ended = 0.0, timely = 0.0, value_usd = 0.0;
        bool closed = false;

        void add(const Outcome& outcome, std::int64_t k, const RequestClass& limits) {
            if (closed) *this = {.class_id = k};
            ++ticks;
            ended += outcome(Outcome::completed_in_slo, k) + outcome(Outcome::completed_late, k) +
                     outcome(Outcome::refused, k) + outcome(Outcome::expired, k);
            timely += outcome(Outcome::in_agreement, limits.agreement);
            value_usd += outcome(Outcome::value_in_slo_usd, k) + outcome(Outcome::value_late_usd, k) +
                         outcome(Outcome::value_lost_usd, k);
        }

        double share() const { return ended > 0.0 ? timely / ended : 1.0; }

        double credit_fraction(const RequestClass& limits) const {
            double credit = 0.0;
            for (std::size_t tier = 0; tier < kCreditTiers; ++tier) {
                if (share() < limits.agreement_below_share[tier]) {
                    credit = std::max(credit, limits.agreement_credit_fraction[tier]);
                }
            }
            return credit;
        }
    };

    std::vector<Window> windows_;  // [Q]
};

}  // namespace tokenfleet
