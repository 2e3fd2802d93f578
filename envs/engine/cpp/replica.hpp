// One replica by exact jumps: the C++ mirror of envs/engine/reference/replica.py.
//
// Between changes of its batch a replica only decodes, so its future is a Segment in closed form. A request that can
// join cuts the segment at the first iteration boundary after its arrival; so does a new clock at a tick. Sequences
// wait in a heap keyed by the number of the iteration in which they end. Where KV grows, it does so by one token per
// sequence and iteration, so the iteration that would not fit is known beforehand and ends the segment too.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "finish_heap.hpp"
#include "prefix_cache.hpp"
#include "request.hpp"
#include "segment.hpp"
#include "ties.hpp"

namespace tokenfleet {

enum class State : std::uint8_t { kAwake, kDraining, kAsleep, kWaking, kDark, kFailed };

// What the boards of a replica have drawn, by what they were doing.
struct BoardEnergy {
    double busy_j = 0.0, idle_j = 0.0, asleep_j = 0.0;
};

// What has happened at a replica since it was last asked: an outcome by the same name each.
struct Counts {
    std::int64_t generated_tokens = 0, prefilled_tokens = 0, prefix_hit_tokens = 0, host_hit_tokens = 0,
                 migrated_tokens = 0, handed_off_tokens = 0, taken_over_tokens = 0, preemptions = 0, preempted_tokens = 0;

    void operator+=(const Counts& other) {
        generated_tokens += other.generated_tokens;
        prefilled_tokens += other.prefilled_tokens;
        prefix_hit_tokens += other.prefix_hit_tokens;
        host_hit_tokens += other.host_hit_tokens;
        migrated_tokens += other.migrated_tokens;
        handed_off_tokens += other.handed_off_tokens;
        taken_over_tokens += other.taken_over_tokens;
        preemptions += other.preemptions;
        preempted_tokens += other.preempted_tokens;
    }
};

// Owner is the Fleet: it holds the requests and is told what becomes of them.
template <typename Owner>
class Replica {
public:
    State state = State::kAwake;
    double ready_s = 0.0;
    double next_event_s = kNever;  // end of the running segment
    std::int64_t work_tokens = 0;  // what the router compares
    std::int64_t unprefilled_tokens = 0;

    void reset(const Pool& pool) {
        FinishHeap memory = std::move(finishing_);
        *this = Replica{};
        finishing_ = std::move(memory);
        finishing_.clear();
        if (pool.prefix_block_tokens > 0) {
            const auto block = static_cast<std::int32_t>(pool.prefix_block_tokens);
            cache_ = std::make_unique<PrefixCache>(block, pool.host_cache_tokens);
        }
    }

    // Before anything is asked of it, and then again when what that began to load is there.
    [[gnu::always_inline]] inline void bring_itself_near() const {
        bring_all_near(*this);
        finishing_.bring_first_near();
    }
    [[gnu::always_inline]] inline void bring_completions_near(const Owner& owner, std::int64_t count) const {
        for (std::int64_t i = 0; i < std::min(count, decoding()); ++i) owner.demand.bring_request_near(finishing_[i]);
    }

    bool idle() const { return next_event_s == kNever; }
    std::int64_t waiting() const { return waiting_.size; }
    std::int64_t running() const { return decoding() + prefilling_.size; }

    // KV cache that running requests hold or have reserved at the tick at which read_meter was last called.
    std::int64_t kv_used(const Pool& pool) const { return kv_used_after(pool, ended_at_tick_); }

    // KV cache that holds prefixes at that time.
    std::int64_t cached_tokens(const Pool& pool) {
        if (!cache_) return 0;
        shrink_cache(pool, ended_at_tick_);
        return cache_->tokens();
    }

    // Leading prompt tokens of a request that are cached here now.
    std::int64_t cached_tokens(const Owner& owner, const Pool& pool, std::int32_t index, double now_s) {
        if (!cache_) return 0;
        shrink_cache(pool, idle() || !decoding_only_ ? 0 : segment_.ended_by(now_s));
        return cache_->find(owner.prompt(index), owner.demand.calls).tokens;
    }

    // Another call has left so much of the request's context here.
    void remember(const Owner& owner, std::int32_t index, std::int64_t tokens) {
        if (!cache_) return;
        CacheUse use;
        cache_->join(owner.prompt(index), owner.demand.calls, use);
        cache_->leave(owner.prompt(index), use, tokens, true);
    }

    // The model is unloaded.
    void forget_prefixes() {
        if (cache_) cache_->clear();
    }

    // Queue a request; an idle replica starts at once, a decoding one makes room at its next boundary if it can.
    void take(Owner& owner, const Pool& pool, const Physics& physics, std::int32_t index, double now_s) {
        std::vector<Request>& requests = owner.demand.requests;
        const Request& request = requests[index];
        const std::int64_t to_compute = is_computed(owner, pool, index) ? 0 : request.prompt_tokens;
        work_tokens += to_compute + owner.output_weight(request.class_id);
        unprefilled_tokens += to_compute;
        waiting_.push(requests, index);
        if (idle()) {
            energy_.idle_j += pool.idle_w * (now_s - metered_s_);
            start(owner, pool, physics, now_s, 0.0);
        } else if (waiting_.size == 1 && decoding_only_ && running() < pool.max_batch) {
            const std::int64_t next = segment_.ended_by(now_s) + 1;
            if (head_fits(owner, pool, next)) cut(next);
        }
    }

    // The running segment ends, and so does every one after it that ends by `until_s`.
    void pass_boundaries(Owner& owner, const Pool& pool, const Physics& physics, double until_s) {
        do pass_boundary(owner, pool, physics); while (next_event_s <= until_s);
    }

    // Energy of the boards since the last call, and tokens generated since then, up to the end of a tick.
    void read_meter(const Pool& pool, double now_s) {
        if (idle()) {
            const bool off = state == State::kDark || state == State::kFailed;
            const double power_w = off ? 0.0 : state == State::kAsleep ? pool.asleep_w : pool.idle_w;
            (state == State::kAsleep ? energy_.asleep_j : energy_.idle_j) += power_w * (now_s - metered_s_);
            metered_s_ = now_s;
            return;
        }
        ended_at_tick_ = decoding_only_ ? segment_.ended_before(now_s) : 0;
        energy_.busy_j += segment_.meter(now_s, ended_at_tick_);
        counts_.generated_tokens += segment_.count(ended_at_tick_) * decoding();
    }

    // A new clock holds from the first boundary at or after the tick at which read_meter was last called.
    void on_new_clock() {
        if (!idle()) cut(ended_at_tick_ + 1);
    }

    // Lose power: hand every request to the owner and forget it.
    void drop_everything(Owner& owner, double now_s) {
        while (!waiting_.empty()) owner.on_lost(waiting_.pop(owner.demand.requests), now_s);
        while (!prefilling_.empty()) owner.on_lost(prefilling_.pop(owner.demand.requests), now_s);
        // The heap's order is nobody's business: the rows' order is that of the reference.
        std::vector<std::int32_t> decoding;
        finishing_.for_each([&](std::int32_t index, std::int64_t) { decoding.push_back(index); });
        std::sort(decoding.begin(), decoding.end());
        for (const std::int32_t index : decoding) owner.on_lost(index, now_s);
        finishing_.clear();
        context_ = kv_reserved_ = kv_shared_ = work_tokens = unprefilled_tokens = 0;
        forget_prefixes();
        head_done_ = 0;
        go_idle(now_s);
    }

    // Tokens of context that running requests have, as of the last read_meter.
    std::int64_t running_tokens(const Owner& owner) const {
        std::int64_t tokens = context_ + (decoding_only_ && !idle() ? ended_at_tick_ * decoding() : 0);
        for (std::int32_t i = prefilling_.head, n = 0; n < prefilling_.size; i = owner.demand.requests[i].next, ++n) {
            tokens += std::max<std::int64_t>(n == 0 ? head_done_ : 0, hit_tokens(owner, i));
        }
        return tokens;
    }

    BoardEnergy take_energy() { return std::exchange(energy_, {}); }
    Counts take_counts() { return std::exchange(counts_, {}); }

private:
    Segment segment_;
    double metered_s_ = 0.0;  // while idle: up to when energy has been counted
    BoardEnergy energy_;
    std::int64_t context_ = 0;    // tokens of context of the decoding sequences
    std::int64_t kv_reserved_ = 0;  // for all running requests; where KV grows, only for those in prefill
    std::int64_t kv_shared_ = 0;  // part of what running requests hold that stands in entries of the cache
    std::int64_t iteration_ = 0;  // by which iterations are numbered; see renumber_iterations
    std::int64_t ended_at_tick_ = 0;
    Counts counts_;
    std::unique_ptr<PrefixCache> cache_;
    std::int32_t joined_ = 0;  // sequences that have begun to decode where KV grows
    RequestQueue waiting_, prefilling_;
    std::int32_t head_done_ = 0;       // tokens of the first prefilling prompt that are done
    std::int32_t next_head_done_ = 0;  // the same after the running iteration
    std::int32_t prompts_ending_ = 0;  // prompts whose last chunk is in the running iteration
    std::int64_t chunk_tokens_ = 0;    // prefill tokens of the running iteration
    bool decoding_only_ = true;
    FinishHeap finishing_;  // the decoding sequences

    std::int64_t decoding() const { return finishing_.size(); }

    static bool is_computed(const Owner& owner, const Pool& pool, std::int32_t index) {
        return pool.takes_over && owner.demand.details[index].progress.computed;
    }

    // Tokens that prefill has to compute.
    static std::int64_t prefill_tokens(const Owner& owner, const Pool& pool, std::int32_t index) {
        const std::int64_t generated = pool.kv_grows ? owner.demand.details[index].progress.generated_tokens : 0;
        return owner.demand.requests[index].prompt_tokens + generated;
    }

    static std::int64_t room_tokens(const Owner& owner, const Pool& pool, std::int32_t index) {
        const Request& request = owner.demand.requests[index];
        return pool.kv_grows ? prefill_tokens(owner, pool, index) : request.kv_tokens();
    }

    std::int64_t kv_used_after(const Pool& pool, std::int64_t iterations) const {
        return kv_reserved_ - kv_shared_ + (pool.kv_grows ? context_ + iterations * decoding() : 0);
    }

    // With a cache: let it have what running requests do not need, after so many iterations of the segment.
    void shrink_cache(const Pool& pool, std::int64_t iterations) {
        const std::int64_t available_tokens = pool.kv_tokens - kv_used_after(pool, iterations);
        if (cache_->tokens() > available_tokens) cache_->shrink(available_tokens);
    }

    // A request begins to run: it takes what is cached of its context.
    [[gnu::noinline]] Found join_cache(Owner& owner, const Pool& pool, std::int32_t index) {
        Prompt prompt = owner.prompt(index);
        prompt.context_tokens = static_cast<std::int32_t>(prefill_tokens(owner, pool, index));
        CacheUse& use = owner.demand.details[index].cache;
        const Found found = cache_->join(prompt, owner.demand.calls, use);
        kv_shared_ += use.shared_tokens;
        counts_.prefix_hit_tokens += found.tokens;
        counts_.host_hit_tokens += found.host_tokens;
        counts_.migrated_tokens += found.migrated_tokens;
        work_tokens -= found.tokens;
        unprefilled_tokens -= found.tokens;
        return found;
    }

    // A request gives up its room; so much of its context has been computed.
    [[gnu::noinline]] void leave_cache(Owner& owner, std::int32_t index, std::int64_t computed_tokens,
                                       bool has_ended = false) {
        kv_shared_ -= owner.demand.details[index].cache.shared_tokens;
        cache_->leave(owner.prompt(index), owner.demand.details[index].cache, computed_tokens, has_ended);
    }

    std::int64_t hit_tokens(const Owner& owner, std::int32_t index) const {
        return cache_ ? owner.demand.details[index].cache.hit_tokens : 0;
    }

    std::int64_t pinned_tokens() const { return cache_ ? cache_->pinned_tokens() : 0; }

    // Whether a seat and the KV cache are free for the next in the queue, after so many iterations of the segment.
    bool head_fits(const Owner& owner, const Pool& pool, std::int64_t iterations = 0) const {
        const std::int64_t watermark = running() > 0 ? pool.watermark_tokens : 0;
        std::int64_t needed = room_tokens(owner, pool, waiting_.head) + watermark;
        if (cache_) {
            const Prompt prompt = owner.prompt(waiting_.head);
            needed += cache_->pinned_with(prompt) - cache_->shared_tokens(prompt);
        }
        return running() < pool.max_batch && kv_used_after(pool, iterations) + needed <= pool.kv_tokens;
    }

    // The running segment ends: let finished requests go and start the next batch.
    [[gnu::always_inline]] inline void pass_boundary(Owner& owner, const Pool& pool, const Physics& physics) {
        const double now_s = next_event_s, rest_s = segment_.rest_after(now_s);
        const std::int64_t iterations = segment_.planned;
        energy_.busy_j += segment_.meter_all();
        if (cache_) shrink_cache(pool, iterations - 1);
        counts_.generated_tokens += segment_.count(iterations) * decoding();
        if (iteration_ >= FinishHeap::kHighestStart) [[unlikely]] renumber_iterations();
        iteration_ += iterations;
        context_ += iterations * decoding();
        while (!finishing_.empty() && finishing_.first_iteration() == iteration_) {
            const std::int32_t index = finishing_.pop();
            bring_completions_near(owner, 1);
            const Request& request = owner.demand.requests[index];
            context_ -= request.kv_tokens();
            complete(owner, pool, request, index, now_s);
        }
        if (!decoding_only_) end_prefill(owner, pool, now_s);
        start(owner, pool, physics, now_s, rest_s);
    }

    // A heap's keys hold so many iterations and no more: count again from 0.
    [[gnu::noinline]] void renumber_iterations() {
        finishing_.renumber(iteration_);
        iteration_ = 0;
    }

    void cut(std::int64_t iterations) {
        if (iterations < segment_.planned) {
            segment_.planned = iterations;
            next_event_s = segment_.end_s();
        }
    }

    void go_idle(double now_s) {
        next_event_s = kNever;
        metered_s_ = now_s;
    }

    void complete(Owner& owner, const Pool& pool, const Request& request, std::int32_t index, double now_s) {
        if (!pool.kv_grows) kv_reserved_ -= request.kv_tokens();
        if (cache_) leave_cache(owner, index, request.kv_tokens(), true);
        work_tokens -= owner.output_weight(request.class_id);
        owner.on_complete(index, now_s);
    }

    // Prompts whose last chunk has run get their first token and begin to decode.
    void end_prefill(Owner& owner, const Pool& pool, double now_s) {
        counts_.prefilled_tokens += chunk_tokens_;
        for (; prompts_ending_ > 0; --prompts_ending_) {
            const std::int32_t index = prefilling_.pop(owner.demand.requests);
            Request& request = owner.demand.requests[index];
            const std::int64_t computed = prefill_tokens(owner, pool, index);
            const std::int64_t hit = hit_tokens(owner, index);
            ++counts_.generated_tokens;
            work_tokens -= computed - hit;
            unprefilled_tokens -= computed - hit;
            if (pool.kv_grows) {
                kv_reserved_ -= computed;
                owner.demand.details[index].progress.joined = joined_++;
            }
            if (computed == request.prompt_tokens) {
                request.first_token_s = now_s;
                owner.on_first_token(index, static_cast<std::int32_t>(hit));
            }
            const std::int64_t left = request.kv_tokens() - computed - 1;
            if (left == 0) {
                complete(owner, pool, request, index, now_s);
                continue;
            }
            if (pool.hand_off_to >= 0) {
                hand_off(owner, index, now_s);
                continue;
            }
            context_ += computed + 1;
            finishing_.push(iteration_ + left, index);
        }
        head_done_ = next_head_done_;
    }

    // A request whose first token is there goes to the pool that decodes it.
    [[gnu::noinline]] void hand_off(Owner& owner, std::int32_t index, double now_s) {
        const Request& request = owner.demand.requests[index];
        if (cache_) leave_cache(owner, index, request.prompt_tokens);
        counts_.handed_off_tokens += std::int64_t{request.prompt_tokens} + 1;
        work_tokens -= owner.output_weight(request.class_id);
        owner.demand.details[index].progress = {.generated_tokens = 1, .joined = 0, .computed = true};
        owner.on_hand_off(index, now_s);
    }

    // A request whose context has come along decodes from the next iteration on; its memory is as any other's.
    [[gnu::noinline]] void take_over(Owner& owner, const Pool& pool, std::int32_t index) {
        const Request& request = owner.demand.requests[index];
        Progress& progress = owner.demand.details[index].progress;
        if (cache_) {
            Prompt prompt = owner.prompt(index);
            prompt.context_tokens += progress.generated_tokens;
            cache_->join(prompt, owner.demand.calls, owner.demand.details[index].cache);
            kv_shared_ += owner.demand.details[index].cache.shared_tokens;
        }
        progress.computed = false;
        progress.joined = joined_++;
        if (!pool.kv_grows) kv_reserved_ += request.kv_tokens();
        const std::int64_t context = std::int64_t{request.prompt_tokens} + progress.generated_tokens;
        context_ += context;
        counts_.taken_over_tokens += context;
        finishing_.push(iteration_ + request.output_tokens - progress.generated_tokens, index);
        if (cache_) shrink_cache(pool, 0);
    }

    bool next_iteration_fits(const Pool& pool) const { return kv_used_after(pool, 0) + pinned_tokens() <= pool.kv_tokens; }

    // Preempt the youngest sequences until the next iteration fits.
    [[gnu::noinline]] void make_room(Owner& owner, const Pool& pool) {
        while (!next_iteration_fits(pool)) {
            const std::int32_t index = prefilling_.empty() ? stop_youngest_decoding(owner) : stop_prefilling(owner, pool);
            waiting_.push_front(owner.demand.requests, index);
            ++counts_.preemptions;
        }
    }

    // At a boundary at most one prompt is in prefill.
    std::int32_t stop_prefilling(Owner& owner, const Pool& pool) {
        const std::int32_t index = prefilling_.pop(owner.demand.requests);
        counts_.preempted_tokens += head_done_;
        const std::int64_t hit = hit_tokens(owner, index);
        kv_reserved_ -= prefill_tokens(owner, pool, index);
        work_tokens += hit;
        unprefilled_tokens += hit;
        if (cache_) leave_cache(owner, index, head_done_);
        head_done_ = 0;
        return index;
    }

    std::int32_t stop_youngest_decoding(Owner& owner) {
        std::int32_t index = -1, joined = -1;
        std::int64_t left = 0;
        finishing_.for_each([&](std::int32_t i, std::int64_t iteration) {
            if (owner.demand.details[i].progress.joined <= joined) return;
            index = i;
            joined = owner.demand.details[i].progress.joined;
            left = iteration - iteration_;
        });
        finishing_.remove(index);
        const Request& request = owner.demand.requests[index];
        owner.demand.details[index].progress.generated_tokens = request.output_tokens - static_cast<std::int32_t>(left);
        const std::int64_t again = request.kv_tokens() - left;
        counts_.preempted_tokens += again;
        context_ -= again;
        work_tokens += again;
        unprefilled_tokens += again;
        if (cache_) leave_cache(owner, index, again - 1);  // all but the token that it generated last
        return index;
    }

    // Form the next batch and plan it to the next change of composition. Inlined: a call would cost 4 % of everything.
    [[gnu::always_inline]] inline void start(Owner& owner, const Pool& pool, const Physics& physics, double now_s,
                                             double rest_s) {
        std::int64_t pairs = 0, host_tokens = 0;
        chunk_tokens_ = 0;
        prompts_ending_ = 0;
        next_head_done_ = 0;
        if (pool.kv_grows && !next_iteration_fits(pool)) make_room(owner, pool);
        if (cache_) shrink_cache(pool, 0);
        std::int64_t budget = pool.token_budget - decoding();
        if (!prefilling_.empty()) {
            budget -= add_chunk(prefill_tokens(owner, pool, prefilling_.head), head_done_, budget, pairs);
        }
        while (budget > 0 && !waiting_.empty() && head_fits(owner, pool)) {
            const std::int32_t index = waiting_.pop(owner.demand.requests);
            if (is_computed(owner, pool, index)) {
                take_over(owner, pool, index);
                --budget;
                continue;
            }
            const Request& request = owner.demand.requests[index];
            const std::int64_t to_compute = prefill_tokens(owner, pool, index);
            const bool answered = to_compute > request.prompt_tokens;
            if (!answered && exceeds(now_s - request.arrival_s, owner.patience_s(request.class_id))) {
                work_tokens -= request.prompt_tokens + owner.output_weight(request.class_id);
                unprefilled_tokens -= request.prompt_tokens;
                owner.on_expired(index, now_s);
                continue;
            }
            prefilling_.push(owner.demand.requests, index);
            kv_reserved_ += room_tokens(owner, pool, index);
            Found found{0, 0, 0};
            if (cache_) {
                found = join_cache(owner, pool, index);
                host_tokens += found.host_tokens;
                shrink_cache(pool, 0);
            }
            budget -= add_chunk(to_compute, found.tokens, budget, pairs);
        }
        decoding_only_ = chunk_tokens_ == 0;
        if (decoding_only_ && finishing_.empty()) {
            go_idle(now_s);
            return;
        }
        const std::int64_t iterations = decoding_only_ ? undisturbed_iterations(pool) : 1;
        segment_.begin(now_s, rest_s, physics, decoding(), context_, chunk_tokens_, pairs, iterations);
        if (host_tokens > 0) segment_.delay(static_cast<double>(host_tokens) * pool.host_load_s, pool.idle_w);
        next_event_s = segment_.end_s();
    }

    // Iterations until the first sequence ends or the KV cache is full.
    std::int64_t undisturbed_iterations(const Pool& pool) const {
        const std::int64_t to_finish = finishing_.first_iteration() - iteration_;
        if (!pool.kv_grows) return to_finish;
        const std::int64_t free_tokens = pool.kv_tokens - kv_used_after(pool, 0) - pinned_tokens();
        return std::min(to_finish, free_tokens / decoding() + 1);
    }

    // Give a prompt what it can use of the budget; returns how much that is.
    std::int64_t add_chunk(std::int64_t tokens, std::int64_t done, std::int64_t budget, std::int64_t& pairs) {
        const std::int64_t left = tokens - done;
        const std::int64_t chunk = std::min(budget, left);
        pairs += prefill_pairs(chunk, done);
        chunk_tokens_ += chunk;
        if (chunk == left) {
            ++prompts_ending_;
        } else {
            next_head_done_ = static_cast<std::int32_t>(done + chunk);
        }
        return chunk;
    }
};

}  // namespace tokenfleet
