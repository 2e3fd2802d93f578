// The scenario as flat arrays: the C++ mirror of envs/engine/arrays.py (names and units: columns.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "columns.hpp"
#include "fields.hpp"

namespace tokenfleet {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// Tokens of an iteration at which a pool's time and work are given: 1, 2, 4 ... 16384; affine between them.
inline constexpr int kTokenKnots = 15;
using Knots = std::array<double, kTokenKnots>;

// Steps of the credit that a missed service agreement gives.
inline constexpr std::size_t kCreditTiers = 3;
using Tiers = std::array<double, kCreditTiers>;

#define TOKENFLEET_FIELD(type, name) type name;

// One pool, with its own model or with its variant; watts and joules are per replica, over all its GPUs.
struct Pool {
    TOKENFLEET_POOL_COLUMNS(TOKENFLEET_FIELD)
    TOKENFLEET_MODEL_COLUMNS(TOKENFLEET_FIELD)
    std::int64_t first_replica;
    bool is_variant;
};

struct RequestClass {
    TOKENFLEET_CLASS_COLUMNS(TOKENFLEET_FIELD)
};

struct Site {
    TOKENFLEET_SITE_COLUMNS(TOKENFLEET_FIELD)
};

// What watches a cap: meter, brake and breaker of a grid connection or of a row.
struct NodeLimits {
    TOKENFLEET_NODE_COLUMNS(TOKENFLEET_FIELD)
};

struct FleetArrays {
    double tick_s;
    std::int64_t horizon_ticks;
    std::vector<Pool> pools;
    std::vector<Pool> variants;  // the pools with a variant once more, with that
    std::vector<RequestClass> classes;
    std::vector<Site> sites;
    std::vector<NodeLimits> nodes;  // grid connections of all sites, then all rows
    TOKENFLEET_LINK_COLUMNS(TOKENFLEET_FIELD)
    View::Layout view;
    Outcome::Layout outcome;
    std::int64_t num_replicas = 0;

    std::int64_t num_pools() const { return static_cast<std::int64_t>(pools.size()); }
    std::int64_t num_variants() const { return static_cast<std::int64_t>(variants.size()); }
    std::int64_t num_unsteady_pools() const {
        return std::ranges::count_if(pools, [](const Pool& pool) { return pool.unsteady >= 0; });
    }
    std::int64_t num_classes() const { return static_cast<std::int64_t>(classes.size()); }
    std::int64_t num_sites() const { return static_cast<std::int64_t>(sites.size()); }
    std::int64_t num_programmes() const {
        return std::ranges::count_if(sites, [](const Site& site) { return site.programme >= 0; });
    }
    std::int64_t num_regulators() const {
        return std::ranges::count_if(sites, [](const Site& site) { return site.regulation >= 0; });
    }
    std::int64_t num_rows() const { return static_cast<std::int64_t>(nodes.size() - sites.size()); }

    bool has_growing_kv() const {
        return std::ranges::any_of(pools, [](const Pool& pool) { return pool.kv_grows; });
    }
    bool has_caches() const {
        return std::ranges::any_of(pools, [](const Pool& pool) { return pool.prefix_block_tokens > 0; });
    }
    bool has_hand_offs() const {
        return std::ranges::any_of(pools, [](const Pool& pool) { return pool.hand_off_to >= 0; });
    }
    bool has_distances() const {
        return std::ranges::any_of(network_s, [](double way_s) { return way_s > 0.0; });
    }
    bool has_uploads() const {
        return std::ranges::any_of(upload_token_s, [](double token_s) { return token_s > 0.0; });
    }
    bool has_retries() const {
        return std::ranges::any_of(classes, [](const RequestClass& k) { return k.max_attempts > 1; });
    }
    bool has_budgets() const {
        return std::ranges::any_of(classes, [](const RequestClass& k) { return std::isfinite(k.session_budget_usd); });
    }
};

#undef TOKENFLEET_FIELD

}  // namespace tokenfleet
