// What is set every tick: the C++ mirror of `Controls` in envs/layers/scheduling.py.
#pragma once

#include "columns.hpp"

namespace tokenfleet {

// One environment's row of each control array.
struct ControlsRow {
#define TOKENFLEET_POINTER(name, length) const double* name;
    TOKENFLEET_CONTROLS(TOKENFLEET_POINTER)
#undef TOKENFLEET_POINTER
};

}  // namespace tokenfleet
