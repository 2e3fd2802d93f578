// The columns of a fleet, by the names of envs/engine/columns/: one line a column, in the order of the structs.
// X(type, name) declares a field of a struct and reads it; importing the engine compares the names with Python's table.
#pragma once

#define TOKENFLEET_POOL_COLUMNS(X) \
    X(std::int64_t, site) \
    X(std::int64_t, row) \
    X(std::int64_t, whole_site_row) \
    X(std::int64_t, replicas) \
    X(std::int64_t, max_batch) \
    X(std::int64_t, token_budget) \
    X(std::int64_t, prefix_block_tokens) \
    X(std::int64_t, clock_latency_ticks) \
    X(std::int64_t, hand_off_to) \
    X(std::int64_t, context_limit_tokens) \
    X(double, kv_bytes_per_token) \
    X(double, prompt_token_s) \
    X(bool, kv_grows) \
    X(bool, takes_over) \
    X(bool, migrates_prefixes) \
    X(bool, ranks_classes) \
    X(std::int64_t, standby) \
    X(std::int64_t, variant) \
    X(std::int64_t, unsteady) \
    X(double, static_w) \
    X(double, floor_w) \
    X(double, limit_w) \
    X(double, idle_w) \
    X(double, asleep_w) \
    X(double, standby_w) \
    X(double, host_w) \
    X(double, host_w_per_board_w) \
    X(double, host_asleep_w) \
    X(double, host_standby_w) \
    X(double, voltage_floor_fraction) \
    X(double, clock_floor_fraction) \
    X(double, core_byte_fraction) \
    X(double, core_context_fraction) \
    X(double, knee_fraction) \
    X(double, shoulder_slope)

// What a pool's replicas are with one model: its own, or its variant.
#define TOKENFLEET_MODEL_COLUMNS(X) \
    X(std::int64_t, kv_tokens) \
    X(std::int64_t, watermark_tokens) \
    X(std::int64_t, host_cache_tokens) \
    X(std::int64_t, window_tokens) \
    X(double, window_ratio) \
    X(double, host_load_s) \
    X(double, load_s) \
    X(double, wake_s) \
    X(double, resume_s) \
    X(double, host_s) \
    X(double, decode_s) \
    X(double, context_s) \
    X(double, mixed_context_s) \
    X(double, prefill_attention_s) \
    X(double, prefill_memory_fraction) \
    X(double, context_j) \
    X(double, token_j) \
    X(double, attention_j) \
    X(Knots, token_s) \
    X(Knots, token_memory_share) \
    X(Knots, work_j) \
    X(double, quality)

#define TOKENFLEET_CLASS_COLUMNS(X) \
    X(double, ttft_s) \
    X(double, tpot_s) \
    X(double, deadline_s) \
    X(double, patience_s) \
    X(double, backoff_s) \
    X(double, backoff_factor) \
    X(double, backoff_jitter) \
    X(double, usd_per_input_token) \
    X(double, usd_per_output_token) \
    X(double, cached_input_fraction_of_price) \
    X(double, late_value_fraction) \
    X(double, session_budget_usd) \
    X(double, lowest_price_factor) \
    X(double, highest_price_factor) \
    X(std::int64_t, output_weight) \
    X(std::int64_t, max_attempts) \
    X(std::int64_t, priced) \
    X(std::int64_t, priority) \
    X(bool, deferrable) \
    X(std::int64_t, agreement) \
    X(std::int64_t, agreement_window_ticks) \
    X(double, agreement_ttft_s) \
    X(Tiers, agreement_below_share) \
    X(Tiers, agreement_credit_fraction)

#define TOKENFLEET_SITE_COLUMNS(X) \
    X(double, pue) \
    X(double, fixed_w) \
    X(std::int64_t, solar) \
    X(std::int64_t, battery) \
    X(std::int64_t, room) \
    X(double, design_outdoor_c) \
    X(double, room_supply_c) \
    X(double, room_k_per_w) \
    X(double, room_response) \
    X(double, room_limit_c) \
    X(double, room_release_c) \
    X(double, derate_clock_fraction) \
    X(double, battery_limit_w) \
    X(double, battery_charge_efficiency) \
    X(double, battery_discharge_efficiency) \
    X(double, battery_capacity_j) \
    X(double, battery_lowest_j) \
    X(double, battery_highest_j) \
    X(double, battery_initial_j) \
    X(std::int64_t, training) \
    X(std::int64_t, training_jobs) \
    X(double, training_busy_w) \
    X(double, training_idle_w) \
    X(double, training_usd_per_s) \
    X(double, checkpoint_interval_s) \
    X(double, checkpoint_s) \
    X(double, training_resume_s) \
    X(std::int64_t, charges) \
    X(std::int64_t, demand_window_ticks) \
    X(double, demand_usd_per_w) \
    X(double, ratchet_w) \
    X(double, ramp_limit_w) \
    X(double, ramp_usd_per_w) \
    X(std::int64_t, programme) \
    X(std::int64_t, baseline_ticks) \
    X(double, initial_baseline_w) \
    X(double, contract_w) \
    X(double, availability_usd_per_s) \
    X(double, activation_usd_per_j) \
    X(double, damages_usd_per_j) \
    X(double, rebound_level) \
    X(double, rebound_usd_per_j) \
    X(std::int64_t, regulation) \
    X(std::int64_t, regulation_base_ticks) \
    X(double, regulation_initial_base_w) \
    X(double, regulation_w) \
    X(double, regulation_usd_per_s) \
    X(double, regulation_usd_per_mileage) \
    X(double, regulation_least_score)

#define TOKENFLEET_NODE_COLUMNS(X) \
    X(std::int64_t, meter_window_ticks) \
    X(std::int64_t, control_lag_ticks) \
    X(double, brake_delay_s) \
    X(double, brake_clock_fraction) \
    X(double, recovery_ratio) \
    X(double, release_fraction) \
    X(double, release_delay_s) \
    X(double, pickup_ratio) \
    X(double, trip_exponent) \
    X(double, trip_heat_s) \
    X(double, cooling_s) \
    X(double, restart_s)

#define TOKENFLEET_LINK_COLUMNS(X) \
    X(std::vector<std::uint8_t>, route_mask)     /* [K, P] */ \
    X(std::vector<double>, network_s)            /* [G, S] */ \
    X(std::vector<double>, upload_token_s)       /* [G] */ \
    X(std::vector<double>, kv_latency_s)         /* [P, P] */ \
    X(std::vector<double>, kv_token_s)           /* [P, P] */ \
    X(std::vector<std::int64_t>, reserved_seats) /* [P, K] */

// What an episode holds of the course of sites, rows and pools, all of doubles; X(name, length) of a vector.
#define TOKENFLEET_EPISODE_SERIES(X) \
    X(cap_w, (ticks * sites)) \
    X(brake_cap_w, (ticks * sites)) \
    X(rating_w, (ticks * sites)) \
    X(called_w, (ticks * programmes)) \
    X(call_phase, (ticks * programmes)) \
    X(regulation_signal, (ticks * regulators)) \
    X(row_cap_w, (ticks * rows)) \
    X(row_rating_w, (ticks * rows)) \
    X(solar_w, (ticks * sites)) \
    X(outdoor_c, (ticks * sites)) \
    X(pue, (ticks * sites)) \
    X(fixed_w, sites) \
    X(host_power_factor, sites) \
    X(decode_memory_fraction, pools) \
    X(variant_memory_fraction, variants) \
    X(clock_sensitivity_factor, (ticks * unsteady_pools))

// What is set every tick, all of doubles; X(name, length) of a fleet's row.
#define TOKENFLEET_CONTROLS(X) \
    X(route_share, (classes * pools)) \
    X(clock_fraction, pools) \
    X(awake_fraction, pools) \
    X(standby_fraction, pools) \
    X(variant_fraction, pools) \
    X(admit_rate_rps, classes) \
    X(battery_power_w, sites) \
    X(training_share, sites) \
    X(prefix_affinity, classes) \
    X(token_price_factor, classes)

// Columns of a request table about clients, which may be left out where all requests have the default.
#define TOKENFLEET_CALL_COLUMNS(X) \
    X(double, wait_s) \
    X(double, retry_uniform) \
    X(double, price_tolerance) \
    X(std::int32_t, region_id) \
    X(std::int32_t, session_id) \
    X(std::int32_t, conversation_id) \
    X(std::int32_t, group_id) \
    X(std::int32_t, group_tokens) \
    X(std::int32_t, reusable_tokens) \
    X(std::int32_t, predecessors) \
    X(std::int64_t, successor_start) \
    X(std::int32_t, successor)
