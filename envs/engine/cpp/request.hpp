// What becomes of requests, and the lists that they stand in.
//
// One request, one line of cache: whatever looks at it finds all of it in one place.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "cache_line.hpp"

namespace tokenfleet {

inline constexpr double kNotYet = std::numeric_limits<double>::quiet_NaN();

enum class Status : std::int8_t { kPending, kCompleted, kRefused, kExpired, kDeclined };

struct alignas(kCacheLineBytes) Request {
    double arrival_s;          // when this attempt was made
    double asked_s = kNotYet;  // when its client first made the call
    double first_token_s = kNotYet;
    double finished_s = kNotYet;
    double price_factor = 1.0;  // on the list price, as it was quoted
    std::int32_t prompt_tokens, output_tokens;
    std::int32_t next = 0;      // in whichever list it stands, unless it is the last of it
    std::int32_t replica = -1;  // that it was last sent to
    std::int16_t class_id;      // 16 bits: envs/spec.py bounds classes and attempts by MAX_SHORT
    std::int16_t failed_attempts = 0;
    Status status = Status::kPending;
    Status last_failure = Status::kPending;  // how the last attempt failed
    bool has_first_token = false;            // in this attempt
    bool is_overdue = false;                 // see overdue.hpp

    // Its whole prompt and answer.
    std::int64_t kv_tokens() const { return std::int64_t{prompt_tokens} + output_tokens; }
};

// What a replica remembers of a request where KV grows, or where another pool has prefilled the request.
struct Progress {
    std::int32_t generated_tokens = 0;  // of an answer that was interrupted, or is to go on elsewhere
    std::int32_t joined = 0;            // sequences that had joined before it
    bool computed = false;              // its context has come from a pool that prefills
};

// What a running request has found in the cache, and how much of its context stands in its group's entry; until it runs,
// what has been sent along.
struct CacheUse {
    std::int32_t hit_tokens = 0, shared_tokens = 0, migrated_tokens = 0;
};

// What is kept of a request besides, where some layer needs it: growing KV, hand-offs, prefix caches, distance, calls that
// wait for others.
struct alignas(kCacheLineBytes) Detail {
    double network_s = 0.0;      // one way between its client and the site that serves it
    double last_answer_s = 0.0;  // of the calls that it waits for
    std::int32_t unfinished_predecessors = 0;
    std::int32_t preferred_replica = -1;  // to which it returns
    std::int32_t billed_hit_tokens = 0;   // cached when its first token came
    CacheUse cache = {};
    Progress progress = {};
    bool has_left_context = false;  // in some replica's cache, under the key of its row or its conversation
};

// First-come-first-served list of request indices, linked through Request::next.
struct RequestQueue {
    std::int32_t head = 0, tail = 0, size = 0;

    bool empty() const { return size == 0; }
    void push(std::vector<Request>& requests, std::int32_t index) {
        std::int32_t* link = &requests[tail].next;
        link = size == 0 ? &head : link;  // without a branch: the queues of a replica are empty half of the time
        *link = index;
        tail = index;
        ++size;
    }
    void push_front(std::vector<Request>& requests, std::int32_t index) {
        requests[index].next = head;
        if (size == 0) tail = index;
        head = index;
        ++size;
    }
    // Behind the first ones of which `stays(index)` is true.
    template <typename Stays>
    void insert(std::vector<Request>& requests, std::int32_t index, Stays stays) {
        std::int32_t* link = &head;
        std::int32_t before = 0;
        while (before < size && stays(*link)) {
            link = &requests[*link].next;
            ++before;
        }
        if (before == size) tail = index;
        requests[index].next = *link;
        *link = index;
        ++size;
    }
    void remove(std::vector<Request>& requests, std::int32_t index) {
        std::int32_t* link = &head;
        std::int32_t before = index;
        while (*link != index) {
            before = *link;
            link = &requests[before].next;
        }
        *link = requests[index].next;
        if (tail == index) tail = before;
        --size;
    }
    // Requests stand in other rows now.
    void renumber(const std::int32_t* row) {
        if (size == 0) {
            tail = 0;  // `push` looks there even if the queue is empty, and rows may be fewer now
            return;
        }
        head = row[head];
        tail = row[tail];
    }
    std::int32_t pop(const std::vector<Request>& requests) {
        const std::int32_t index = head;
        head = requests[index].next;
        --size;
        return index;
    }
};

}  // namespace tokenfleet
