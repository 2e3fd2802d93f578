// Where a request goes: the C++ mirror of envs/engine/reference/router.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "links.hpp"
#include "replicas.hpp"

namespace tokenfleet {

struct RouterLinks : DemandLink {
    Replicas& replicas_;

    RouterLinks(const FleetArrays& arrays, Demand& demand, Replicas& replicas)
        : DemandLink(arrays, demand), replicas_(replicas) {}
    RouterLinks(const RouterLinks&) = default;
    RouterLinks& operator=(const RouterLinks&) { return *this; }
};

class Router : RouterLinks {
public:
    Router(const FleetArrays& arrays, Demand& demand, Replicas& replicas)
        : RouterLinks(arrays, demand, replicas),
          is_open_(arrays.pools.size()),
          share_(arrays.route_mask.size()),
          credit_(arrays.route_mask.size()),
          home_replica_(arrays.has_caches() ? static_cast<std::size_t>(demand.calls.num_conversations()) : 0, -1) {}

    std::size_t bytes() const { return home_replica_.size() * sizeof(std::int32_t); }

    // Conversations have other numbers in another episode, in which request i stands in row[i].
    void change_future(const Demand& before, const std::int32_t* row) {
        if (!arrays_.has_caches()) return;
        const std::vector<std::int32_t> home = std::exchange(home_replica_, {});
        home_replica_.assign(static_cast<std::size_t>(demand_.calls.num_conversations()), -1);
        demand_.calls.for_each_number(&Call::conversation_id, before.calls, row,
                                      [&](std::int32_t old, std::int32_t now) { home_replica_[now] = home[old]; });
    }

    // Follow shares [K, P] among the pools that can take requests now, and affinities [K], from now on.
    void set_shares(const double* route_share, const double* prefix_affinity) {
        affinity_ = prefix_affinity;
        for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) is_open_[p] = replicas_.is_open(p);
        for (std::size_t first = 0; first < share_.size(); first += is_open_.size()) {
            double total = 0.0;
            for (std::size_t p = 0; p < is_open_.size(); ++p) {
                share_[first + p] = arrays_.route_mask[first + p] && is_open_[p] ? route_share[first + p] : 0.0;
                total += share_[first + p];
            }
            if (total <= 0.0) total = 1.0;
            for (std::size_t p = 0; p < is_open_.size(); ++p) share_[first + p] /= total;
        }
    }

    // A pool that the request fits into, and with it whether it should return to a replica; -1 without one.
    std::int64_t choose_pool(std::int32_t index, double now_s) {
        const Request& request = demand_.requests[index];
        std::int64_t p = next_pool(request.class_id);
        if (p < 0) return -1;
        if (has_returns()) p = return_home(request, index, p, now_s);
        return fits(request, p) ? p : -1;
    }

    // The replica of a pool that takes a request now; -1 where none is awake. A request that another pool has prefilled
    // leaves the home of its conversation where it is.
    std::int64_t choose_replica(std::int32_t index, std::int64_t p, bool from_another_pool) {
        std::int64_t chosen = preferred(index);
        if (chosen < 0 || !replicas_.is_awake(chosen)) chosen = replicas_.least_loaded(p);
        if (!replicas_.is_awake(chosen)) return -1;
        if (!from_another_pool) move_home(index, static_cast<std::int32_t>(chosen));
        return chosen;
    }

    // The replica that last took a call of the request's conversation to prefill; -1 without one that serves the class.
    std::int32_t holder(std::int32_t index) const {
        const std::int32_t conversation = demand_.calls[index].conversation_id;
        const std::int32_t home = conversation >= 0 && has_returns() ? home_replica_[conversation] : -1;
        if (home < 0) return -1;
        const bool serves_class = arrays_.route_mask[at(demand_.requests[index].class_id, replicas_.pool_of[home])];
        return serves_class ? home : -1;
    }

    std::int32_t preferred(std::int32_t index) const {
        return has_returns() ? demand_.details[index].preferred_replica : -1;
    }

    // From now on the replica is where the request's conversation is looked for.
    void move_home(std::int32_t index, std::int32_t replica) {
        if (!has_returns()) return;
        const std::int32_t conversation = demand_.calls[index].conversation_id;
        if (conversation >= 0) home_replica_[conversation] = replica;
    }

private:
    std::vector<std::uint8_t> is_open_;       // [P] has an awake replica in this tick
    std::vector<double> share_, credit_;      // [K, P]
    const double* affinity_ = nullptr;        // [K]
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
        for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
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
    std::int64_t return_home(const Request& request, std::int32_t index, std::int64_t p, double now_s) {
        const std::int32_t home = holder(index), k = request.class_id;
        demand_.details[index].preferred_replica = -1;
        if (home < 0) return p;
        const std::int64_t q = replicas_.pool_of[home];
        if (share_[at(k, q)] <= 0.0 || !replicas_.is_awake(home)) return p;
        replicas_.catch_up(p, now_s);
        const std::int64_t cached = replicas_.cached_tokens(home, index, now_s);
        if (cached == 0 || !fits(request, q)) return p;
        const auto least = static_cast<double>(replicas_.work_tokens(replicas_.least_loaded(p)));
        const double allowed = least + affinity_[k] * static_cast<double>(cached);
        if (static_cast<double>(replicas_.work_tokens(home)) > allowed) return p;
        demand_.details[index].preferred_replica = home;
        credit_[at(k, p)] += 1.0;
        credit_[at(k, q)] -= 1.0;
        return q;
    }
};

}  // namespace tokenfleet
