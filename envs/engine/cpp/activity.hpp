// What a replica does and what its boards draw for it: the C++ mirror of envs/engine/reference/activity.py.
#pragma once

#include <cstdint>

namespace tokenfleet {

enum class State : std::uint8_t {
    kAwake,
    kDraining,
    kAsleep,
    kWaking,
    kDark,
    kFailed,
    kStandby,
    kResuming,
    kPreparing,
    kSwitching
};

// What the boards of a replica have drawn, by what they were doing.
struct BoardEnergy {
    double busy_j = 0.0, idle_j = 0.0, asleep_j = 0.0;

    double total_j() const { return busy_j + idle_j + asleep_j; }
};

}  // namespace tokenfleet
