// What chance decided for an episode, and its course from tick to tick; see envs/episode/episode.py.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "arrays.hpp"
#include "controls.hpp"
#include "episode.hpp"
#include "links.hpp"
#include "power_delivery.hpp"
#include "prefetch.hpp"

namespace tokenfleet {

// A replica that breaks.
struct Failure {
    std::int64_t tick, replica;
    double repaired_s;
};

// The series of a course never change, and copies share them.
class Course : ArraysLink {
public:
#define TOKENFLEET_SERIES(name, length) std::span<const double> name;
    TOKENFLEET_EPISODE_SERIES(TOKENFLEET_SERIES)
#undef TOKENFLEET_SERIES

    explicit Course(const FleetArrays& arrays) : ArraysLink(arrays) {}  // of no episode

    Course(const FleetArrays& arrays, const EpisodeColumns& e) : ArraysLink(arrays) {
        const std::int64_t ticks = arrays.horizon_ticks, sites = arrays.num_sites(), rows = arrays.num_rows(),
                           pools = arrays.num_pools(), variants = arrays.num_variants(),
                           unsteady_pools = arrays.num_unsteady_pools(), programmes = arrays.num_programmes(),
                           regulators = arrays.num_regulators();
        const auto drawn = std::make_shared<Drawn>();
#define TOKENFLEET_LOAD(name, length) \
    drawn->name.assign(e.name, e.name + (length)); \
    name = drawn->name;
        TOKENFLEET_EPISODE_SERIES(TOKENFLEET_LOAD)
#undef TOKENFLEET_LOAD
        drawn->exogenous.assign(e.exogenous, e.exogenous + (ticks + 1) * exogenous_width());
        for (std::int64_t f = 0; f < e.num_failures; ++f) {
            drawn->failures.push_back({e.failure_tick[f], e.failed_replica[f], e.repaired_s[f]});
        }
        exogenous_ = drawn->exogenous;
        failures_ = drawn->failures;
        drawn_ = drawn;
    }

    // Another episode's course, which is this one up to now.
    void change_future(Course other) {
        other.next_failure_ = next_failure_;
        *this = other;
    }

    bool has_failures() const { return !failures_.empty(); }

    // The next replica that breaks in this tick, or nothing.
    const Failure* take_failure(std::int64_t tick) {
        const bool due = next_failure_ < failures_.size() && failures_[next_failure_].tick <= tick;
        return due ? &failures_[next_failure_++] : nullptr;
    }

    // Factor on the share of decode time that scales with the clock.
    double clock_sensitivity_factor_of(const Pool& pool, std::int64_t tick) const {
        if (pool.unsteady < 0) return 1.0;
        const auto unsteady_pools = static_cast<std::int64_t>(clock_sensitivity_factor.size()) / arrays_.horizon_ticks;
        return clock_sensitivity_factor[tick * unsteady_pools + pool.unsteady];
    }

    SiteTick at(std::int64_t tick, const ControlsRow& controls) const {
        const std::int64_t now = tick * arrays_.num_sites(), now_rows = tick * arrays_.num_rows(),
                           now_programmes = tick * arrays_.num_programmes(),
                           now_regulators = tick * arrays_.num_regulators();
        prefetch_each({&cap_w[now], &brake_cap_w[now], &rating_w[now], &solar_w[now], &outdoor_c[now], &pue[now]});
        return {.start_s = static_cast<double>(tick) * arrays_.tick_s,
                .end_s = static_cast<double>(tick + 1) * arrays_.tick_s,
                .cap_w = &cap_w[now],
                .brake_cap_w = &brake_cap_w[now],
                .rating_w = &rating_w[now],
                .called_w = called_w.data() + now_programmes,
                .call_phase = call_phase.data() + now_programmes,
                .regulation_signal = regulation_signal.data() + now_regulators,
                .row_cap_w = row_cap_w.data() + now_rows,
                .row_rating_w = row_rating_w.data() + now_rows,
                .solar_w = &solar_w[now],
                .outdoor_c = &outdoor_c[now],
                .pue = &pue[now],
                .fixed_w = fixed_w.data(),
                .battery_power_w = controls.battery_power_w,
                .training_share = controls.training_share};
    }

    // What a policy sees from outside before a tick; begins with the caps.
    const float* exogenous(std::int64_t tick) const { return exogenous_.data() + tick * exogenous_width(); }
    std::int64_t exogenous_width() const { return arrays_.view.width - arrays_.view.exogenous; }

private:
    struct Drawn {
#define TOKENFLEET_SERIES(name, length) std::vector<double> name;
        TOKENFLEET_EPISODE_SERIES(TOKENFLEET_SERIES)
#undef TOKENFLEET_SERIES
        std::vector<float> exogenous;
        std::vector<Failure> failures;
    };
    std::shared_ptr<const Drawn> drawn_;
    std::span<const float> exogenous_;  // [H + 1, E]
    std::span<const Failure> failures_;
    std::size_t next_failure_ = 0;
};

}  // namespace tokenfleet
