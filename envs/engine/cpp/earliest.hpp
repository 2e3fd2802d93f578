// Which of many next events comes first: a tree over their times, four children a node; the lower index wins a tie.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "arrays.hpp"

namespace tokenfleet {

class Earliest {
public:
    explicit Earliest(std::size_t count) {
        for (std::size_t leaves = 1; leaves < count; leaves *= kChildren) leaf_ = kChildren * leaf_ + 1;
        time_bits_.assign(kChildren * leaf_ + 1, bits(kNever));
    }

    void set(std::size_t index, double time_s) {
        std::size_t node = leaf_ + index;
        if (time_bits_[node] == bits(time_s)) return;
        time_bits_[node] = bits(time_s);
        while (node > 0) {
            node = (node - 1) / kChildren;
            time_bits_[node] = least(&time_bits_[kChildren * node + 1]);
        }
    }

    double time_s() const { return std::bit_cast<double>(time_bits_[0]); }

    std::size_t index() const {
        std::size_t node = 0;
        while (node < leaf_) {
            node = kChildren * node + 1;
            node += first(&time_bits_[node], time_bits_[0]);
        }
        return node - leaf_;
    }

private:
    static constexpr std::size_t kChildren = 4;
    std::size_t leaf_ = 0;                 // the node of event 0: the root is node 0, its children follow it
    std::vector<std::int64_t> time_bits_;  // of the earliest event below each node

    // No time is negative, and so their bits are in order as they are.
    static std::int64_t bits(double time_s) { return std::bit_cast<std::int64_t>(time_s); }

    // Both without a branch: nothing could foresee which event comes first.
    static std::int64_t least(const std::int64_t* times) {
        return std::min(std::min(times[0], times[1]), std::min(times[2], times[3]));
    }

    static std::size_t first(const std::int64_t* times, std::int64_t time) {
        std::size_t index = kChildren - 1;
#pragma GCC unroll 4
        for (std::size_t i = kChildren - 1; i-- > 0;) index = times[i] == time ? i : index;
        return index;
    }
};

}  // namespace tokenfleet
