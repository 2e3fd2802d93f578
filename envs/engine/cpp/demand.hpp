// All that an episode asks of a fleet, and what has become of it. A fleet lives for one episode; these tables, by far the
// largest of its memory, are filled anew for the next one, because fresh memory takes a reset four times as long.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "calls.hpp"
#include "episode.hpp"
#include "request.hpp"
#include "stretches.hpp"

namespace tokenfleet {

class Demand {
public:
    Calls calls;
    std::vector<Request> requests;
    std::vector<Detail> details;  // of all requests if a layer needs them, else empty
    std::size_t num_roots = 0;    // requests that wait for no other; they stand first

    Demand() = default;  // nothing is asked
    Demand(const Demand&) = delete;
    Demand(Demand&&) = default;
    Demand& operator=(Demand&&) = default;
    ~Demand() = default;

    // Begin another episode.
    void load(const FleetArrays& arrays, const EpisodeColumns& e) {
        const auto count = static_cast<std::size_t>(e.num_requests);
        calls.load(e);
        num_roots = static_cast<std::size_t>(std::lower_bound(e.arrival_s, e.arrival_s + count, kNever) - e.arrival_s);
        stretches_ = Stretches(count);
        requests.resize(count);
        Request* const first = requests.data();
        const auto [arrival_s, prompt_tokens, output_tokens, class_id] =
            std::tuple(e.arrival_s, e.prompt_tokens, e.output_tokens, e.class_id);
        const Request blank = {};  // copied as a whole: a tenth faster than field by field
        for (std::size_t i = 0; i < count; ++i) {
            Request& request = first[i] = blank;
            request.arrival_s = arrival_s[i];
            request.prompt_tokens = prompt_tokens[i];
            request.output_tokens = output_tokens[i];
            request.class_id = static_cast<std::int16_t>(class_id[i]);
        }
        details.clear();
        if (!needs_details(arrays)) return;
        details.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            details.push_back({.unfinished_predecessors = calls[static_cast<std::int32_t>(i)].predecessors});
        }
    }

    // Take over what another fleet's demand has come to: of the same episode, only what may differ.
    Demand& operator=(const Demand& other) {
        calls = other.calls;
        num_roots = other.num_roots;
        if (requests.size() != other.requests.size() || details.size() != other.details.size()) {
            requests = other.requests;
            details = other.details;
            stretches_.take_over(other.stretches_);
            return *this;
        }
        const auto copy_row = [&](std::size_t row) {
            requests[row] = other.requests[row];
            if (!details.empty()) details[row] = other.details[row];
        };
        const auto copy_rows = [&](std::size_t first, std::size_t end) {
            std::copy(other.requests.begin() + first, other.requests.begin() + end, requests.begin() + first);
            if (details.empty()) return;
            std::copy(other.details.begin() + first, other.details.begin() + end, details.begin() + first);
        };
        stretches_.take_over(other.stretches_, requests.size(), copy_row, copy_rows);
        return *this;
    }

    // A request is made for the first time, or has come to its end.
    void begin(std::int32_t index) { stretches_.begin_or_end(index); }
    void end(std::int32_t index) { stretches_.begin_or_end(index); }

    // A call that has not been made learns of an answer that it waits for.
    void tell(std::int32_t index) { stretches_.touch(index); }

    std::size_t bytes() const {
        return requests.size() * sizeof(Request) + details.size() * sizeof(Detail) + stretches_.bytes();
    }

    // Of the requests under way alone.
    std::size_t live_bytes() const {
        return stretches_.rows_under_way() * (sizeof(Request) + (details.empty() ? 0 : sizeof(Detail)));
    }

    // Another episode's demand, of which some has been made already, as `before` tells; request i stands in row[i] here,
    // or nowhere. Calls that have not been made are what this episode says.
    void continue_from(const Demand& before, const std::int32_t* row) {
        const bool both_have_details = !details.empty() && !before.details.empty();
        for (std::size_t i = 0; i < before.requests.size(); ++i) {
            if (row[i] < 0) continue;
            const Request& old = before.requests[i];
            if (std::isnan(old.asked_s)) {
                if (!both_have_details || before.details[i].unfinished_predecessors > 0) continue;
                details[row[i]].unfinished_predecessors = 0;
                details[row[i]].last_answer_s = before.details[i].last_answer_s;
                continue;
            }
            Request& request = requests[row[i]];
            request = old;
            begin(row[i]);
            if (request.status != Status::kPending) end(row[i]);
            request.next = std::max(row[old.next], 0);  // of the last in a list it means nothing
            if (both_have_details) details[row[i]] = before.details[i];
        }
    }

private:
    Stretches stretches_;

    bool needs_details(const FleetArrays& arrays) const {
        return calls.has_successors() || arrays.has_growing_kv() || arrays.has_hand_offs() || arrays.has_caches() ||
               arrays.has_distances();
    }
};

}  // namespace tokenfleet
