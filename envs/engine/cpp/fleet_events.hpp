// What happens to a fleet within a tick, in order of time: calls, journeys, arrivals at pools, and boundaries of batches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fleet.hpp"

namespace tokenfleet {

// Everything from `start_s` to just before `end_s`, in order of time; at a tie, in the order of the cases. Boundaries
// are among it only if they must be passed in order of time.
inline void Fleet::run(double start_s, double end_s) {
    for (const std::int32_t index : admission_.drop_expired(start_s)) {
        endings_.fail(index, start_s, Status::kExpired);
    }
    const std::vector<Release>& released = admission_.release(start_s);
    auto next_release = released.begin();
    const auto next_release_s = [&] { return next_release != released.end() ? next_release->time_s : kNever; };
    double release_s = next_release_s(), arrival_s = next_arrival_s();
    while (true) {
        const double step_s = clients_.next_s();
        const double next_s = std::min(release_s, std::min(step_s, arrival_s));
        const double boundary_s = in_order_of_time_ ? replicas_.next_boundary_s() : kNever;
        if (boundary_s <= next_s && boundary_s < end_s) {
            replicas_.pass_next_boundary();
        } else if (next_s >= end_s) {
            return;
        } else if (release_s == next_s) {
            dispatch((next_release++)->index, release_s);
            release_s = next_release_s();
        } else if (step_s == next_s) {
            take_step();
        } else {
            prefetch_arrival(demand_, next_request_ + kArrivalsAhead);
            call(static_cast<std::int32_t>(next_request_++), arrival_s);
            arrival_s = next_arrival_s();
        }
    }
}

inline double Fleet::next_arrival_s() const {
    return next_request_ < demand_.num_roots ? demand_.requests[next_request_].arrival_s : kNever;
}

inline void Fleet::take_step() {
    const Step step = clients_.take_step();
    const Request& request = demand_.requests[step.index];
    if (step.pool != kCalls) {
        enter(step.index, step.pool, step.time_s);
    } else if (!clients_.has_given_up(step.index)) {
        call(step.index, step.time_s);
    } else if (request.failed_attempts > 0) {
        endings_.lose(step.index, step.time_s, request.last_failure);
    }
}

// A client makes a call, or tries it again.
inline void Fleet::call(std::int32_t index, double now_s) {
    Request& request = demand_.requests[index];
    const std::int32_t k = request.class_id;
    request.arrival_s = now_s;
    if (clients_.ask(index, now_s)) {
        demand_.begin(index);
        overdue_.watch(index, k);
        outcome_(Outcome::arrived, k) += 1.0;
        outcome_(Outcome::prompt_tokens_asked, k) += request.prompt_tokens;
        outcome_(Outcome::output_tokens_asked, k) += request.output_tokens;
    }
    if (!quote(index, k)) {
        endings_.fail(index, now_s, Status::kDeclined);
    } else if (arrays_.classes[k].deferrable) {
        admission_.hold(index);
    } else if (admission_.admit(k, now_s)) {
        dispatch(index, now_s);
    } else {
        endings_.fail(index, now_s, Status::kRefused);
    }
}

// Tell a client the price of its call; an overdue one counts at its new price.
inline bool Fleet::quote(std::int32_t index, std::int32_t k) {
    const bool was_overdue = overdue_.remove(index);
    const bool accepted = billing_.quote(index, k);
    if (was_overdue) overdue_.add(index);
    return accepted;
}

// Choose a pool and send the request there.
inline void Fleet::dispatch(std::int32_t index, double now_s) {
    if (!demand_.details.empty()) {
        demand_.details[index].progress = {};
        demand_.details[index].cache = {};
    }
    const std::int64_t p = router_.choose_pool(index, now_s);
    if (p < 0) return endings_.fail(index, now_s, Status::kRefused);
    endings_.note_site(index, arrays_.pools[p].site);
    const std::int32_t prompt_tokens = demand_.requests[index].prompt_tokens;
    double way_s = endings_.network_s(index) + prompt_tokens * endings_.upload_token_s(index);
    if (arrays_.pools[p].migrates_prefixes) way_s = std::max(way_s, fetch_prefix(index, p, now_s));
    if (way_s > 0.0) return clients_.travel(index, static_cast<std::int32_t>(p), now_s + way_s);
    enter(index, p, now_s);
}

// Send for what another replica holds of the request's conversation, if that pays; how long it takes.
inline double Fleet::fetch_prefix(std::int32_t index, std::int64_t p, double now_s) {
    const std::int32_t holder = router_.holder(index);
    if (holder < 0 || router_.preferred(index) >= 0) return 0.0;
    const std::int64_t q = replicas_.pool_of[holder], tokens = replicas_.cached_tokens(holder, index, now_s);
    if (!kv_moves_.beats_computing(q, p, tokens)) return 0.0;
    demand_.details[index].cache.migrated_tokens = static_cast<std::int32_t>(tokens);
    return kv_moves_.send(q, p, tokens);
}

// A request reaches its pool; none of whose replicas may be awake any more.
inline void Fleet::enter(std::int32_t index, std::int64_t p, double now_s) {
    replicas_.catch_up(p, now_s);
    const bool from_another_pool = arrays_.pools[p].takes_over && demand_.details[index].progress.computed;
    const std::int64_t r = router_.choose_replica(index, p, from_another_pool);
    if (r < 0) return endings_.fail(index, now_s, Status::kRefused);
    demand_.requests[index].replica = static_cast<std::int32_t>(r);
    replicas_[r].take(index, now_s);
    replicas_.note(r);
}

}  // namespace tokenfleet
