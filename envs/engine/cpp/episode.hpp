// The columns of an Episode (envs/episode/episode.py) and of its request table (envs/traces/table.py), as they lie in NumPy's
// memory; checks.py has checked their shapes. The columns are read when a fleet is made, and not kept.
#pragma once

#include <cstdint>

#include "columns.hpp"

namespace tokenfleet {

// What a request table says of clients; nullptr where every request has the default.
struct CallColumns {
    // Row r is followed by `successor[successor_start[r]]` up to, and without, `successor[successor_start[r + 1]]`.
#define TOKENFLEET_POINTER(type, name) const type* name = nullptr;
    TOKENFLEET_CALL_COLUMNS(TOKENFLEET_POINTER)
#undef TOKENFLEET_POINTER
};

struct EpisodeColumns {
    std::int64_t num_requests, num_failures, num_contexts;
    const double* arrival_s;
    const std::int32_t* prompt_tokens;
    const std::int32_t* output_tokens;
    const std::int32_t* class_id;
    CallColumns calls;
    bool has_calls;  // whether any request differs from the default
#define TOKENFLEET_POINTER(name, length) const double* name;
    TOKENFLEET_EPISODE_SERIES(TOKENFLEET_POINTER)
#undef TOKENFLEET_POINTER
    const float* exogenous;              // [H + 1, E]
    const std::int64_t* failure_tick;    // [F]
    const std::int64_t* failed_replica;  // [F]
    const double* repaired_s;            // [F]
    const std::int64_t* context_row;     // [X]
    const std::int64_t* context_holder;  // [X]
};

}  // namespace tokenfleet
