// Whose turn it is in a replica's queue: the C++ mirror of envs/engine/reference/queue.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "replica.hpp"

namespace tokenfleet {

// The first in the queue for which there is a seat; -1 for none.
inline std::int32_t Replica::next_in_line() const {
    if (waiting_.empty() || running() >= limits().max_batch) return -1;
    return first_to_sit();
}

// Whether this waiting request is the first to find a seat.
inline bool Replica::is_next(std::int32_t index) const { return first_to_sit() == index; }

// The first in the queue that finds a seat; -1 for none. Somebody waits, and a seat is free.
inline std::int32_t Replica::first_to_sit() const {
    const bool seats_anybody = limits().max_batch - running() > pool_.kept_seats;
    return seats_anybody || !limits().ranks_classes ? waiting_.head : first_with_seat();
}

// The same where seats that are free may be kept for another class.
[[gnu::noinline]] inline std::int32_t Replica::first_with_seat() const {
    std::vector<std::int64_t> kept(pool_.reserved_seats, pool_.reserved_seats + pool_.classes.size());
    const auto take_seat = [&](std::int32_t index) { --kept[request(index).class_id]; };
    finishing_.for_each([&](std::int32_t index, std::int64_t) { take_seat(index); });
    for (std::int32_t i = prefilling_.head, n = 0; n < prefilling_.size; i = request(i).next, ++n) take_seat(i);
    std::int64_t free = limits().max_batch - running();
    for (std::int64_t& seats : kept) {
        seats = std::max<std::int64_t>(seats, 0);
        free -= seats;
    }
    for (std::int32_t i = waiting_.head, n = 0; n < waiting_.size; i = request(i).next, ++n) {
        if (free + kept[request(i).class_id] > 0) return i;
    }
    return -1;
}

// Let a request wait behind those of its priority and higher ones, or before those of its own.
[[gnu::noinline]] inline void Replica::queue_by_rank(std::int32_t index, bool ahead_of_equals) {
    const auto rank = [&](std::int32_t i) { return pool_.classes[request(i).class_id].priority; };
    const std::int64_t own = rank(index) + (ahead_of_equals ? 1 : 0);
    waiting_.insert(demand_.requests, index, [&](std::int32_t other) { return rank(other) >= own; });
}

}  // namespace tokenfleet
