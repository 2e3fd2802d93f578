// Sequences of a replica in order of the iteration in which they end; the lower request first at a tie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "memory.hpp"

namespace tokenfleet {

class FinishHeap {
public:
    // Forget all; there will be `capacity` sequences at most.
    void reset(std::int64_t capacity) {
        keys_.resize(static_cast<std::size_t>(capacity));
        size_ = 0;
    }

    void clear() { size_ = 0; }
    bool empty() const { return size_ == 0; }
    std::int64_t size() const { return size_; }

    std::int32_t first() const { return request_of(keys_[0]); }
    std::int64_t first_iteration() const { return iteration_of(keys_[0]); }

    void push(std::int64_t iteration, std::int32_t index) {
        keys_[size_++] = iteration << 32 | index;
        std::push_heap(keys_.begin(), end(), std::greater<>{});
    }

    [[gnu::always_inline]] inline void bring_first_near() const { bring_near(keys_.data()); }

    // Remove the first and return its request.
    std::int32_t pop() {
        std::pop_heap(keys_.begin(), end(), std::greater<>{});
        return request_of(keys_[--size_]);
    }

    // Their requests, in no order, with the iteration in which each ends: `visit(index, iteration)`.
    template <typename Visit>
    void for_each(Visit visit) const {
        for (std::int64_t i = 0; i < size_; ++i) visit(request_of(keys_[i]), iteration_of(keys_[i]));
    }

    void remove(std::int32_t index) {
        const auto key = std::find_if(keys_.begin(), end(), [&](std::int64_t k) { return request_of(k) == index; });
        *key = keys_[--size_];
        std::make_heap(keys_.begin(), end(), std::greater<>{});
    }

private:
    std::vector<std::int64_t> keys_;  // iteration and request in one number: the heap is of its first `size_`
    std::int64_t size_ = 0;

    static std::int64_t iteration_of(std::int64_t key) { return key >> 32; }
    static std::int32_t request_of(std::int64_t key) { return static_cast<std::int32_t>(key & 0xffffffff); }
    std::vector<std::int64_t>::iterator end() { return keys_.begin() + size_; }
};

}  // namespace tokenfleet
