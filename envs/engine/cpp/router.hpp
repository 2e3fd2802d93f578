// Where a request goes: the C++ mirror of envs/engine/reference/router.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "calls.hpp"

namespace tokenfleet {

class Router {
public:
    static constexpr std::int64_t kClosed = std::numeric_limits<std::int64_t>::max();
    std::vector<std::int64_t> load_tokens;  // work of each replica; kClosed if it takes no requests
    std::vector<std::int64_t> pool_of;      // of each replica

    Router(const FleetArrays& arrays, Demand& demand)
        : arrays_(arrays), demand_(demand), share_(arrays.route_mask.size()), credit_(arrays.route_mask.size()) {
        for (std::size_t p = 0; p < arrays.pools.size(); ++p) {
            pool_of.insert(pool_of.end(), static_cast<std::size_t>(arrays.pools[p].replicas), static_cast<std::int64_t>(p));
        }
    }

    void reset() {
        home_replica_.assign(arrays_.has_caches() ? static_cast<std::size_t>(demand_.calls.num_conversations()) : 0, -1);
        std::fill(credit_.begin(), credit_.end(), 0.0);
        load_tokens.assign(pool_of.size(), 0);
    }

    // Follow shares [K, P] among the open pools, and affinities [K], from now on; a row of zeros where none is open.
    void set_shares(const double* route_share, const std::vector<std::uint8_t>& pool_is_open, const double* prefix_affinity) {
        affinity_ = prefix_affinity;
        for (std::size_t first = 0; first < share_.size(); first += pool_is_open.size()) {
            double total = 0.0;
            for (std::size_t p = 0; p < pool_is_open.size(); ++p) {
                share_[first + p] = arrays_.route_mask[first + p] && pool_is_open[p] ? route_share[first + p] : 0.0;
                total += share_[first + p];
            }
            if (total <= 0.0) total = 1.0;
            for (std::size_t p = 0; p < pool_is_open.size(); ++p) share_[first + p] /= total;
        }
    }

    // A pool that the request fits into, or that of the replica to which it returns; -1 without one.
    template <typename Fleet>
    std::int64_t choose_pool(Fleet& fleet, const Request& request, std::int32_t index, double now_s) {
        std::int64_t p = next_pool(request.class_id);
        if (p < 0) return -1;
        if (has_returns()) p = return_home(fleet, request, index, p, now_s);
        return fits(request, p) ? p : -1;
    }

    // The replica of a pool that takes a request now; -1 where none is awake. What comes from another pool finds no home.
    std::int64_t choose_replica(std::int32_t index, std::int64_t p, bool from_another_pool) {
        std::int64_t chosen = preferred(index);
        if (chosen < 0 || load_tokens[chosen] == kClosed) chosen = least_loaded(p);
        if (load_tokens[chosen] == kClosed) return -1;
        if (!from_another_pool) move_home(index, static_cast<std::int32_t>(chosen));
        return chosen;
    }

    // The replica that last computed a context of the request's conversation for a model of its class, or -1.
    std::int32_t holder(const Request& request, std::int32_t index) const {
        const std::int32_t conversation = demand_.calls[index].conversation_id;
        const std::int32_t home = conversation >= 0 && has_returns() ? home_replica_[conversation] : -1;
        return home >= 0 && arrays_.route_mask[at(request.class_id, pool_of[home])] ? home : -1;
    }

    std::int32_t preferred(std::int32_t index) const { return has_returns() ? demand_.details[index].preferred_replica : -1; }

    void prefer_nothing(std::int32_t index) {
        if (has_returns()) demand_.details[index].preferred_replica = -1;
    }

    void move_home(std::int32_t index, std::int32_t replica) {
        if (!has_returns()) return;
        const std::int32_t conversation = demand_.calls[index].conversation_id;
        if (conversation >= 0) home_replica_[conversation] = replica;
    }

private:
    const FleetArrays& arrays_;
    Demand& demand_;
    std::vector<double> share_, credit_;           // [K, P]
    const double* affinity_ = nullptr;             // [K]
    std::vector<std::int32_t> home_replica_;  // of each conversation, -1 before its first call; empty without caches

    // Whether any call may find what its conversation has left on a replica.
    bool has_returns() const { return !home_replica_.empty(); }

    std::size_t at(std::int32_t k, std::int64_t p) const {
        return static_cast<std::size_t>(k) * arrays_.pools.size() + static_cast<std::size_t>(p);
    }

    bool fits(const Request& request, std::int64_t p) const {
        return request.kv_tokens() <= arrays_.pools[p].context_limit_tokens;
    }

    // Smooth weighted round robin: exact shares in the long run, no two bursts to the same pool.
    std::int64_t next_pool(std::int32_t k) {
        const std::size_t first = at(k, 0);
        const double* share = &share_[first];
        double* credit = &credit_[first];
        std::int64_t chosen = -1;
        double most = -kNever;
        for (std::int64_t p = 0; p < static_cast<std::int64_t>(arrays_.pools.size()); ++p) {
            credit[p] += share[p];
            // Chosen without a branch: which pool it is changes from request to request.
            const bool better = (share[p] > 0.0) & (credit[p] > most);
            most = better ? credit[p] : most;
            chosen = better ? p : chosen;
        }
        if (chosen >= 0) credit[chosen] -= 1.0;
        return chosen;
    }

    // The pool of the replica that holds the request's conversation, if it should return there; else `p`.
    template <typename Fleet>
    std::int64_t return_home(Fleet& fleet, const Request& request, std::int32_t index, std::int64_t p, double now_s) {
        const std::int32_t home = holder(request, index), k = request.class_id;
        prefer_nothing(index);
        if (home < 0) return p;
        const std::int64_t q = pool_of[home];
        if (share_[at(k, q)] <= 0.0 || load_tokens[home] == kClosed) return p;
        fleet.catch_up(p, now_s);
        const std::int64_t cached = fleet.cached_tokens(home, index, now_s);
        if (cached == 0 || !fits(request, q)) return p;
        const double allowed = static_cast<double>(load_tokens[least_loaded(p)]) + affinity_[k] * static_cast<double>(cached);
        if (static_cast<double>(load_tokens[home]) > allowed) return p;
        demand_.details[index].preferred_replica = home;
        credit_[at(k, p)] += 1.0;
        credit_[at(k, q)] -= 1.0;
        return q;
    }

    // The first of the replicas of a pool with the least work.
    std::int64_t least_loaded(std::int64_t p) const {
        const std::int64_t first = arrays_.pools[p].first_replica, end = first + arrays_.pools[p].replicas;
        std::int64_t chosen = first, least = load_tokens[first];
        for (std::int64_t r = first + 1; r < end; ++r) {
            const bool better = load_tokens[r] < least;
            least = better ? load_tokens[r] : least;
            chosen = better ? r : chosen;
        }
        return chosen;
    }
};

}  // namespace tokenfleet
