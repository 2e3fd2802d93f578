// Entries of a prefix cache in one memory: a list in order of use, and a hash table that finds them by key.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "prefetch.hpp"

namespace tokenfleet {

class CacheTier {
public:
    static constexpr std::int64_t kNoKey = std::numeric_limits<std::int64_t>::min();

    struct CachedTokens {
        std::int64_t key;     // kNoKey if nobody will look for it
        std::int32_t row;     // the request that computed its tokens
        std::int32_t base;    // tokens of the group's beginning that stand before them
        std::int32_t tokens;  // in whole blocks
        std::int32_t users;   // running requests that refer to them
        std::int32_t older, newer;
    };

    std::int64_t tokens() const { return tokens_; }
    std::size_t bytes() const {
        return entries_.size() * sizeof(CachedTokens) + buckets_.size() * sizeof(std::int32_t);
    }

    const CachedTokens* find(std::int64_t key) const {
        if (named_ == 0) return nullptr;
        const std::int32_t slot = buckets_[position(key)];
        return slot < 0 ? nullptr : &entries_[slot];
    }
    CachedTokens* find(std::int64_t key) {
        return const_cast<CachedTokens*>(static_cast<const CacheTier*>(this)->find(key));
    }

    // To be called some time before an entry with that key is added.
    [[gnu::always_inline]] inline void prefetch(std::int64_t key) const {
        if (named_ > 0) prefetch_place(&buckets_[home(key)]);
        if (free_ >= 0) prefetch_place(&entries_[free_]);
        if (newest_ >= 0) prefetch_place(&entries_[newest_]);
    }

    // A new entry without tokens, used last. Pointers to other entries no longer hold.
    CachedTokens& add(std::int64_t key, std::int32_t row, std::int32_t base) {
        std::int32_t slot = free_;
        if (slot < 0) {
            slot = static_cast<std::int32_t>(entries_.size());
            entries_.emplace_back();
        } else {
            free_ = entries_[slot].newer;
        }
        entries_[slot] = {.key = key, .row = row, .base = base, .tokens = 0, .users = 0, .older = -1, .newer = -1};
        append(slot);
        if (key != kNoKey) enlist(slot);
        return entries_[slot];
    }

    // Tokens that nobody will look for, used last. Whether they stand in one entry or in many, they are freed in order.
    void add_nameless(std::int32_t tokens) {
        const bool follows_nameless = newest_ >= 0 && entries_[newest_].key == kNoKey;
        const bool still_fits =
            follows_nameless && entries_[newest_].tokens <= std::numeric_limits<std::int32_t>::max() - tokens;
        CachedTokens& entry = still_fits ? entries_[newest_] : add(kNoKey, -1, 0);
        resize(entry, entry.tokens + tokens);
    }

    void resize(CachedTokens& entry, std::int32_t tokens) {
        tokens_ += tokens - entry.tokens;
        entry.tokens = tokens;
    }

    // The entry has been used last.
    void touch(CachedTokens& entry) {
        const auto slot = static_cast<std::int32_t>(&entry - entries_.data());
        unlink(slot);
        append(slot);
    }

    void forget(std::int64_t key) {
        if (named_ == 0) return;
        const std::size_t place = position(key);
        const std::int32_t slot = buckets_[place];
        if (slot < 0) return;
        close(place);
        drop(slot);
    }

    // Free blocks from the ends of entries, the least recently used first, until all fit; `on_freed` is told of each.
    template <typename OnFreed>
    void shrink(std::int64_t available_tokens, std::int32_t block, const OnFreed& on_freed) {
        for (std::int32_t slot = oldest_; slot >= 0 && tokens_ > available_tokens;) {
            CachedTokens& entry = entries_[slot];
            slot = entry.newer;
            if (entry.users > 0) continue;
            const std::int64_t blocks = (tokens_ - available_tokens + block - 1) / block;
            CachedTokens freed = entry;
            freed.tokens = static_cast<std::int32_t>(std::min<std::int64_t>(blocks * block, entry.tokens));
            resize(entry, entry.tokens - freed.tokens);
            if (entry.tokens == 0) {
                if (entry.key != kNoKey) close(position(entry.key));
                drop(static_cast<std::int32_t>(&entry - entries_.data()));
            }
            on_freed(freed);
        }
    }

    // Every entry with a key gets a new row and a new key from `change(entry)`.
    template <typename Change>
    void rename(const Change& change) {
        std::fill(buckets_.begin(), buckets_.end(), -1);
        for (std::int32_t slot = oldest_; slot >= 0; slot = entries_[slot].newer) {
            if (entries_[slot].key == kNoKey) continue;
            change(entries_[slot]);
            buckets_[position(entries_[slot].key)] = slot;
        }
    }

    void clear() {
        entries_.clear();
        std::fill(buckets_.begin(), buckets_.end(), -1);
        oldest_ = newest_ = free_ = -1;
        named_ = 0;
        tokens_ = 0;
    }

private:
    std::vector<CachedTokens> entries_;
    std::vector<std::int32_t> buckets_;  // open addressing, a power of two: index into entries_ or -1
    std::int32_t oldest_ = -1, newest_ = -1;
    std::int32_t free_ = -1;  // unused entries, linked through `newer`
    std::size_t named_ = 0;   // entries that have a key
    std::int64_t tokens_ = 0;

    std::size_t home(std::int64_t key) const {
        constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15;  // multiplicative hashing, Knuth 6.4
        return static_cast<std::size_t>(static_cast<std::uint64_t>(key) * golden_ratio >> 32) & (buckets_.size() - 1);
    }

    // Where the key stands, or where it would.
    std::size_t position(std::int64_t key) const {
        std::size_t i = home(key);
        while (buckets_[i] >= 0 && entries_[buckets_[i]].key != key) i = (i + 1) & (buckets_.size() - 1);
        return i;
    }

    // Empty a bucket and move up those behind it that would no longer be found.
    void close(std::size_t hole) {
        --named_;
        const std::size_t mask = buckets_.size() - 1;
        for (std::size_t i = (hole + 1) & mask; buckets_[i] >= 0; i = (i + 1) & mask) {
            const std::size_t wanted = home(entries_[buckets_[i]].key);
            if (((i - wanted) & mask) < ((i - hole) & mask)) continue;
            buckets_[hole] = buckets_[i];
            hole = i;
        }
        buckets_[hole] = -1;
    }

    // Let an entry be found by its key.
    void enlist(std::int32_t slot) {
        if (2 * ++named_ > buckets_.size()) {
            grow();
        } else {
            buckets_[position(entries_[slot].key)] = slot;
        }
    }

    void grow() {
        buckets_.assign(std::max<std::size_t>(16, 2 * buckets_.size()), -1);
        for (std::int32_t slot = oldest_; slot >= 0; slot = entries_[slot].newer) {
            if (entries_[slot].key != kNoKey) buckets_[position(entries_[slot].key)] = slot;
        }
    }

    // Remove an entry that can no longer be found by its key.
    void drop(std::int32_t slot) {
        CachedTokens& entry = entries_[slot];
        tokens_ -= entry.tokens;
        unlink(slot);
        entry.newer = free_;
        free_ = slot;
    }

    void append(std::int32_t slot) {
        entries_[slot].older = newest_;
        entries_[slot].newer = -1;
        (newest_ < 0 ? oldest_ : entries_[newest_].newer) = slot;
        newest_ = slot;
    }

    void unlink(std::int32_t slot) {
        const CachedTokens& entry = entries_[slot];
        (entry.older < 0 ? oldest_ : entries_[entry.older].newer) = entry.newer;
        (entry.newer < 0 ? newest_ : entries_[entry.newer].older) = entry.older;
    }
};

}  // namespace tokenfleet
