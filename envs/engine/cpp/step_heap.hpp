// What clients will do next, the earliest first, the lower request at a tie: a heap with four children a node, which is
// flatter than one with two, and which chooses among them without a branch.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arrays.hpp"

namespace tokenfleet {

// At `time_s` request `index` reaches `pool`, or is made by its client (kCalls).
struct Step {
    double time_s;
    std::int32_t index, pool;
};

class StepHeap {
public:
    void clear() {
        steps_.assign(1 + kChildren, kNothing);
        size_ = 0;
    }

    double next_s() const { return steps_[0].time_s; }

    void push(const Step& step) {
        std::size_t node = size_++;
        if (steps_.size() < size_ + kChildren) steps_.resize(2 * steps_.size() + kChildren, kNothing);
        while (node > 0 && comes_before(step, steps_[(node - 1) / kChildren])) {
            steps_[node] = steps_[(node - 1) / kChildren];
            node = (node - 1) / kChildren;
        }
        steps_[node] = step;
    }

    Step pop() {
        const Step first = steps_[0], last = steps_[--size_];
        steps_[size_] = kNothing;
        std::size_t node = 0;
        while (kChildren * node + 1 < size_) {
            const std::size_t child = earliest_child(node);
            if (!comes_before(steps_[child], last)) break;
            steps_[node] = steps_[child];
            node = child;
        }
        if (size_ > 0) steps_[node] = last;
        return first;
    }

private:
    static constexpr std::size_t kChildren = 4;
    static constexpr Step kNothing{kNever, 0, 0};
    std::vector<Step> steps_;  // the heap, then kNothing: every node has all its children
    std::size_t size_ = 0;

    static bool comes_before(const Step& a, const Step& b) {
        // No time is negative, and so their bits are in order as they are.
        const auto a_bits = std::bit_cast<std::int64_t>(a.time_s), b_bits = std::bit_cast<std::int64_t>(b.time_s);
        if (a_bits == b_bits) [[unlikely]] return a.index < b.index;
        return a_bits < b_bits;
    }

    std::size_t earliest_child(std::size_t node) const {
        const std::size_t child = kChildren * node + 1;
        const std::size_t left = child + comes_before(steps_[child + 1], steps_[child]);
        const std::size_t right = child + 2 + comes_before(steps_[child + 3], steps_[child + 2]);
        return comes_before(steps_[right], steps_[left]) ? right : left;
    }
};

}  // namespace tokenfleet
