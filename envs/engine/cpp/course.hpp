// What chance decided for an episode, and its course from tick to tick; see envs/episode.py.
#pragma once

#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "power_delivery.hpp"

namespace tokenfleet {

// Columns of an Episode; sizes are checked by the bindings.
struct EpisodeColumns {
    std::int64_t num_requests, num_failures, num_contexts;
    const double* arrival_s;
    const std::int32_t* prompt_tokens;
    const std::int32_t* output_tokens;
    const std::int32_t* class_id;
    const double* cap_w;                   // [H, S]
    const double* rating_w;                // [H, S]
    const double* row_cap_w;               // [H, W]
    const double* row_rating_w;            // [H, W]
    const double* solar_w;                 // [H, S]
    const double* outdoor_c;               // [H, S]
    const double* pue;                     // [H, S]
    const double* fixed_w;                 // [S]
    const double* host_power_factor;       // [S]
    const float* exogenous;                // [H + 1, E]
    const double* decode_memory_fraction;  // [P]
    const std::int64_t* failure_tick;      // [F]
    const std::int64_t* failed_replica;    // [F]
    const double* repaired_s;              // [F]
    const std::int64_t* context_row;       // [X]
    const std::int64_t* context_holder;    // [X]
};

// A replica that breaks.
struct Failure {
    std::int64_t tick, replica;
    double repaired_s;
};

class Course {
public:
    std::vector<double> host_power_factor;       // [S]
    std::vector<double> decode_memory_fraction;  // [P]

    explicit Course(const FleetArrays& arrays)
        : arrays_(arrays),
          sites_(static_cast<std::int64_t>(arrays.sites.size())),
          rows_(static_cast<std::int64_t>(arrays.nodes.size()) - sites_) {}

    void load(const EpisodeColumns& e) {
        const std::int64_t site_ticks = arrays_.horizon_ticks * sites_, row_ticks = arrays_.horizon_ticks * rows_;
        cap_w_.assign(e.cap_w, e.cap_w + site_ticks);
        rating_w_.assign(e.rating_w, e.rating_w + site_ticks);
        row_cap_w_.assign(e.row_cap_w, e.row_cap_w + row_ticks);
        row_rating_w_.assign(e.row_rating_w, e.row_rating_w + row_ticks);
        solar_w_.assign(e.solar_w, e.solar_w + site_ticks);
        outdoor_c_.assign(e.outdoor_c, e.outdoor_c + site_ticks);
        pue_.assign(e.pue, e.pue + site_ticks);
        fixed_w_.assign(e.fixed_w, e.fixed_w + sites_);
        host_power_factor.assign(e.host_power_factor, e.host_power_factor + sites_);
        exogenous_.assign(e.exogenous, e.exogenous + (arrays_.horizon_ticks + 1) * exogenous_width());
        decode_memory_fraction.assign(e.decode_memory_fraction, e.decode_memory_fraction + arrays_.pools.size());
        failures_.clear();
        next_failure_ = 0;
        for (std::int64_t f = 0; f < e.num_failures; ++f) {
            failures_.push_back({e.failure_tick[f], e.failed_replica[f], e.repaired_s[f]});
        }
    }

    bool has_failures() const { return !failures_.empty(); }

    // The next replica that breaks in this tick, or nothing.
    const Failure* take_failure(std::int64_t tick) {
        const bool due = next_failure_ < failures_.size() && failures_[next_failure_].tick <= tick;
        return due ? &failures_[next_failure_++] : nullptr;
    }

    SiteTick at(std::int64_t tick, const double* battery_power_w) const {
        const std::int64_t now = tick * sites_, now_rows = tick * rows_;
        return {.start_s = static_cast<double>(tick) * arrays_.tick_s,
                .end_s = static_cast<double>(tick + 1) * arrays_.tick_s,
                .cap_w = &cap_w_[now],
                .rating_w = &rating_w_[now],
                .row_cap_w = row_cap_w_.data() + now_rows,
                .row_rating_w = row_rating_w_.data() + now_rows,
                .solar_w = &solar_w_[now],
                .outdoor_c = &outdoor_c_[now],
                .pue = &pue_[now],
                .fixed_w = fixed_w_.data(),
                .battery_power_w = battery_power_w};
    }

    // What the brain sees of the world before a tick; begins with the caps.
    const float* exogenous(std::int64_t tick) const { return exogenous_.data() + tick * exogenous_width(); }
    std::int64_t exogenous_width() const { return arrays_.view.width - arrays_.view.exogenous; }

private:
    const FleetArrays& arrays_;
    std::int64_t sites_, rows_;
    std::vector<double> cap_w_, rating_w_, solar_w_, outdoor_c_, pue_;  // [H, S]
    std::vector<double> row_cap_w_, row_rating_w_;                      // [H, W]
    std::vector<double> fixed_w_;                                       // [S]
    std::vector<float> exogenous_;                                      // [H + 1, E]
    std::vector<Failure> failures_;
    std::size_t next_failure_ = 0;
};

}  // namespace tokenfleet
