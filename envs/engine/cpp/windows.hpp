// How much of the decoding sequences of a replica layers with a sliding window see. A window fills with a token an
// iteration, so it is known beforehand in which iteration that happens: a sum needs no look at every request.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace tokenfleet {

class Windows {
public:
    // What the windows hold now, how many of them are filling, and in how many iterations the first of these is full.
    struct Seen {
        std::int64_t tokens, growing, iterations;
    };

    explicit Windows(std::int64_t window_tokens) : window_tokens_(window_tokens) {}

    // A sequence begins to decode, or stops: after iteration `last` it will have, or would have had, `kv_tokens`.
    void join(std::int64_t last, std::int64_t kv_tokens) {
        const std::int64_t filled = filled_at(last, kv_tokens);
        if (filled > settled_) {
            filling_.push_back(filled);
        } else {
            ++full_;
        }
    }
    void leave(std::int64_t last, std::int64_t kv_tokens) {
        const std::int64_t filled = filled_at(last, kv_tokens);
        if (filled > settled_) {
            remove(static_cast<std::size_t>(std::ranges::find(filling_, filled) - filling_.begin()));
        } else {
            --full_;
        }
    }

    // After so many iterations, never fewer than at the last call.
    Seen see(std::int64_t iteration) {
        settled_ = iteration;
        Seen seen{0, 0, std::numeric_limits<std::int64_t>::max()};
        for (std::size_t i = 0; i < filling_.size();) {
            const std::int64_t left = filling_[i] - iteration;
            if (left <= 0) {
                remove(i);
                ++full_;
                continue;
            }
            seen.tokens += window_tokens_ - left;
            seen.iterations = std::min(seen.iterations, left);
            ++i;
        }
        seen.growing = static_cast<std::int64_t>(filling_.size());
        seen.tokens += full_ * window_tokens_;
        return seen;
    }

    void clear() {
        filling_.clear();
        full_ = 0;
    }

    // Count iterations from `first` on.
    void renumber(std::int64_t first) {
        for (std::int64_t& filled : filling_) filled -= first;
        settled_ -= first;
    }

private:
    std::int64_t window_tokens_;
    std::int64_t settled_ = 0;           // windows that fill after this iteration stand in `filling_`
    std::int64_t full_ = 0;              // sequences whose windows had filled by then
    std::vector<std::int64_t> filling_;  // after which iteration the others are full, in no order

    std::int64_t filled_at(std::int64_t last, std::int64_t kv_tokens) const {
        return last + window_tokens_ - kv_tokens;
    }

    void remove(std::size_t i) {
        filling_[i] = filling_.back();
        filling_.pop_back();
    }
};

}  // namespace tokenfleet
