// All replicas of a fleet, and when each of them has something to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "arrays.hpp"
#include "batching.hpp"
#include "earliest.hpp"
#include "links.hpp"
#include "pool_state.hpp"
#include "replica.hpp"

namespace tokenfleet {

class Replicas : ArraysLink {
public:
    std::vector<std::int64_t> pool_of;  // of each replica

    // Where what happens at one replica can send something to another before the tick ends (an answer that brings the
    // next call, a retry, a hand-off), boundaries must be passed one by one across the fleet: `in_order_of_time`, by
    // `next_boundary_s` and `pass_next_boundary`. Elsewhere each replica is left behind until somebody looks at it
    // (`catch_up`, `pass_boundaries`). The results are the same, except that sums are added up in another order, and
    // the tree of next boundaries is spared: with it the plain fleet of benchmarks/layers.py takes 18 % more
    // instructions.
    Replicas(const FleetArrays& arrays, std::vector<PoolState>& pools, bool in_order_of_time)
        : ArraysLink(arrays),
          in_order_of_time_(in_order_of_time),
          next_boundary_(in_order_of_time ? static_cast<std::size_t>(arrays.num_replicas) : 1) {
        replicas_.reserve(static_cast<std::size_t>(arrays.num_replicas));
        for (PoolState& pool : pools) {
            for (std::int64_t i = 0; i < pool.limits.replicas; ++i) replicas_.emplace_back(pool);
            pool_of.resize(replicas_.size(), pool.index);
        }
        next_boundary_s_.assign(replicas_.size(), kNever);
        load_tokens_.assign(replicas_.size(), 0);
    }

    Replicas(const Replicas&) = delete;
    Replicas& operator=(const Replicas&) = default;  // as many replicas as there are: each is assigned

    Replica& operator[](std::int64_t r) { return replicas_[r]; }
    std::span<Replica> all() { return replicas_; }
    std::span<const Replica> all() const { return replicas_; }
    std::span<Replica> of(std::int64_t p) {
        return {&replicas_[arrays_.pools[p].first_replica], static_cast<std::size_t>(arrays_.pools[p].replicas)};
    }
    std::int64_t index_of(const Replica& replica) const { return &replica - replicas_.data(); }

    // To be called when a replica may have changed: what is asked of every replica stands in dense arrays.
    void note(std::int64_t r) {
        const Replica& replica = replicas_[r];
        next_boundary_s_[r] = replica.next_boundary_s;
        load_tokens_[r] = replica.state == State::kAwake ? replica.work_tokens : kClosed;
        if (in_order_of_time_) next_boundary_.set(static_cast<std::size_t>(r), replica.next_boundary_s);
    }

    // Between ticks: boundaries are passed in order of time from now on.
    void begin_order_of_time() {
        in_order_of_time_ = true;
        next_boundary_ = Earliest(replicas_.size());
        for (std::size_t r = 0; r < replicas_.size(); ++r) note(static_cast<std::int64_t>(r));
    }

    bool is_awake(std::int64_t r) const { return load_tokens_[r] != kClosed; }
    std::int64_t work_tokens(std::int64_t r) const { return load_tokens_[r]; }

    // Whether a pool has an awake replica.
    bool is_open(std::int64_t p) const { return is_awake(least_loaded(p)); }

    // The first of the awake replicas of a pool with the least work; one that is not awake where none is.
    std::int64_t least_loaded(std::int64_t p) const {
        const std::int64_t first = arrays_.pools[p].first_replica, end = first + arrays_.pools[p].replicas;
        std::int64_t chosen = first, least = load_tokens_[first];
        for (std::int64_t r = first + 1; r < end; ++r) {
            const bool better = load_tokens_[r] < least;
            least = better ? load_tokens_[r] : least;
            chosen = better ? r : chosen;
        }
        return chosen;
    }

    // In order of time: when the first running segment ends.
    double next_boundary_s() const { return next_boundary_.time_s(); }
    void pass_next_boundary() { pass(static_cast<std::int64_t>(next_boundary_.index()), next_boundary_.time_s()); }

    // Otherwise: pass every boundary of a replica, or of a pool's, up to `until_s`.
    void pass_boundaries(std::int64_t r, double until_s) {
        if (next_boundary_s_[r] <= until_s) pass(r, until_s);
    }
    void catch_up(std::int64_t p, double until_s) {
        if (in_order_of_time_) return;
        const std::int64_t first = arrays_.pools[p].first_replica, end = first + arrays_.pools[p].replicas;
        for (std::int64_t r = first; r < end; ++r) pass_boundaries(r, until_s);
    }

    // Leading tokens of a request that a replica holds now.
    std::int64_t cached_tokens(std::int64_t r, std::int32_t index, double now_s) {
        catch_up(pool_of[r], now_s);
        return replicas_[r].cached_tokens(index, now_s);
    }

private:
    static constexpr std::int64_t kClosed = std::numeric_limits<std::int64_t>::max();

    std::vector<Replica> replicas_;
    std::vector<double> next_boundary_s_;    // of each replica
    std::vector<std::int64_t> load_tokens_;  // work of each replica; kClosed if it takes no requests
    bool in_order_of_time_;
    Earliest next_boundary_;  // of all replicas; kept only in order of time

    void pass(std::int64_t r, double until_s) {
        replicas_[r].pass_boundaries(until_s);
        note(r);
    }
};

}  // namespace tokenfleet
