// Loading requests before they are needed: a batch of fleets touches more memory than the nearest caches hold.
//
// What a tick takes longer without a use is written beside it: least times of each tick over dozens of episodes, with and
// without in turn in one process, on a virtual machine with 2 MiB of second-level cache a core; fleets and layers are
// those of benchmarks/scenarios.py. Tried and dropped, as they gained less than 1 %: the next fleet's replicas, after
// each completion the next one, held requests that leave (in an array of their own too), after each step of a client the
// next ones, what a cache frees next, and what a policy will see from outside.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "demand.hpp"
#include "finish_heap.hpp"

namespace tokenfleet {

// Begin to load what is known of a request; nothing waits for it. Forced inline, as its callers are: GCC takes a function
// that only prefetches for one without effect, and drops its calls.
[[gnu::always_inline]] inline void prefetch_request(const Demand& demand, std::int32_t index) {
    __builtin_prefetch(&demand.requests[index]);
    if (!demand.details.empty()) __builtin_prefetch(&demand.details[index]);
    if (!demand.calls.empty()) __builtin_prefetch(&demand.calls[index]);
}

// Before a tick: what its end reads of the series of a course. Without it: 64 plain fleets 0.6 %, 256 of them 1.1 %.
[[gnu::always_inline]] inline void prefetch_each(std::initializer_list<const double*> numbers) {
    for (const double* number : numbers) __builtin_prefetch(number);
}

// As a request arrives, the one that arrives so many later; before a tick, all up to that. Without it: 64 plain fleets
// 6 %, with every layer 3 %.
inline constexpr std::size_t kArrivalsAhead = 8;

[[gnu::always_inline]] inline void prefetch_arrival(const Demand& demand, std::size_t row) {
    if (row < demand.num_roots) prefetch_request(demand, static_cast<std::int32_t>(row));
}

// Before a tick, of each replica: the sequences that end next. In a heap with four children a node these are among the
// first five, and the first two for certain. Without it: 64 plain fleets less than 1 %, 256 of them 7 %, 64 of them 11 %
// if 32 MB of other memory are read between ticks, as a policy's network may do.
[[gnu::always_inline]] inline void prefetch_completions(const Demand& demand, const FinishHeap& finishing) {
    constexpr std::int64_t kCompletions = 5;
    for (std::int64_t i = 0; i < std::min(kCompletions, finishing.size()); ++i) prefetch_request(demand, finishing[i]);
}

// Before a tick: the requests of so many things that clients do next, the likelier the earlier. Without it: 64 fleets of
// sessions 2.4 %, of every layer 1 %.
inline constexpr std::size_t kStepsAhead = 5;

// When a request joins a cache: each place to which its context will go when it leaves. Without it: 64 fleets of every
// layer 3 %, 8 of these nothing.
[[gnu::always_inline]] inline void prefetch_place(const void* place) { __builtin_prefetch(place); }

// When an answer begins: the calls that wait for the answer. Nothing has touched them yet. Without it: 64 fleets of
// sessions 15 %, with every layer 14 %, 8 of these 8 %.
[[gnu::always_inline]] inline void prefetch_successors(const Demand& demand, std::int32_t index) {
    if (!demand.calls.has_successors()) return;
    for (const std::int32_t row : demand.calls.successors(index)) prefetch_request(demand, row);
}

}  // namespace tokenfleet
