// One replica by exact jumps: the C++ mirror of envs/engine/reference/replica.py. Its batches end and begin in batching.hpp,
// its queue is in replica_queue.hpp, and what it makes of its prefix cache in replica_cache.hpp.
//
// Between changes of its batch a replica only decodes, so its future is a Segment in closed form. A request that can
// join cuts the segment at the first iteration boundary after its arrival; so does a new clock at a tick. Sequences
// wait in a heap keyed by the number of the iteration in which they end. Where KV grows, it does so by one token per
// sequence and iteration, so the iteration that would not fit is known beforehand and ends the segment too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "activity.hpp"
#include "finish_heap.hpp"
#include "links.hpp"
#include "pool_state.hpp"
#include "prefetch.hpp"
#include "prefix_cache.hpp"
#include "request.hpp"
#include "segment.hpp"
#include "windows.hpp"

namespace tokenfleet {

class Replica : PoolLink {
public:
    State state = State::kAwake;
    double ready_s = 0.0;
    double next_boundary_s = kNever;      // end of the running segment
    std::int64_t work_tokens = 0;         // what the router compares: tokens to compute and expected answers
    std::int64_t unprefilled_tokens = 0;  // to compute for the requests whose prefill has not ended

    explicit Replica(PoolState& pool) : PoolLink(pool) { make_parts(); }

    // The pool with the model that is loaded, or would be.
    const Pool& limits() const { return *model_; }

    // Hold the variant or the own model, of which nothing is cached.
    void load(bool is_variant) {
        hold(is_variant);
        make_parts();
    }

    // To be called some time before a tick.
    [[gnu::always_inline]] inline void prefetch() const { prefetch_completions(demand_, finishing_); }

    std::size_t bytes() const { return sizeof(*this) + finishing_.bytes() + (cache_ ? cache_->bytes() : 0); }

    bool is_idle() const { return next_boundary_s == kNever; }
    std::int64_t waiting() const { return waiting_.size; }
    std::int64_t running() const { return decoding() + prefilling_.size; }

    // KV cache that running requests held or had reserved at the last tick with a call of `meter`.
    std::int64_t kv_used() const { return kv_used_after(ended_at_tick_); }

    // KV cache that held prefixes at that tick.
    std::int64_t cached_tokens();

    // Leading tokens of a request that are cached here now.
    std::int64_t cached_tokens(std::int32_t index, double now_s);

    // A call before the episode has left its reusable context here.
    void remember(std::int32_t index);

    // The model is unloaded.
    void forget_prefixes() {
        if (cache_) cache_->clear();
    }

    // Queue a request. An idle replica starts at once; one that only decodes stops at its next boundary if the request can
    // join there.
    void take(std::int32_t index, double now_s) {
        const std::int64_t to_compute = is_computed(index) ? 0 : request(index).prompt_tokens;
        work_tokens += to_compute + output_weight(index);
        unprefilled_tokens += to_compute;
        if (limits().ranks_classes) {
            queue_by_rank(index, false);
        } else {
            waiting_.push(demand_.requests, index);
        }
        if (is_idle()) {
            energy_.idle_j += limits().idle_w * (now_s - metered_s_);
            start(now_s, {.begin_s = now_s});
        } else if (decoding_only_ && running() < limits().max_batch && is_next(index)) {
            const std::int64_t next = segment_.ended_by(now_s) + 1;
            if (fits(index, next)) cut(next);
        }
    }

    // The running segment ends, and so does every one after it that ends by `until_s`.
    void pass_boundaries(double until_s) {
        do pass_boundary();
        while (next_boundary_s <= until_s);
    }

    // Add the energy of the boards since the last call, and the tokens generated since then, up to the end of a tick.
    void meter(double until_s) {
        if (is_idle()) {
            const bool rests = state == State::kAsleep || state == State::kStandby;
            (rests ? energy_.asleep_j : energy_.idle_j) += idle_power_w() * (until_s - metered_s_);
            metered_s_ = until_s;
            return;
        }
        ended_at_tick_ = decoding_only_ ? segment_.ended_before(until_s) : 0;
        energy_.busy_j += segment_.meter(until_s, ended_at_tick_);
        pool_.counts[Counts::generated_tokens] += segment_.count(ended_at_tick_) * decoding();
    }

    // A new clock holds from the first boundary at or after the tick at which `meter` was last called.
    void on_new_clock() {
        if (!is_idle()) cut(ended_at_tick_ + 1);
    }

    // Lose power: forget all requests and return them, decoding ones in the order of their rows.
    std::vector<std::int32_t> drop_everything(double now_s) {
        std::vector<std::int32_t> lost;
        while (!waiting_.empty()) lost.push_back(waiting_.pop(demand_.requests));
        while (!prefilling_.empty()) lost.push_back(prefilling_.pop(demand_.requests));
        const auto queued = static_cast<std::ptrdiff_t>(lost.size());
        finishing_.for_each([&](std::int32_t index, std::int64_t) { lost.push_back(index); });
        std::sort(lost.begin() + queued, lost.end());
        finishing_.clear();
        if (windows_) windows_->clear();
        context_ = kv_reserved_ = kv_shared_ = work_tokens = unprefilled_tokens = 0;
        forget_prefixes();
        head_done_ = 0;
        go_idle(now_s);
        return lost;
    }

    // Tokens of context that running requests had when `meter` was last called.
    std::int64_t running_tokens() const {
        std::int64_t tokens = context_ + (decoding_only_ && !is_idle() ? ended_at_tick_ * decoding() : 0);
        for (std::int32_t i = prefilling_.head, n = 0; n < prefilling_.size; i = request(i).next, ++n) {
            tokens += std::max<std::int64_t>(n == 0 ? head_done_ : 0, hit_tokens(i));
        }
        return tokens;
    }

    // Requests stand in other rows of another episode, in the same order.
    void renumber(const std::int32_t* row) {
        waiting_.renumber(row);
        prefilling_.renumber(row);
        finishing_.renumber_requests(row);
        if (cache_) cache_->renumber(row, demand_.calls);
    }

    // What the boards have drawn since the last call.
    BoardEnergy take_energy() { return std::exchange(energy_, {}); }

private:
    Segment segment_;
    Stopwatch next_end_;      // of the segment, which next_boundary_s shows
    double metered_s_ = 0.0;  // while idle: up to when energy has been counted
    BoardEnergy energy_;
    std::int64_t context_ = 0;      // tokens of context of the decoding sequences
    std::int64_t kv_reserved_ = 0;  // for all running requests; where KV grows, only for those in prefill
    std::int64_t kv_shared_ = 0;    // part of what running requests hold that stands in entries of the cache
    std::int64_t iteration_ = 0;    // by which iterations are numbered; see renumber_iterations
    std::int64_t ended_at_tick_ = 0;
    Owned<PrefixCache> cache_;
    Owned<Windows> windows_;
    std::int32_t joined_ = 0;  // sequences that have begun to decode where KV grows
    RequestQueue waiting_, prefilling_;
    std::int32_t head_done_ = 0;       // tokens of the first prefilling prompt that are done
    std::int32_t next_head_done_ = 0;  // the same after the running iteration
    std::int32_t prompts_ending_ = 0;  // prompts whose last chunk is in the running iteration
    std::int64_t chunk_tokens_ = 0;    // prefill tokens of the running iteration
    std::int64_t window_pairs_ = 0;    // (query, key) pairs of its prefill in a layer with a sliding window
    bool decoding_only_ = true;
    FinishHeap finishing_;  // the decoding sequences

    // What the loaded model asks for; it has no requests.
    void make_parts() {
        const Pool& model = limits();
        const auto block_tokens = static_cast<std::int32_t>(model.prefix_block_tokens);
        if (block_tokens > 0) cache_.make(block_tokens, model.host_cache_tokens);
        windows_ = {};
        if (model.window_tokens > 0) windows_.make(model.window_tokens);
    }

    Request& request(std::int32_t index) const { return demand_.requests[index]; }
    Detail& detail(std::int32_t index) const { return demand_.details[index]; }
    std::int64_t output_weight(std::int32_t index) const {
        return pool_.classes[request(index).class_id].output_weight;
    }
    std::int64_t decoding() const { return finishing_.size(); }

    // What the boards draw while nothing runs.
    double idle_power_w() const {
        switch (state) {
            case State::kDark:
            case State::kFailed:
                return 0.0;
            case State::kAsleep:
                return limits().asleep_w;
            case State::kStandby:
                return limits().standby_w;
            default:
                return limits().idle_w;
        }
    }

    // Whether a request's context has come along from the pool that prefilled it.
    bool is_computed(std::int32_t index) const { return limits().takes_over && detail(index).progress.computed; }

    // Tokens that prefill has to compute.
    std::int64_t prefill_tokens(std::int32_t index) const {
        const std::int64_t generated = limits().kv_grows ? detail(index).progress.generated_tokens : 0;
        return request(index).prompt_tokens + generated;
    }

    // Space that a request takes when it joins.
    std::int64_t space_tokens(std::int32_t index) const {
        return limits().kv_grows ? prefill_tokens(index) : request(index).kv_tokens();
    }

    // KV cache that running requests need after so many iterations of the segment.
    std::int64_t kv_used_after(std::int64_t iterations) const {
        return kv_reserved_ - kv_shared_ + (limits().kv_grows ? context_ + iterations * decoding() : 0);
    }

    bool next_iteration_fits() const { return kv_used_after(0) + pinned_tokens() <= limits().kv_tokens; }

    // Whether the KV cache has space for a request, after so many iterations of the segment.
    bool fits(std::int32_t index, std::int64_t iterations = 0) const {
        std::int64_t needed = space_tokens(index) + (running() > 0 ? limits().watermark_tokens : 0);
        if (cache_) {
            const Prompt waiting = prompt(index);
            needed += cache_->pinned_with(waiting) - cache_->shared_tokens(waiting);
        }
        return kv_used_after(iterations) + needed <= limits().kv_tokens;
    }

    // The queue: replica_queue.hpp.

    std::int32_t next_in_line() const;
    bool is_next(std::int32_t index) const;
    std::int32_t first_to_sit() const;
    std::int32_t first_with_seat() const;
    void queue_by_rank(std::int32_t index, bool ahead_of_equals);

    // The prefix cache, where there is one: replica_cache.hpp.

    Prompt prompt(std::int32_t index) const;
    std::int64_t hit_tokens(std::int32_t index) const { return cache_ ? detail(index).cache.hit_tokens : 0; }
    std::int64_t pinned_tokens() const { return cache_ ? cache_->pinned_tokens() : 0; }
    Found join_cache(std::int32_t index);
    void leave_cache(std::int32_t index, std::int64_t computed_tokens, bool has_ended = false);
    void shrink_cache(std::int64_t iterations);

    // How batches end and begin: batching.hpp.

    void pass_boundary();
    void renumber_iterations();
    void end_prefill(double now_s);
    void begin_to_decode(std::int32_t index, std::int64_t last_iteration);
    void complete(std::int32_t index, double now_s);
    void hand_off(std::int32_t index, double now_s);
    void preempt_until_next_iteration_fits();
    std::int32_t stop_prefilling();
    std::int32_t stop_youngest_decoding();
    void start(double now_s, const Stopwatch& now);
    void take_over(std::int32_t index);
    bool has_expired(std::int32_t index, double now_s) const;
    std::int64_t add_chunk(std::int64_t tokens, std::int64_t done, std::int64_t budget, std::int64_t& pairs);
    std::int64_t add_windows(Batch& batch);
    std::int64_t undisturbed_iterations() const;

    // End the segment after so many iterations, if it does not end before.
    void cut(std::int64_t iterations) {
        if (iterations >= segment_.planned) return;
        segment_.planned = iterations;
        plan_end();
    }

    void plan_end() {
        next_end_ = segment_.end();
        next_boundary_s = next_end_.now_s();
    }

    void go_idle(double now_s) {
        next_boundary_s = kNever;
        metered_s_ = now_s;
    }
};

}  // namespace tokenfleet
