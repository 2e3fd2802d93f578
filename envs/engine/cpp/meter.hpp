// The mean power of the last ticks: the C++ mirror of envs/engine/reference/meter.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokenfleet {

class Meter {
public:
    explicit Meter(std::int64_t window_ticks) : window_j_(static_cast<std::size_t>(window_ticks)) {}

    double read_w(double energy_j, double tick_s) {
        if (window_j_.size() == 1) return energy_j / tick_s;
        window_j_[next_] = energy_j;
        if (++next_ == window_j_.size()) next_ = 0;
        if (count_ < window_j_.size()) ++count_;
        double total_j = 0.0;  // oldest first, as the reference adds
        for (std::size_t i = count_ < window_j_.size() ? 0 : next_, left = count_; left > 0; --left) {
            total_j += window_j_[i];
            if (++i == window_j_.size()) i = 0;
        }
        return total_j / (static_cast<double>(count_) * tick_s);
    }

private:
    std::vector<double> window_j_;
    std::size_t next_ = 0, count_ = 0;
};

}  // namespace tokenfleet
