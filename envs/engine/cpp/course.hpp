// What chance decided for an episode, and its course from tick to tick; see envs/episode/episode.py.
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
#define TOKENFLEET_POINTER(name, length) const double* name;
    TOKENFLEET_EPISODE_SERIES(TOKENFLEET_POINTER)
#undef TOKENFLEET_POINTER
    const float* exogenous;                // [H + 1, E]
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
#define TOKENFLEET_SERIES(name, length) std::vector<double> name;
    TOKENFLEET_EPISODE_SERIES(TOKENFLEET_SERIES)
#undef TOKENFLEET_SERIES

    explicit Course(const FleetArrays& arrays)
        : arrays_(arrays),
          sites_(static_cast<std::int64_t>(arrays.sites.size())),
          rows_(static_cast<std::int64_t>(arrays.nodes.size()) - sites_) {}

    void load(const EpisodeColumns& e) {
        const auto pools = static_cast<std::int64_t>(arrays_.pools.size());
        const std::int64_t ticks = arrays_.horizon_ticks, sites = sites_, rows = rows_;
#define TOKENFLEET_LOAD(name, length) name.assign(e.name, e.name + (length));
        TOKENFLEET_EPISODE_SERIES(TOKENFLEET_LOAD)
#undef TOKENFLEET_LOAD
        exogenous_.assign(e.exogenous, e.exogenous + (arrays_.horizon_ticks + 1) * exogenous_width());
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
                .cap_w = &cap_w[now],
                .rating_w = &rating_w[now],
                .row_cap_w = row_cap_w.data() + now_rows,
                .row_rating_w = row_rating_w.data() + now_rows,
                .solar_w = &solar_w[now],
                .outdoor_c = &outdoor_c[now],
                .pue = &pue[now],
                .fixed_w = fixed_w.data(),
                .battery_power_w = battery_power_w};
    }

    // What a policy sees from outside before a tick; begins with the caps.
    const float* exogenous(std::int64_t tick) const { return exogenous_.data() + tick * exogenous_width(); }
    std::int64_t exogenous_width() const { return arrays_.view.width - arrays_.view.exogenous; }

private:
    const FleetArrays& arrays_;
    std::int64_t sites_, rows_;
    std::vector<float> exogenous_;  // [H + 1, E]
    std::vector<Failure> failures_;
    std::size_t next_failure_ = 0;
};

}  // namespace tokenfleet
