// A signal that takes a fixed number of ticks to arrive: the C++ mirror of envs/engine/reference/delay_line.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokenfleet {

class DelayLine {
public:
    // What is on its way at first is `initial`.
    DelayLine(std::int64_t ticks, double initial) : in_transit_(static_cast<std::size_t>(ticks), initial) {}

    // Send `value`, once a tick; receive what arrives.
    double push(double value) {
        if (in_transit_.empty()) return value;
        const double arrived = in_transit_[next_];
        in_transit_[next_] = value;
        if (++next_ == in_transit_.size()) next_ = 0;
        return arrived;
    }

private:
    std::vector<double> in_transit_;
    std::size_t next_ = 0;  // what arrives next, and where the newest goes
};

}  // namespace tokenfleet
