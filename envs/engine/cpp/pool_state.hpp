// One pool in an episode: what its replicas have in common.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "endings.hpp"
#include "hand_offs.hpp"
#include "links.hpp"
#include "physics.hpp"

namespace tokenfleet {

// What does not change in an episode, and what a pool refers to.
struct PoolLinks {
    const std::int64_t index;
    const Pool& limits;   // with the own model
    const Pool* variant;  // with the variant; null without one
    const std::vector<RequestClass>& classes;
    Demand& demand;
    Endings& endings;                    // told what becomes of requests
    HandOffs& hand_offs;                 // given those that another pool decodes
    const std::int64_t* reserved_seats;  // for each class
    const std::int64_t kept_seats;       // of a replica, for all classes together

    PoolLinks(std::int64_t p, const FleetArrays& arrays, Demand& asked, Endings& told, HandOffs& given)
        : index(p),
          limits(arrays.pools[p]),
          variant(limits.variant >= 0 ? &arrays.variants[limits.variant] : nullptr),
          classes(arrays.classes),
          demand(asked),
          endings(told),
          hand_offs(given),
          reserved_seats(arrays.reserved_seats.data() + p * arrays.num_classes()),
          kept_seats(std::accumulate(reserved_seats, reserved_seats + arrays.num_classes(), std::int64_t{0})) {}
    PoolLinks(const PoolLinks&) = default;
    PoolLinks& operator=(const PoolLinks&) { return *this; }
};

struct PoolState : PoolLinks {
    Physics physics;                      // at the clock asked for, with the own model
    Owned<Physics> variant_physics = {};  // with the variant, if there is one
    double clock_fraction = 1.0;
    double clock_sensitivity_factor = 1.0;
    Counts counts = {};               // of this tick
    std::int64_t running_tokens = 0;  // at the end of the last tick
};

// What a replica refers to of its pool, with the model that it holds.
struct PoolLink {
    PoolState& pool_;
    const Pool* model_;       // the pool with the model that is loaded
    const Physics* physics_;  // of that
    Demand& demand_;

    explicit PoolLink(PoolState& pool)
        : pool_(pool), model_(&pool.limits), physics_(&pool.physics), demand_(pool.demand) {}
    PoolLink(const PoolLink&) = default;
    PoolLink& operator=(const PoolLink& other) {  // of another fleet, with the same model of this fleet's
        hold(other.model_->is_variant);
        return *this;
    }

    void hold(bool is_variant) {
        model_ = is_variant ? pool_.variant : &pool_.limits;
        physics_ = is_variant ? &*pool_.variant_physics : &pool_.physics;
    }
};

}  // namespace tokenfleet
