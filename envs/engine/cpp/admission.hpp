// Admission: the C++ mirror of envs/engine/reference/admission.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "links.hpp"
#include "ties.hpp"

namespace tokenfleet {

// A held request and when it leaves.
struct Release {
    double time_s;
    std::int32_t index;
};

class Admission : DemandLink {
public:
    Admission(const FleetArrays& arrays, Demand& demand)
        : DemandLink(arrays, demand),
          held_(arrays.classes.size()),
          credit_(arrays.classes.size(), 1.0),
          credited_s_(arrays.classes.size()) {}

    // Requests/s of each class, [K], from now on.
    void set_rates(const double* admit_rate_rps) { rate_rps_ = admit_rate_rps; }

    std::int64_t held(std::int64_t k) const { return held_[k].size; }

    void hold(std::int32_t index) { held_[demand_.requests[index].class_id].push(demand_.requests, index); }

    // Requests stand in other rows now.
    void renumber(const std::int32_t* row) {
        for (RequestQueue& held : held_) held.renumber(row);
    }

    // Token bucket one second deep (at least one request).
    bool admit(std::int32_t k, double now_s) {
        const double rate_rps = rate_rps_[k];
        if (rate_rps == kNever) return true;
        const double depth = std::max(1.0, rate_rps);
        const double credit = std::min(depth, credit_[k] + rate_rps * (now_s - credited_s_[k]));
        credited_s_[k] = now_s;
        const bool admitted = credit >= 1.0 - credit_tie(rate_rps);
        credit_[k] = admitted ? credit - 1.0 : credit;
        return admitted;
    }

    // Held requests whose patience has run out; until the next call.
    const std::vector<std::int32_t>& drop_expired(double now_s) {
        expired_.clear();
        for (std::int64_t k = 0; k < arrays_.num_classes(); ++k) {
            RequestQueue& held = held_[k];
            const double patience_s = arrays_.classes[k].patience_s;
            while (!held.empty() && exceeds(now_s - demand_.requests[held.head].arrival_s, patience_s)) {
                expired_.push_back(held.pop(demand_.requests));
            }
        }
        return expired_;
    }

    // Held requests that leave in the tick from `start_s`, evenly spaced over it, oldest first; until the
    // next call.
    const std::vector<Release>& release(double start_s) {
        released_.clear();
        for (std::int64_t k = 0; k < arrays_.num_classes(); ++k) {
            const std::int64_t count = release_count(k);
            const double gap_s = arrays_.tick_s / static_cast<double>(count);
            for (std::int64_t i = 0; i < count; ++i) {
                const double time_s = start_s + (static_cast<double>(i) + 0.5) * gap_s;
                released_.push_back({time_s, held_[k].pop(demand_.requests)});
            }
        }
        if (!std::ranges::is_sorted(released_, {}, &Release::time_s)) {
            std::ranges::stable_sort(released_, {}, &Release::time_s);
        }
        return released_;
    }

private:
    const double* rate_rps_ = nullptr;         // [K]
    std::vector<RequestQueue> held_;           // [K]
    std::vector<double> credit_, credited_s_;  // [K]
    std::vector<std::int32_t> expired_;        // at the start of this tick
    std::vector<Release> released_;            // in this tick

    // How many held requests the rate lets go; the unused part of a request carries over.
    std::int64_t release_count(std::int64_t k) {
        if (!arrays_.classes[k].deferrable) return 0;
        const std::int64_t waiting = held_[k].size;
        if (rate_rps_[k] == kNever) return waiting;
        const double credit = credit_[k] + rate_rps_[k] * arrays_.tick_s;
        const double whole = std::max(std::floor(credit + credit_tie(rate_rps_[k])), 0.0);
        const double allowed = std::min(static_cast<double>(waiting), whole);
        credit_[k] = std::min(credit - allowed, 1.0);
        return static_cast<std::int64_t>(allowed);
    }
};

}  // namespace tokenfleet
