// One pool in an episode: what its replicas have in common.
#pragma once

#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "endings.hpp"
#include "hand_offs.hpp"
#include "physics.hpp"

namespace tokenfleet {

struct PoolState {
    const std::int64_t index;
    const Pool& limits;
    const std::vector<RequestClass>& classes;
    Demand& demand;
    Endings& endings;     // told what becomes of requests
    HandOffs& hand_offs;  // given those that another pool decodes
    Physics physics;      // at the clock asked for
    double clock_fraction = 1.0;
    Counts counts = {};               // of this tick
    std::int64_t running_tokens = 0;  // at the end of the last tick
};

}  // namespace tokenfleet
