// What an engine measures and reports: the C++ mirror of envs/fields.py, by the same names, one line a field.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#define TOKENFLEET_VIEW_FIELDS(X) \
    X(waiting_requests) \
    X(running_requests) \
    X(unprefilled_tokens) \
    X(kv_reserved_fraction) \
    X(cached_fraction) \
    X(awake_replicas) \
    X(waking_replicas) \
    X(failed_replicas) \
    X(standby_replicas) \
    X(preparing_replicas) \
    X(variant_replicas) \
    X(switching_replicas) \
    X(clock_fraction) \
    X(pool_power_w) \
    X(generated_tokens) \
    X(arrived) \
    X(held_requests) \
    X(thinking_calls) \
    X(away_requests) \
    X(retries) \
    X(completed_in_slo) \
    X(completed_late) \
    X(refused) \
    X(expired) \
    X(ttft_mean_s) \
    X(site_power_w) \
    X(power_over_cap) \
    X(braked) \
    X(brake_timer_s) \
    X(dark_remaining_s) \
    X(row_power_over_cap) \
    X(row_braked) \
    X(row_brake_timer_s) \
    X(row_dark_remaining_s) \
    X(room_c) \
    X(derated) \
    X(battery_charge_fraction) \
    X(battery_power_w) \
    X(solar_power_w) \
    X(working_jobs) \
    X(unsaved_work_s) \
    X(peak_power_w) \
    X(window_power_w) \
    X(window_fraction) \
    X(baseline_w) \
    X(delivered_w) \
    X(regulation_base_w) \
    X(regulation_response) \
    X(agreement_share) \
    X(agreement_ended) \
    X(agreement_fraction) \
    X(token_price_factor) \
    X(declined)

// What replicas count, summed over a pool.
#define TOKENFLEET_COUNTS(X) \
    X(generated_tokens) \
    X(prefilled_tokens) \
    X(prefix_hit_tokens) \
    X(host_hit_tokens) \
    X(migrated_tokens) \
    X(handed_off_tokens) \
    X(taken_over_tokens) \
    X(preemptions) \
    X(preempted_tokens)

#define TOKENFLEET_OUTCOME_FIELDS(X) \
    X(energy_j) \
    X(facility_energy_j) \
    X(battery_charge_j) \
    X(battery_discharge_j) \
    X(solar_j) \
    X(training_energy_j) \
    X(training_work_s) \
    X(training_lost_s) \
    X(training_usd) \
    X(delivered_tokens) \
    X(kv_sent_bytes) \
    X(power_w) \
    X(above_cap_s) \
    X(over_cap_w) \
    X(brakes) \
    X(trips) \
    X(derated_s) \
    X(demand_charge_usd) \
    X(ramp_charge_usd) \
    X(called_j) \
    X(delivered_j) \
    X(over_call_j) \
    X(rebound_j) \
    X(availability_usd) \
    X(activation_usd) \
    X(damages_usd) \
    X(rebound_usd) \
    X(unbraked_over_cap_w) \
    X(regulation_usd) \
    X(regulation_score) \
    X(regulation_ticks) \
    X(row_power_w) \
    X(row_above_cap_s) \
    X(row_over_cap_w) \
    X(row_brakes) \
    X(row_trips) \
    X(it_energy_j) \
    X(busy_energy_j) \
    X(idle_energy_j) \
    X(asleep_energy_j) \
    X(host_energy_j) \
    TOKENFLEET_COUNTS(X) \
    X(dropped_tokens) \
    X(running_tokens_change) \
    X(switches) \
    X(variant_tokens) \
    X(quality_loss_usd) \
    X(arrived) \
    X(completed_in_slo) \
    X(completed_late) \
    X(refused) \
    X(expired) \
    X(declined) \
    X(retries) \
    X(budget_ended) \
    X(prompt_tokens_asked) \
    X(output_tokens_asked) \
    X(prompt_tokens_in_slo) \
    X(output_tokens_in_slo) \
    X(prompt_tokens_late) \
    X(output_tokens_late) \
    X(prompt_tokens_lost) \
    X(output_tokens_lost) \
    X(prompt_tokens_declined) \
    X(output_tokens_declined) \
    X(value_in_slo_usd) \
    X(value_late_usd) \
    X(value_lost_usd) \
    X(value_declined_usd) \
    X(overdue_usd) \
    X(overdue_change_usd) \
    X(in_agreement) \
    X(credit_usd) \
    X(first_tokens) \
    X(ttft_sum_s)

namespace tokenfleet {

#define TOKENFLEET_NAME(name) name,

// One fleet's row of the float32 view. `View::awake_replicas`, say, is a field, and index p the entry of pool p.
class View {
public:
    enum Field : std::size_t { TOKENFLEET_VIEW_FIELDS(TOKENFLEET_NAME) kNumFields };

    struct Layout {
        std::array<std::int64_t, kNumFields> offsets;  // of each field's first column
        std::int64_t exogenous;                        // where the exogenous fields begin, the sites' caps first
        std::int64_t row_cap_w;                        // the other one of them that engines read
        std::int64_t width;
    };

    View(const Layout& layout, float* row) : layout_(layout), row_(row) {}

    template <typename Number>
    void set(Field field, std::int64_t index, Number value) const {
        row_[layout_.offsets[field] + index] = static_cast<float>(value);
    }

    void copy(const View& other) const { std::copy_n(other.row_, layout_.width, row_); }

    void set_exogenous(const float* values) const {
        std::copy_n(values, layout_.width - layout_.exogenous, row_ + layout_.exogenous);
    }

private:
    const Layout& layout_;
    float* row_;
};

// One fleet's row of the float64 outcome, indexed as a view is.
class Outcome {
public:
    enum Field : std::size_t { TOKENFLEET_OUTCOME_FIELDS(TOKENFLEET_NAME) kNumFields };

    struct Layout {
        std::array<std::int64_t, kNumFields> offsets;  // of each field's first column
        std::int64_t width;
    };

    Outcome(const Layout& layout, double* row) : layout_(layout), row_(row) {}

    double& operator()(Field field, std::int64_t index) const { return row_[layout_.offsets[field] + index]; }

    void clear() const { std::fill_n(row_, layout_.width, 0.0); }
    void copy(const Outcome& other) const { std::copy_n(other.row_, layout_.width, row_); }

private:
    const Layout& layout_;
    double* row_;
};

// What the replicas of a pool have counted in a tick; entry i becomes the outcome `kOutcomes[i]`.
struct Counts {
    enum Count : std::size_t { TOKENFLEET_COUNTS(TOKENFLEET_NAME) kNumCounts };

#define TOKENFLEET_OUTCOME(name) Outcome::name,
    static constexpr std::array<Outcome::Field, kNumCounts> kOutcomes{TOKENFLEET_COUNTS(TOKENFLEET_OUTCOME)};
#undef TOKENFLEET_OUTCOME

    std::array<std::int64_t, kNumCounts> values{};

    std::int64_t& operator[](Count count) { return values[count]; }
};

#undef TOKENFLEET_NAME

}  // namespace tokenfleet
