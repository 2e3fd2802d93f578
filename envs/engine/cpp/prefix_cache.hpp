// The prefix cache of a replica: the C++ mirror of envs/engine/reference/prefix_cache.py.
//
// Entries stand in slots, linked in order of use; a table by conversation and one by group say which slot is whose.
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
        const std::int32_t group = slot_of(groups_, prompt.group_id);
        const std::int32_t own = slot_of(conversations_, prompt.conversation_id);
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
        remove(slot_of(conversations_, prompt.conversation_id));
        const std::int32_t group = slot_of(groups_, prompt.group_id);
        if (group >= 0) {
            if (use.shared_tokens > 0 && entries_[group].users++ == 0) pinned_tokens_ += entries_[group].tokens;
            unlink(group);
            link(group);
        }
        return use;
    }

    // A request gives up its memory.
    void leave(const Prompt& prompt, const CacheUse& use) {
        if (use.shared_tokens == 0) return;
        Entry& group = entries_[slot_of(groups_, prompt.group_id)];
        if (--group.users == 0) pinned_tokens_ -= group.tokens;
    }

    // A request has completed: its context stays.
    void keep(const Prompt& prompt, const CacheUse& use, std::int32_t block) {
        leave(prompt, use);
        const std::int32_t all = whole(prompt.prompt_tokens + prompt.output_tokens, block);
        std::int32_t base = 0, group = -1;
        if (prompt.group_id >= 0) {
            base = std::min(whole(prompt.group_tokens, block), all);
            group = slot_of(groups_, prompt.group_id);
            if (group < 0) group = insert(groups_, prompt.group_id, 0, 0);
            const std::int32_t more = std::max(base - entries_[group].tokens, 0);
            entries_[group].tokens += more;
            tokens_ += more;
            if (entries_[group].users > 0) pinned_tokens_ += more;
        }
        if (prompt.conversation_id >= 0 && all > base) {
            remove(slot_of(conversations_, prompt.conversation_id));
            insert(conversations_, prompt.conversation_id, base, all - base);
        }
        if (group >= 0) {
            unlink(group);
            link(group);
        }
    }

    // Free blocks until all entries fit.
    void shrink(std::int64_t available_tokens, std::int32_t block) {
        std::int64_t excess = tokens_ - available_tokens;
        for (std::int32_t slot = oldest_; excess > 0 && slot >= 0;) {
            const std::int32_t next = entries_[slot].next;
            if (entries_[slot].users == 0) {
                const std::int64_t blocks = (excess + block - 1) / block * block;
                const auto freed = static_cast<std::int32_t>(std::min<std::int64_t>(blocks, entries_[slot].tokens));
                entries_[slot].tokens -= freed;
                tokens_ -= freed;
                excess -= freed;
                if (entries_[slot].tokens == 0) remove(slot);
            }
            slot = next;
        }
    }

    // Memory that running requests would refer to if this one ran too.
    std::int64_t pinned_with(const Prompt& prompt, const CacheUse& use) const {
        if (use.shared_tokens == 0) return pinned_tokens_;
        const Entry& group = entries_[slot_of(groups_, prompt.group_id)];
        return pinned_tokens_ + (group.users == 0 ? group.tokens : 0);
    }

    void clear() { *this = PrefixCache{}; }

private:
    // Cached tokens of a conversation (behind its group's beginning, `base` tokens long) or of a group.
    struct Entry {
        bool is_group;
        std::int32_t id, base, tokens, users, previous, next;
    };

    std::vector<Entry> entries_;
    std::vector<std::int32_t> conversations_, groups_;  // slots by id, -1 for none; as long as the highest id seen
    std::int32_t oldest_ = -1, newest_ = -1, unused_ = -1;  // ends of the list by use, and of the list of free slots
    std::int64_t tokens_ = 0, pinned_tokens_ = 0;

    static std::int32_t whole(std::int32_t tokens, std::int32_t block) { return tokens - tokens % block; }

    static std::int32_t slot_of(const std::vector<std::int32_t>& table, std::int32_t id) {
        return id >= 0 && id < static_cast<std::int32_t>(table.size()) ? table[id] : -1;
    }

    std::int32_t insert(std::vector<std::int32_t>& table, std::int32_t id, std::int32_t base, std::int32_t tokens) {
        std::int32_t slot = unused_;
        if (slot < 0) {
            slot = static_cast<std::int32_t>(entries_.size());
            entries_.emplace_back();
        } else {
            unused_ = entries_[slot].next;
        }
        entries_[slot] = {&table == &groups_, id, base, tokens, 0, -1, -1};
        if (id >= static_cast<std::int32_t>(table.size())) table.resize(static_cast<std::size_t>(id) + 1, -1);
        table[id] = slot;
        tokens_ += tokens;
        link(slot);
        return slot;
    }

    void remove(std::int32_t slot) {
        if (slot < 0) return;
        Entry& entry = entries_[slot];
        tokens_ -= entry.tokens;
        (entry.is_group ? groups_ : conversations_)[entry.id] = -1;
        unlink(slot);
        entry.next = unused_;
        unused_ = slot;
    }

    void link(std::int32_t slot) {
        entries_[slot].previous = newest_;
        entries_[slot].next = -1;
        (newest_ < 0 ? oldest_ : entries_[newest_].next) = slot;
        newest_ = slot;
    }

    void unlink(std::int32_t slot) {
        const Entry& entry = entries_[slot];
        (entry.previous < 0 ? oldest_ : entries_[entry.previous].next) = entry.next;
        (entry.next < 0 ? newest_ : entries_[entry.next].previous) = entry.previous;
    }
};

}  // namespace tokenfleet
