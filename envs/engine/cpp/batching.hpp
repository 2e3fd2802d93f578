// How a replica's batches end and begin: the other half of replica.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "replica.hpp"
#include "replica_cache.hpp"
#include "replica_queue.hpp"
#include "ties.hpp"

namespace tokenfleet {

// The running segment ends: let finished requests go and start the next batch. Inlined, as `start` is.
[[gnu::always_inline]] inline void Replica::pass_boundary() {
    const double now_s = next_boundary_s;
    const std::int64_t iterations = segment_.planned;
    energy_.busy_j += segment_.meter_all();
    if (cache_) shrink_cache(iterations - 1);
    pool_.counts[Counts::generated_tokens] += segment_.count(iterations) * decoding();
    if (iteration_ >= FinishHeap::kHighestStart) [[unlikely]]
        renumber_iterations();
    iteration_ += iterations;
    context_ += iterations * decoding();
    while (!finishing_.empty() && finishing_.first_iteration() == iteration_) {
        const std::int32_t index = finishing_.pop();
        const std::int64_t kv_tokens = request(index).kv_tokens();
        context_ -= kv_tokens;
        if (windows_) windows_->leave(iteration_, kv_tokens);
        complete(index, now_s);
    }
    if (!decoding_only_) end_prefill(now_s);
    start(now_s, next_end_);
}

// A heap's keys hold so many iterations and no more: count again from 0.
[[gnu::noinline]] inline void Replica::renumber_iterations() {
    finishing_.renumber(iteration_);
    if (windows_) windows_->renumber(iteration_);
    iteration_ = 0;
}

// Prompts whose last chunk has run get their first token and begin to decode.
inline void Replica::end_prefill(double now_s) {
    pool_.counts[Counts::prefilled_tokens] += chunk_tokens_;
    for (; prompts_ending_ > 0; --prompts_ending_) {
        const std::int32_t index = prefilling_.pop(demand_.requests);
        Request& ending = request(index);
        const std::int64_t computed = prefill_tokens(index);
        const std::int64_t hit = hit_tokens(index);
        ++pool_.counts[Counts::generated_tokens];
        work_tokens -= computed - hit;
        unprefilled_tokens -= computed - hit;
        if (limits().kv_grows) {
            kv_reserved_ -= computed;
            detail(index).progress.joined = joined_++;
        }
        if (computed == ending.prompt_tokens) {
            ending.first_token_s = now_s;
            pool_.endings.first_token(index, static_cast<std::int32_t>(hit));
        }
        const std::int64_t left = ending.kv_tokens() - computed - 1;
        if (left == 0) {
            complete(index, now_s);
        } else if (limits().hand_off_to >= 0) {
            hand_off(index, now_s);
        } else {
            context_ += computed + 1;
            begin_to_decode(index, iteration_ + left);
        }
    }
    head_done_ = next_head_done_;
}

inline void Replica::begin_to_decode(std::int32_t index, std::int64_t last_iteration) {
    finishing_.push(last_iteration, index);
    if (windows_) windows_->join(last_iteration, request(index).kv_tokens());
}

inline void Replica::complete(std::int32_t index, double now_s) {
    const std::int64_t kv_tokens = request(index).kv_tokens();
    if (!limits().kv_grows) kv_reserved_ -= kv_tokens;
    if (cache_) leave_cache(index, kv_tokens, true);
    work_tokens -= output_weight(index);
    pool_.endings.complete(index, limits(), now_s);
}

// A request with its first token leaves for the pool that decodes.
[[gnu::noinline]] inline void Replica::hand_off(std::int32_t index, double now_s) {
    const std::int64_t prompt_tokens = request(index).prompt_tokens;
    if (cache_) leave_cache(index, prompt_tokens);
    pool_.counts[Counts::handed_off_tokens] += prompt_tokens + 1;
    work_tokens -= output_weight(index);
    detail(index).progress = {.generated_tokens = 1, .joined = 0, .computed = true};
    pool_.hand_offs.send(index, pool_.index, now_s);
}

// Preempt the youngest sequences; a prompt in prefill is younger than all that decode.
[[gnu::noinline]] inline void Replica::preempt_until_next_iteration_fits() {
    while (!next_iteration_fits()) {
        const std::int32_t index = prefilling_.empty() ? stop_youngest_decoding() : stop_prefilling();
        if (limits().ranks_classes) {
            queue_by_rank(index, true);
        } else {
            waiting_.push_front(demand_.requests, index);
        }
        ++pool_.counts[Counts::preemptions];
    }
}

// At a boundary at most one prompt is in prefill.
inline std::int32_t Replica::stop_prefilling() {
    const std::int32_t index = prefilling_.pop(demand_.requests);
    pool_.counts[Counts::preempted_tokens] += head_done_;
    const std::int64_t hit = hit_tokens(index);
    kv_reserved_ -= prefill_tokens(index);
    work_tokens += hit;
    unprefilled_tokens += hit;
    if (cache_) leave_cache(index, head_done_);
    head_done_ = 0;
    return index;
}

inline std::int32_t Replica::stop_youngest_decoding() {
    std::int32_t youngest = -1, joined = -1;
    std::int64_t left = 0;
    finishing_.for_each([&](std::int32_t index, std::int64_t iteration) {
        if (detail(index).progress.joined <= joined) return;
        youngest = index;
        joined = detail(index).progress.joined;
        left = iteration - iteration_;
    });
    finishing_.remove(youngest);
    const Request& stopped = request(youngest);
    if (windows_) windows_->leave(iteration_ + left, stopped.kv_tokens());
    detail(youngest).progress.generated_tokens = stopped.output_tokens - static_cast<std::int32_t>(left);
    const std::int64_t again = stopped.kv_tokens() - left;
    pool_.counts[Counts::preempted_tokens] += again;
    context_ -= again;
    work_tokens += again;
    unprefilled_tokens += again;
    if (cache_) leave_cache(youngest, again - 1);  // all but the token that it generated last
    return youngest;
}

// Form the next batch and plan it to the next change of composition; `now` shows `now_s`. Inlined: a call would
// cost 4 % of everything.
[[gnu::always_inline]] inline void Replica::start(double now_s, const Stopwatch& now) {
    std::int64_t pairs = 0, host_tokens = 0;
    chunk_tokens_ = window_pairs_ = 0;
    prompts_ending_ = 0;
    next_head_done_ = 0;
    if (limits().kv_grows && !next_iteration_fits()) preempt_until_next_iteration_fits();
    if (cache_) shrink_cache(0);
    std::int64_t budget = limits().token_budget - decoding();
    if (!prefilling_.empty()) budget -= add_chunk(prefill_tokens(prefilling_.head), head_done_, budget, pairs);
    while (budget > 0) {
        const std::int32_t index = next_in_line();
        if (index < 0 || !fits(index)) break;
        if (index == waiting_.head) {
            waiting_.pop(demand_.requests);
        } else {
            waiting_.remove(demand_.requests, index);
        }
        if (is_computed(index)) {
            take_over(index);
            --budget;
            continue;
        }
        if (has_expired(index, now_s)) {
            work_tokens -= request(index).prompt_tokens + output_weight(index);
            unprefilled_tokens -= request(index).prompt_tokens;
            pool_.endings.fail(index, now_s, Status::kExpired);
            continue;
        }
        prefilling_.push(demand_.requests, index);
        kv_reserved_ += space_tokens(index);
        std::int64_t found_tokens = 0;
        if (cache_) {
            const Found found = join_cache(index);
            found_tokens = found.tokens;
            host_tokens += found.host_tokens;
            shrink_cache(0);
        }
        budget -= add_chunk(prefill_tokens(index), found_tokens, budget, pairs);
    }
    decoding_only_ = chunk_tokens_ == 0;
    if (decoding_only_ && finishing_.empty()) return go_idle(now_s);
    Batch batch{.decoding = decoding(),
                .prefill = chunk_tokens_,
                .context = static_cast<double>(context_),
                .pairs = static_cast<double>(pairs),
                .growth = static_cast<double>(decoding())};
    std::int64_t iterations = decoding_only_ ? undisturbed_iterations() : 1;
    if (windows_) iterations = std::min(iterations, add_windows(batch));
    segment_.begin(now, now_s, limits(), *physics_, batch, iterations);
    if (host_tokens > 0) segment_.delay(static_cast<double>(host_tokens) * limits().host_load_s, limits().idle_w);
    plan_end();
}

// Whether a request of which no token has been answered yet has waited for longer than its patience.
inline bool Replica::has_expired(std::int32_t index, double now_s) const {
    const Request& waiting = request(index);
    const bool is_answered = limits().kv_grows && detail(index).progress.generated_tokens > 0;
    return !is_answered && exceeds(now_s - waiting.arrival_s, pool_.classes[waiting.class_id].patience_s);
}

// A request whose context has come along decodes from the next iteration on; its memory is as any other's.
[[gnu::noinline]] inline void Replica::take_over(std::int32_t index) {
    const Request& taken = request(index);
    Progress& progress = detail(index).progress;
    if (cache_) {
        Prompt whole = prompt(index);
        whole.context_tokens += progress.generated_tokens;
        cache_->join(whole, demand_.calls, detail(index).cache);
        kv_shared_ += detail(index).cache.shared_tokens;
    }
    progress.computed = false;
    progress.joined = joined_++;
    if (!limits().kv_grows) kv_reserved_ += taken.kv_tokens();
    const std::int64_t context = std::int64_t{taken.prompt_tokens} + progress.generated_tokens;
    context_ += context;
    pool_.counts[Counts::taken_over_tokens] += context;
    begin_to_decode(index, iteration_ + taken.output_tokens - progress.generated_tokens);
    if (cache_) shrink_cache(0);
}

// Give a prompt what it can use of the budget; returns how much that is.
inline std::int64_t Replica::add_chunk(std::int64_t tokens, std::int64_t done, std::int64_t budget,
                                       std::int64_t& pairs) {
    const std::int64_t left = tokens - done;
    const std::int64_t chunk = std::min(budget, left);
    pairs += prefill_pairs(chunk, done);
    if (limits().window_tokens > 0) window_pairs_ += window_pairs(limits().window_tokens, chunk, done);
    chunk_tokens_ += chunk;
    if (chunk == left) {
        ++prompts_ending_;
    } else {
        next_head_done_ = static_cast<std::int32_t>(done + chunk);
    }
    return chunk;
}

// Count what windowed layers see; returns in how many iterations the first sequence fills its window.
inline std::int64_t Replica::add_windows(Batch& batch) {
    const Windows::Seen seen = windows_->see(iteration_);
    batch.context += limits().window_ratio * static_cast<double>(seen.tokens);
    batch.pairs += limits().window_ratio * static_cast<double>(window_pairs_);
    batch.growth += limits().window_ratio * static_cast<double>(seen.growing);
    return seen.iterations;
}

// Iterations until the first sequence ends or the KV cache is full.
inline std::int64_t Replica::undisturbed_iterations() const {
    const std::int64_t to_finish = finishing_.first_iteration() - iteration_;
    if (!limits().kv_grows) return to_finish;
    const std::int64_t free_tokens = limits().kv_tokens - kv_used_after(0) - pinned_tokens();
    return std::min(to_finish, free_tokens / decoding() + 1);
}

}  // namespace tokenfleet
