// The scenario as flat arrays: the C++ mirror of envs/engine/arrays.py (names and units: columns.hpp).
#pragma once

#include <algorithm>
#include <array>
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

#define TOKENFLEET_FIELD(type, name) type name;

// One pool; watts and joules are per replica, over all its GPUs.
struct Pool {
    TOKENFLEET_POOL_COLUMNS(TOKENFLEET_FIELD)
    std::int64_t first_replica;
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
    TOKENFLEET_LINK_COLUMNS(TOKENFLEET_FIELD)
    ViewLayout view;
    OutcomeLayout outcome;
    std::int64_t num_replicas = 0;

    template <typename Is>
    bool any_pool(Is is) const {
        return std::any_of(pools.begin(), pools.end(), is);
    }
    bool has_caches() const { return any_pool([](const Pool& p) { return p.prefix_block_tokens > 0; }); }
    bool has_distances() const { return any_positive(network_s); }
    bool has_uploads() const { return any_positive(upload_token_s); }
    static bool any_positive(const std::vector<double>& values) {
        return std::any_of(values.begin(), values.end(), [](double value) { return value > 0.0; });
    }
};

#undef TOKENFLEET_FIELD

}  // namespace tokenfleet
