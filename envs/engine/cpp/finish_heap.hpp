// Sequences of a replica in order of the iteration in which they end; the lower request first at a tie.
#pragma once

#include <cstdint>
#include <limits>

#include "quad_heap.hpp"

namespace tokenfleet {

class FinishHeap {
public:
    // A key has bits for 2^31 iterations: the highest number of the running one at which any request still fits.
    static constexpr std::int64_t kHighestStart = std::int64_t{1} << 30;

    void clear() { keys_.clear(); }
    bool empty() const { return keys_.empty(); }
    std::size_t bytes() const { return keys_.bytes(); }
    std::int64_t size() const { return static_cast<std::int64_t>(keys_.size()); }

    std::int64_t first_iteration() const { return iteration_of(keys_.first()); }
    // Request i of the heap: request 0 ends first, and a low i is likelier to come next than a high one.
    std::int32_t operator[](std::int64_t i) const { return request_of(keys_[static_cast<std::size_t>(i)]); }

    void push(std::int64_t iteration, std::int32_t index) { keys_.push(iteration << 32 | index); }

    // Remove the first and return its request.
    std::int32_t pop() { return request_of(keys_.pop()); }

    // All of them, in no order: `visit(index, iteration)`.
    template <typename Visit>
    void for_each(Visit visit) const {
        for (std::size_t i = 0; i < keys_.size(); ++i) visit(request_of(keys_[i]), iteration_of(keys_[i]));
    }

    // Count iterations from `first` on.
    void renumber(std::int64_t first) {
        keys_.replace_all([first](std::int64_t key) { return key - (first << 32); });
    }

    // Requests stand in other rows now, in the same order.
    void renumber_requests(const std::int32_t* row) {
        keys_.replace_all([row](std::int64_t key) { return iteration_of(key) << 32 | row[request_of(key)]; });
    }

    void remove(std::int32_t index) {
        std::size_t i = 0;
        while (request_of(keys_[i]) != index) ++i;
        keys_.remove(i);
    }

private:
    // Iteration and request in one number.
    struct Order {
        using Item = std::int64_t;
        static constexpr Item kLast = std::numeric_limits<Item>::max();
        static bool before(Item a, Item b) { return a < b; }
    };
    QuadHeap<Order> keys_;

    static std::int64_t iteration_of(std::int64_t key) { return key >> 32; }
    static std::int32_t request_of(std::int64_t key) { return static_cast<std::int32_t>(key & 0xffffffff); }
};

}  // namespace tokenfleet
