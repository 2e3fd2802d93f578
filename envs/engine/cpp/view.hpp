// What the brain sees of pools and request classes: the C++ mirror of envs/engine/reference/view.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "admission.hpp"
#include "arrays.hpp"
#include "billing.hpp"
#include "clients.hpp"
#include "replica.hpp"

namespace tokenfleet {

// What the replicas of pool `p` hold now.
template <typename Replicas>
void write_pool(float* view, const FleetArrays& arrays, std::int64_t p, const Replicas& replicas) {
    const ViewLayout& v = arrays.view;
    const Pool& pool = arrays.pools[p];
    std::int64_t waiting = 0, running = 0, unprefilled = 0, kv_used = 0, cached = 0, awake = 0, waking = 0, failed = 0;
    for (auto& replica : replicas) {
        waiting += replica.waiting();
        running += replica.running();
        unprefilled += replica.unprefilled_tokens;
        kv_used += replica.kv_used(pool);
        cached += replica.cached_tokens(pool);
        awake += replica.state == State::kAwake;
        waking += replica.state == State::kWaking;
        failed += replica.state == State::kFailed;
    }
    const auto capacity = static_cast<double>(pool.kv_tokens * pool.replicas);
    view[v.waiting_requests + p] = static_cast<float>(waiting);
    view[v.running_requests + p] = static_cast<float>(running);
    view[v.unprefilled_tokens + p] = static_cast<float>(unprefilled);
    view[v.kv_reserved_fraction + p] = static_cast<float>(static_cast<double>(kv_used) / capacity);
    view[v.cached_fraction + p] = static_cast<float>(static_cast<double>(cached) / capacity);
    view[v.awake_replicas + p] = static_cast<float>(awake);
    view[v.waking_replicas + p] = static_cast<float>(waking);
    view[v.failed_replicas + p] = static_cast<float>(failed);
}

// What the requests of every class are doing now, and what became of some in the tick.
inline void write_classes(float* view, const FleetArrays& arrays, const double* outcome, const Clients& clients,
                          const Admission& admission, const Billing& billing) {
    const ViewLayout& v = arrays.view;
    const OutcomeLayout& o = arrays.outcome;
    for (std::int64_t k = 0; k < static_cast<std::int64_t>(arrays.classes.size()); ++k) {
        view[v.held_requests + k] = static_cast<float>(admission.held(k));
        view[v.thinking_calls + k] = static_cast<float>(clients.thinking[k]);
        view[v.away_requests + k] = static_cast<float>(clients.away[k]);
        const std::int64_t priced = arrays.classes[k].priced;
        if (priced >= 0) {
            view[v.token_price_factor + priced] = static_cast<float>(billing.factor[k]);
            view[v.declined + priced] = static_cast<float>(outcome[o.declined + k]);
        }
        view[v.retries + k] = static_cast<float>(outcome[o.retries + k]);
        view[v.arrived + k] = static_cast<float>(outcome[o.arrived + k]);
        view[v.completed_in_slo + k] = static_cast<float>(outcome[o.completed_in_slo + k]);
        view[v.completed_late + k] = static_cast<float>(outcome[o.completed_late + k]);
        view[v.refused + k] = static_cast<float>(outcome[o.refused + k]);
        view[v.expired + k] = static_cast<float>(outcome[o.expired + k]);
        const double first_tokens = std::max(outcome[o.first_tokens + k], 1.0);
        view[v.ttft_mean_s + k] = static_cast<float>(outcome[o.ttft_sum_s + k] / first_tokens);
    }
}

}  // namespace tokenfleet
