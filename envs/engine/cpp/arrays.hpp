// The scenario as flat arrays: the C++ mirror of envs/engine/arrays.py (same names, same units).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "fields.hpp"

namespace tokenfleet {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// Tokens of an iteration at which a pool's time and work are given: 1, 2, 4 ... 16384; affine between them.
inline constexpr int kTokenKnots = 15;
using Knots = std::array<double, kTokenKnots>;

// One pool; watts and joules are per replica, over all its GPUs.
struct Pool {
    std::int64_t site, row, whole_site_row, replicas, first_replica, max_batch, token_budget, kv_tokens,
        watermark_tokens, prefix_block_tokens, host_cache_tokens, clock_latency_ticks, hand_off_to, context_limit_tokens;
    double host_load_s, kv_bytes_per_token, prompt_token_s;
    bool kv_grows, takes_over, migrates_prefixes;
    double wake_s;
    double host_s, decode_s, context_s, mixed_context_s, prefill_attention_s, prefill_memory_fraction;
    double static_w, floor_w, context_j, token_j, attention_j, limit_w;
    Knots token_s, token_memory_share, work_j;
    double idle_w, asleep_w, host_w, host_w_per_board_w, host_asleep_w;
    double voltage_floor_fraction, clock_floor_fraction, core_byte_fraction, core_context_fraction, knee_fraction, shoulder_slope;
};

struct RequestClass {
    double ttft_s, tpot_s, deadline_s, patience_s;
    double backoff_s, backoff_factor, backoff_jitter;
    double usd_per_input_token, usd_per_output_token, cached_input_fraction_of_price, late_value_fraction;
    double session_budget_usd, lowest_price_factor, highest_price_factor;
    std::int64_t output_weight, max_attempts, priced;
    bool deferrable;
};

struct Site {
    std::int64_t solar, battery, room;  // place among the sites that have one, -1 without
    double design_outdoor_c, room_supply_c, room_k_per_w, room_response, room_limit_c, room_release_c,
        derate_clock_fraction;
    double battery_limit_w, battery_charge_efficiency, battery_discharge_efficiency, battery_capacity_j,
        battery_lowest_j, battery_highest_j, battery_initial_j;
};

// What watches a cap: meter, brake and breaker of a grid connection or of a row.
struct NodeLimits {
    std::int64_t meter_window_ticks, control_lag_ticks;
    double brake_delay_s, brake_clock_fraction, recovery_ratio, release_fraction, release_delay_s;
    double pickup_ratio, trip_exponent, trip_heat_s, cooling_s, restart_s;
};

#define TOKENFLEET_COLUMN(name) std::int64_t name;

// First column of each field in the float32 view row; see envs/fields.py for their meaning.
struct ViewLayout {
    TOKENFLEET_VIEW_FIELDS(TOKENFLEET_COLUMN)
    std::int64_t exogenous;  // where the exogenous fields begin, the sites' caps being the first
    std::int64_t row_cap_w;  // the one of them that engines read too
    std::int64_t width;
};

// First column of each field in the float64 outcome row.
struct OutcomeLayout {
    TOKENFLEET_OUTCOME_FIELDS(TOKENFLEET_COLUMN)
    std::int64_t width;
};

#undef TOKENFLEET_COLUMN

struct FleetArrays {
    double tick_s;
    std::int64_t horizon_ticks;
    std::vector<Pool> pools;
    std::vector<RequestClass> classes;
    std::vector<Site> sites;
    std::vector<NodeLimits> nodes;  // grid connections of all sites, then all rows
    std::vector<std::uint8_t> route_mask;  // [K, P]
    std::vector<double> network_s;         // [G, S]
    double upload_token_s;                 // on the client's line, for each token of a prompt
    std::vector<double> kv_latency_s, kv_token_s;  // [P, P]
    ViewLayout view;
    OutcomeLayout outcome;
    std::int64_t num_replicas = 0;

    template <typename Is>
    bool any_pool(Is is) const {
        return std::any_of(pools.begin(), pools.end(), is);
    }
    bool has_caches() const { return any_pool([](const Pool& p) { return p.prefix_block_tokens > 0; }); }
    bool has_distances() const { return std::any_of(network_s.begin(), network_s.end(), [](double s) { return s > 0.0; }); }
};

}  // namespace tokenfleet
