// What a replica makes of its prefix cache: which tokens it need not compute, and how much memory the cache may have.
#pragma once

#include <cstdint>

#include "prefix_cache.hpp"
#include "replica.hpp"

namespace tokenfleet {

inline Prompt Replica::prompt(std::int32_t index) const {
    const Call& call = demand_.calls[index];
    return {.row = index,
            .conversation_id = call.conversation_id,
            .group_id = call.group_id,
            .group_tokens = call.group_tokens,
            .context_tokens = request(index).prompt_tokens,
            .migrated_tokens = detail(index).cache.migrated_tokens,
            .may_have_own = call.conversation_id >= 0 || detail(index).has_left_context};
}

inline std::int64_t Replica::cached_tokens() {
    if (!cache_) return 0;
    shrink_cache(ended_at_tick_);
    return cache_->tokens();
}

inline std::int64_t Replica::cached_tokens(std::int32_t index, double now_s) {
    if (!cache_) return 0;
    shrink_cache(is_idle() || !decoding_only_ ? 0 : segment_.ended_by(now_s));
    return cache_->find(prompt(index), demand_.calls).tokens;
}

inline void Replica::remember(std::int32_t index) {
    if (!cache_) return;
    CacheUse use;
    cache_->join(prompt(index), demand_.calls, use);
    cache_->leave(prompt(index), use, demand_.calls[index].reusable_tokens, true);
    detail(index).has_left_context = true;
}

// A request begins to run: it takes what is cached of its context.
[[gnu::noinline]] inline Found Replica::join_cache(std::int32_t index) {
    Prompt whole = prompt(index);
    whole.context_tokens = static_cast<std::int32_t>(prefill_tokens(index));
    CacheUse& use = detail(index).cache;
    const Found found = cache_->join(whole, demand_.calls, use);
    kv_shared_ += use.shared_tokens;
    pool_.counts[Counts::prefix_hit_tokens] += found.tokens;
    pool_.counts[Counts::host_hit_tokens] += found.host_tokens;
    pool_.counts[Counts::migrated_tokens] += found.migrated_tokens;
    work_tokens -= found.tokens;
    unprefilled_tokens -= found.tokens;
    return found;
}

// A request gives up its space; so much of its context has been computed.
[[gnu::noinline]] inline void Replica::leave_cache(std::int32_t index, std::int64_t computed_tokens, bool has_ended) {
    kv_shared_ -= detail(index).cache.shared_tokens;
    cache_->leave(prompt(index), detail(index).cache, computed_tokens, has_ended);
    detail(index).has_left_context = true;
}

// Let the cache have what running requests do not need after so many iterations of the segment.
inline void Replica::shrink_cache(std::int64_t iterations) {
    const std::int64_t available_tokens = limits().kv_tokens - kv_used_after(iterations);
    if (cache_->tokens() > available_tokens) cache_->shrink(available_tokens);
}

}  // namespace tokenfleet
