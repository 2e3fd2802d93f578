// The door of a fleet: the C++ mirror of envs/engine/reference/admission.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "request.hpp"
#include "ties.hpp"

namespace tokenfleet {

// A held request and when it leaves.
struct Release {
    double time_s;
    std::int32_t index;
};

class Admission {
public:
    explicit Admission(const FleetArrays& arrays)
        : arrays_(arrays), held_(arrays.classes.size()), credit_(arrays.classes.size()), credited_s_(arrays.classes.size()) {}

    void reset() {
        std::fill(held_.begin(), held_.end(), RequestQueue{});
        std::fill(credit_.begin(), credit_.end(), 1.0);
        std::fill(credited_s_.begin(), credited_s_.end(), 0.0);
    }

    // Requests/s of each class, [K], from now on.
    void set_rates(const double* admit_rate_rps) { rate_rps_ = admit_rate_rps; }

    std::int64_t held(std::int64_t k) const { return held_[k].size; }

    void hold(std::vector<Request>& requests, std::int32_t index) { held_[requests[index].class_id].push(requests, index); }

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

    // Held requests that leave in the tick from `start_s`, evenly spaced over it, oldest first; calls `expire(index)` for
    // those whose patience has run out.
    template <typename Expire>
    const std::vector<Release>& release(const std::vector<Request>& requests, double start_s, Expire expire) {
        released_.clear();
        for (std::int32_t k = 0; k < static_cast<std::int32_t>(held_.size()); ++k) {
            RequestQueue& held = held_[k];
            while (!held.empty() && exceeds(start_s - requests[held.head].arrival_s, arrays_.classes[k].patience_s)) {
                expire(held.pop(requests));
            }
            const std::int64_t count = release_count(k);
            const double gap_s = arrays_.tick_s / static_cast<double>(count);
            for (std::int64_t i = 0; i < count; ++i) {
                released_.push_back({start_s + (static_cast<double>(i) + 0.5) * gap_s, held.pop(requests)});
            }
        }
        std::stable_sort(released_.begin(), released_.end(),
                         [](const Release& a, const Release& b) { return a.time_s < b.time_s; });
        return released_;
    }

private:
    const FleetArrays& arrays_;
    const double* rate_rps_ = nullptr;         // [K]
    std::vector<RequestQueue> held_;           // [K]
    std::vector<double> credit_, credited_s_;  // [K]
    std::vector<Release> released_;

    // How many held requests the rate lets go; the unused part of a request carries over.
    std::int64_t release_count(std::int32_t k) {
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
