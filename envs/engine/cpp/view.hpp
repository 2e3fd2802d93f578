// What a policy sees of pools and request classes: the C++ mirror of envs/engine/reference/view.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "admission.hpp"
#include "arrays.hpp"
#include "billing.hpp"
#include "clients.hpp"
#include "power_states.hpp"
#include "replica.hpp"

namespace tokenfleet {

// What the replicas of pool `p` hold now.
inline void write_pool(const View& view, const Pool& pool, std::int64_t p, std::span<Replica> replicas) {
    std::int64_t waiting = 0, running = 0, unprefilled = 0, kv_used = 0, cached = 0, awake = 0, waking = 0, failed = 0,
                 kv_tokens = 0;
    for (Replica& replica : replicas) {
        waiting += replica.waiting();
        running += replica.running();
        unprefilled += replica.unprefilled_tokens;
        kv_used += replica.kv_used();
        cached += replica.cached_tokens();
        awake += replica.state == State::kAwake;
        waking += replica.state == State::kWaking || replica.state == State::kResuming;
        failed += replica.state == State::kFailed;
        kv_tokens += replica.limits().kv_tokens;
    }
    const auto capacity = static_cast<double>(kv_tokens);
    view.set(View::waiting_requests, p, waiting);
    view.set(View::running_requests, p, running);
    view.set(View::unprefilled_tokens, p, unprefilled);
    view.set(View::kv_reserved_fraction, p, static_cast<double>(kv_used) / capacity);
    view.set(View::cached_fraction, p, static_cast<double>(cached) / capacity);
    view.set(View::awake_replicas, p, awake);
    view.set(View::waking_replicas, p, waking);
    view.set(View::failed_replicas, p, failed);
    if (pool.standby >= 0) {
        view.set(View::standby_replicas, pool.standby, number_of(replicas, {State::kStandby}));
        view.set(View::preparing_replicas, pool.standby, number_of(replicas, {State::kPreparing}));
    }
    if (pool.variant >= 0) {
        const auto serves = [](const Replica& r) { return r.state == State::kAwake && r.limits().is_variant; };
        view.set(View::variant_replicas, pool.variant, std::ranges::count_if(replicas, serves));
        view.set(View::switching_replicas, pool.variant, number_of(replicas, {State::kSwitching}));
    }
}

// What the requests of every class are doing now, and what became of some in the tick.
inline void write_classes(const View& view, const FleetArrays& arrays, const Outcome& outcome, const Clients& clients,
                          const Admission& admission, const Billing& billing) {
    for (std::int64_t k = 0; k < arrays.num_classes(); ++k) {
        view.set(View::held_requests, k, admission.held(k));
        view.set(View::thinking_calls, k, clients.thinking[k]);
        view.set(View::away_requests, k, clients.away[k]);
        const std::int64_t priced = arrays.classes[k].priced;
        if (priced >= 0) {
            view.set(View::token_price_factor, priced, billing.factor[k]);
            view.set(View::declined, priced, outcome(Outcome::declined, k));
        }
        view.set(View::arrived, k, outcome(Outcome::arrived, k));
        view.set(View::completed_in_slo, k, outcome(Outcome::completed_in_slo, k));
        view.set(View::completed_late, k, outcome(Outcome::completed_late, k));
        view.set(View::refused, k, outcome(Outcome::refused, k));
        view.set(View::expired, k, outcome(Outcome::expired, k));
        view.set(View::retries, k, outcome(Outcome::retries, k));
        const double first_tokens = std::max(outcome(Outcome::first_tokens, k), 1.0);
        view.set(View::ttft_mean_s, k, outcome(Outcome::ttft_sum_s, k) / first_tokens);
    }
}

}  // namespace tokenfleet
