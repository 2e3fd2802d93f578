// Which of many next events comes first: a tournament over their times, the lower index winning a tie.
#pragma once

#include <cstdint>
#include <vector>

#include "arrays.hpp"

namespace tokenfleet {

class Earliest {
public:
    void reset(std::size_t count) {
        leaves_ = 1;
        while (leaves_ < count) leaves_ *= 2;
        time_s_.assign(leaves_, kNever);
        winner_.resize(2 * leaves_);
        for (std::size_t i = 0; i < leaves_; ++i) winner_[leaves_ + i] = static_cast<std::int32_t>(i);
        for (std::size_t node = leaves_; --node > 0;) winner_[node] = winner_[2 * node];
    }

    void set(std::size_t index, double time_s) {
        if (time_s_[index] == time_s) return;
        time_s_[index] = time_s;
        for (std::size_t node = (leaves_ + index) / 2; node > 0; node /= 2) {
            const std::int32_t left = winner_[2 * node], right = winner_[2 * node + 1];
            const std::int32_t winner = time_s_[right] < time_s_[left] ? right : left;
            // Where another won before and wins again, nothing changes further up.
            if (winner == winner_[node] && winner != static_cast<std::int32_t>(index)) return;
            winner_[node] = winner;
        }
    }

    std::size_t index() const { return static_cast<std::size_t>(winner_[1]); }
    double time_s() const { return time_s_[index()]; }

private:
    std::size_t leaves_ = 1;
    std::vector<double> time_s_;
    std::vector<std::int32_t> winner_;  // of the subtree below each node; leaves last
};

}  // namespace tokenfleet
