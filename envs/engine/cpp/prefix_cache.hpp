// The prefix cache of a replica: the C++ mirror of envs/engine/reference/prefix_cache.py.
//
// A replica holds few entries, for its memory is full of long contexts: a list in order of use is searched from its end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tokenfleet {

// What the request table says of a request's prompt.
struct Prompt {
    std::int32_t conversation_id, reusable_tokens, group_id, group_tokens, prompt_tokens, output_tokens;
};

// What a request found when it joined: leading prompt tokens, and how many of them stand in shared memory.
struct CacheUse {
    std::int32_t hit_tokens = 0, shared_tokens = 0;
};

class PrefixCache {
public:
    std::int64_t tokens() const { return tokens_; }
    std::int64_t pinned_tokens() const { return pinned_tokens_; }

    CacheUse find(const Prompt& prompt, std::int32_t block) const {
        const auto group = position(true, prompt.group_id), own = position(false, prompt.conversation_id);
        const std::int32_t common = group < 0 ? 0 : entries_[group].tokens;
        const bool usable = own >= 0 && entries_[own].base <= common;
        const std::int32_t mine = usable ? entries_[own].base + entries_[own].tokens : 0;
        const std::int32_t found =
            std::max(std::min(common, prompt.group_tokens), std::min(mine, prompt.reusable_tokens));
        const std::int32_t hit = whole(std::min(found, prompt.prompt_tokens - 1), block);
        return {hit, common <= hit ? common : 0};
    }

    // A request begins to run: it takes what is cached of its prompt.
    CacheUse join(const Prompt& prompt, std::int32_t block) {
        const CacheUse use = find(prompt, block);
        remove(position(false, prompt.conversation_id));
        const auto group = position(true, prompt.group_id);
        if (group >= 0) {
            if (use.shared_tokens > 0 && entries_[group].users++ == 0) pinned_tokens_ += entries_[group].tokens;
            move_to_end(group);
        }
        return use;
    }

    // A request gives up its memory.
    void leave(const Prompt& prompt, const CacheUse& use) {
        if (use.shared_tokens == 0) return;
        Entry& group = entries_[position(true, prompt.group_id)];
        if (--group.users == 0) pinned_tokens_ -= group.tokens;
    }

    // A request has completed: its context stays.
    void keep(const Prompt& prompt, const CacheUse& use, std::int32_t block) {
        leave(prompt, use);
        const std::int32_t all = whole(prompt.prompt_tokens + prompt.output_tokens, block);
        std::int32_t base = 0;
        if (prompt.group_id >= 0) {
            base = std::min(whole(prompt.group_tokens, block), all);
            auto group = position(true, prompt.group_id);
            if (group < 0) {
                group = static_cast<std::ptrdiff_t>(entries_.size());
                entries_.push_back({.is_group = true, .id = prompt.group_id, .base = 0, .tokens = 0, .users = 0});
            }
            const std::int32_t more = std::max(base - entries_[group].tokens, 0);
            entries_[group].tokens += more;
            tokens_ += more;
            if (entries_[group].users > 0) pinned_tokens_ += more;
        }
        if (prompt.conversation_id >= 0 && all > base) {
            remove(position(false, prompt.conversation_id));
            entries_.push_back(
                {.is_group = false, .id = prompt.conversation_id, .base = base, .tokens = all - base, .users = 0});
            tokens_ += all - base;
        }
        if (prompt.group_id >= 0) move_to_end(position(true, prompt.group_id));
    }

    // Free blocks until all entries fit.
    void shrink(std::int64_t available_tokens, std::int32_t block) {
        std::int64_t excess = tokens_ - available_tokens;
        if (excess <= 0) return;
        for (Entry& entry : entries_) {
            if (entry.users > 0) continue;
            if (excess <= 0) break;
            const std::int64_t blocks = (excess + block - 1) / block * block;
            const auto freed = static_cast<std::int32_t>(std::min<std::int64_t>(blocks, entry.tokens));
            entry.tokens -= freed;
            tokens_ -= freed;
            excess -= freed;
        }
        std::erase_if(entries_, [](const Entry& entry) { return entry.tokens == 0 && entry.users == 0; });
    }

    // Memory that running requests would refer to if this one ran too.
    std::int64_t pinned_with(const Prompt& prompt, const CacheUse& use) const {
        if (use.shared_tokens == 0) return pinned_tokens_;
        const Entry& group = entries_[position(true, prompt.group_id)];
        return pinned_tokens_ + (group.users == 0 ? group.tokens : 0);
    }

    void clear() {
        entries_.clear();
        tokens_ = pinned_tokens_ = 0;
    }

private:
    // Cached tokens of a conversation (behind its group's beginning, `base` tokens long) or of a group.
    struct Entry {
        bool is_group;
        std::int32_t id, base, tokens, users;
    };

    std::vector<Entry> entries_;  // the least recently used first
    std::int64_t tokens_ = 0, pinned_tokens_ = 0;

    static std::int32_t whole(std::int32_t tokens, std::int32_t block) { return tokens - tokens % block; }

    std::ptrdiff_t position(bool is_group, std::int32_t id) const {
        auto i = id < 0 ? std::ptrdiff_t{-1} : static_cast<std::ptrdiff_t>(entries_.size()) - 1;
        while (i >= 0 && !(entries_[i].id == id && entries_[i].is_group == is_group)) --i;
        return i;
    }

    void remove(std::ptrdiff_t i) {
        if (i < 0) return;
        tokens_ -= entries_[i].tokens;
        entries_.erase(entries_.begin() + i);
    }

    void move_to_end(std::ptrdiff_t i) { std::rotate(entries_.begin() + i, entries_.begin() + i + 1, entries_.end()); }
};

}  // namespace tokenfleet
