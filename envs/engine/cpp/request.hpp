// Requests in flight, and the lists that they stand in.
#pragma once

#include <cstdint>
#include <vector>

namespace tokenfleet {

struct Request {
    double arrival_s;  // when this attempt was made
    double first_token_s;
    std::int32_t prompt_tokens;
    std::int32_t output_tokens;
    std::int32_t class_id;
    std::int32_t next;  // in whichever list it stands; -1 ends it
};

// What a replica remembers of a request where KV grows.
struct Progress {
    std::int32_t generated_tokens = 0;  // of an answer that was interrupted, or is to go on elsewhere
    std::int32_t joined = 0;            // sequences that had joined before it
    bool computed = false;              // its context has come from a pool that prefills
};

// First-come-first-served list of request indices, linked through Request::next.
struct RequestQueue {
    std::int32_t head = -1, tail = -1, size = 0;

    bool empty() const { return size == 0; }
    void push(std::vector<Request>& requests, std::int32_t index) {
        requests[index].next = -1;
        (size == 0 ? head : requests[tail].next) = index;
        tail = index;
        ++size;
    }
    void push_front(std::vector<Request>& requests, std::int32_t index) {
        requests[index].next = head;
        if (size == 0) tail = index;
        head = index;
        ++size;
    }
    std::int32_t pop(const std::vector<Request>& requests) {
        const std::int32_t index = head;
        head = requests[index].next;
        --size;
        return index;
    }
};

}  // namespace tokenfleet
