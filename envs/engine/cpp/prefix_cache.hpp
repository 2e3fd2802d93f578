// The prefix cache of a replica: the C++ mirror of envs/engine/reference/prefix_cache.py.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cache_tier.hpp"
#include "calls.hpp"
#include "request.hpp"

namespace tokenfleet {

// Keys of entries: of a conversation, of a request outside of one, and of groups.
inline constexpr std::int64_t kFirstGroupKey = std::int64_t{1} << 32;
inline bool is_group_key(std::int64_t key) { return key >= kFirstGroupKey; }
inline std::int64_t own_key(std::int32_t row, std::int32_t conversation_id) {
    return conversation_id >= 0 ? conversation_id : -2 - std::int64_t{row};
}

// What the cache has to know of a request.
struct Prompt {
    std::int32_t row, conversation_id, group_id, group_tokens;
    std::int32_t context_tokens;   // that prefill has to compute
    std::int32_t migrated_tokens;  // of them, that another replica has sent along
    bool may_have_own;             // whether some cache may hold an entry with its own key

    std::int64_t own_key() const { return tokenfleet::own_key(row, conversation_id); }
    std::int64_t group_key() const { return kFirstGroupKey + group_id; }
};

// Leading tokens of a request that need not be computed; of them, what the host has to give back and what is not here at
// all but has been sent along from another replica.
struct Found {
    std::int32_t tokens, host_tokens, migrated_tokens;
};

class PrefixCache {
public:
    PrefixCache(std::int32_t block_tokens, std::int64_t host_tokens)
        : block_(block_tokens), host_tokens_(host_tokens) {}

    std::int64_t tokens() const { return gpu_.tokens(); }
    std::size_t bytes() const { return sizeof(*this) + gpu_.bytes() + host_.bytes(); }
    std::int64_t pinned_tokens() const { return pinned_tokens_; }

    Found find(const Prompt& prompt, const Calls& calls) const {
        const std::int32_t near = tokens_of(group_of(prompt, gpu_));
        const std::int32_t common = near + tokens_of(group_of(prompt, host_));
        const CacheTier::CachedTokens *own = own_of(prompt, gpu_), *away = own_of(prompt, host_);
        const CacheTier::CachedTokens* entry = own != nullptr ? own : away;
        std::int32_t mine = 0, own_near = common;
        if (entry != nullptr && entry->base <= common) {
            const std::int32_t here = entry->base + tokens_of(own);
            own_near = std::max(common, here);
            mine = std::min(here + tokens_of(away), calls.common_tokens(prompt.row, entry->row));
        }
        const std::int32_t found = std::max(std::min(common, prompt.group_tokens), mine);
        const std::int32_t hit = whole(std::min(found, prompt.context_tokens - 1));
        const std::int32_t sent = std::min(prompt.migrated_tokens, prompt.context_tokens - 1);
        if (sent > hit) return {sent, 0, sent - hit};
        return {hit, std::max(std::min(hit, common) - near, 0) + std::max(hit - own_near, 0), 0};
    }

    // A request begins to run: it takes what is cached of its context.
    Found join(const Prompt& prompt, const Calls& calls, CacheUse& use) {
        gpu_.prefetch(prompt.own_key());
        const Found found = find(prompt, calls);
        forget_own(prompt);
        use = {found.tokens, shared_tokens(prompt), 0};
        if (use.shared_tokens > 0) {
            CacheTier::CachedTokens* group = gpu_.find(prompt.group_key());
            if (group == nullptr) group = &gpu_.add(prompt.group_key(), prompt.row, 0);
            const std::int32_t before = group->users > 0 ? group->tokens : 0;
            gpu_.resize(*group, std::max(before, use.shared_tokens));
            pinned_tokens_ += group->tokens - before;
            ++group->users;
            gpu_.touch(*group);
            host_.forget(prompt.group_key());
        }
        return found;
    }

    // A request gives up its space; so much of its context has been computed, and stays. Nobody looks for what a request
    // outside of conversations leaves when it has ended: until it is freed, it only takes space.
    void leave(const Prompt& prompt, CacheUse& use, std::int64_t computed_tokens, bool has_ended) {
        const std::int32_t all = whole(static_cast<std::int32_t>(computed_tokens));
        if (all > use.shared_tokens) {
            const bool is_wanted = prompt.conversation_id >= 0 || !has_ended || has_host();
            const std::int32_t own = all - use.shared_tokens;
            if (is_wanted) {
                forget_own(prompt);
                gpu_.resize(gpu_.add(prompt.own_key(), prompt.row, use.shared_tokens), own);
            } else {
                gpu_.add_nameless(own);
            }
        }
        if (use.shared_tokens > 0) leave_group(prompt.group_key(), all, use.shared_tokens);
        use = {};
    }

    // Free memory of the GPUs until all entries fit; what is freed goes to the host.
    [[gnu::noinline]] void shrink(std::int64_t available_tokens) {
        gpu_.shrink(available_tokens, block_, [&](const CacheTier::CachedTokens& freed) {
            if (!has_host()) return;
            CacheTier::CachedTokens* held = host_.find(freed.key);
            if (held == nullptr) held = &host_.add(freed.key, freed.row, freed.base);
            host_.resize(*held, held->tokens + freed.tokens);
            host_.touch(*held);
            host_.shrink(host_tokens_, block_, [](const CacheTier::CachedTokens&) {});
        });
    }

    // Tokens of a running request that stand in its group's entry.
    std::int32_t shared_tokens(const Prompt& prompt) const {
        return prompt.group_id >= 0 ? whole(prompt.group_tokens) : 0;
    }

    // Memory of the entries that running requests would refer to if this one ran too.
    std::int64_t pinned_with(const Prompt& prompt) const {
        const CacheTier::CachedTokens* group = group_of(prompt, gpu_);
        const std::int32_t pinned = group != nullptr && group->users > 0 ? group->tokens : 0;
        return pinned_tokens_ + std::max(shared_tokens(prompt) - pinned, 0);
    }

    // Requests stand in other rows now, and conversations have the numbers of `calls`.
    void renumber(const std::int32_t* row, const Calls& calls) {
        const auto rename = [&](CacheTier::CachedTokens& entry) {
            entry.row = row[entry.row];
            if (!is_group_key(entry.key)) entry.key = own_key(entry.row, calls[entry.row].conversation_id);
        };
        gpu_.rename(rename);
        host_.rename(rename);
    }

    void clear() {
        gpu_.clear();
        host_.clear();
        pinned_tokens_ = 0;
    }

private:
    CacheTier gpu_, host_;
    std::int32_t block_;
    std::int64_t host_tokens_, pinned_tokens_ = 0;

    bool has_host() const { return host_tokens_ >= block_; }

    static const CacheTier::CachedTokens* group_of(const Prompt& prompt, const CacheTier& tier) {
        return prompt.group_id >= 0 ? tier.find(prompt.group_key()) : nullptr;
    }

    static const CacheTier::CachedTokens* own_of(const Prompt& prompt, const CacheTier& tier) {
        return prompt.may_have_own ? tier.find(prompt.own_key()) : nullptr;
    }

    static std::int32_t tokens_of(const CacheTier::CachedTokens* entry) { return entry == nullptr ? 0 : entry->tokens; }

    std::int32_t whole(std::int32_t tokens) const { return tokens - tokens % block_; }

    void forget_own(const Prompt& prompt) {
        if (!prompt.may_have_own) return;
        gpu_.forget(prompt.own_key());
        host_.forget(prompt.own_key());
    }

    // One user less; if it was the only one, blocks that it should have computed and has not go.
    void leave_group(std::int64_t key, std::int32_t computed_tokens, std::int32_t shared_tokens) {
        CacheTier::CachedTokens& group = *gpu_.find(key);
        gpu_.touch(group);
        if (--group.users > 0) return;
        pinned_tokens_ -= group.tokens;
        if (computed_tokens < shared_tokens) gpu_.resize(group, computed_tokens);
        if (group.tokens == 0) gpu_.forget(key);
    }
};

}  // namespace tokenfleet
