// What the request table says of calls and their clients; see envs/traces/table.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cache_line.hpp"
#include "episode.hpp"

namespace tokenfleet {

struct alignas(kCacheLineBytes) Call {
    double wait_s = 0.0, retry_uniform = 0.5, price_tolerance = std::numeric_limits<double>::infinity();
    std::int32_t region_id = 0, session_id = -1, conversation_id = -1, group_id = -1, group_tokens = 0;
    std::int32_t reusable_tokens = 0;  // leading tokens that equal the context of the call before it
    std::int32_t previous = -1;        // the call of its conversation before it
    std::int32_t predecessors = 0;     // calls that it waits for
    std::int32_t first_successor = 0, num_successors = 0;  // calls that wait for it
};

// The calls of an episode, which copies share. Where no call differs from the default one, that stands for all of them.
class Calls {
public:
    Calls() = default;

    // Read every row, or none if all have the defaults, and find the order of the calls of each conversation.
    void load(const EpisodeColumns& e) {
        const CallColumns& c = e.calls;
        const auto count = static_cast<std::size_t>(e.has_calls ? e.num_requests : 0);
        const auto at = []<typename T>(const T* column, std::size_t row, T common) {
            return column ? column[row] : common;
        };
        if (table_ == nullptr || table_.use_count() > 1) table_ = std::make_shared<Table>();  // others may have it
        const auto& table = table_;
        table->rows.clear();
        table->rows.reserve(count);
        num_sessions_ = num_conversations_ = 0;
        std::vector<std::int32_t> last;  // call of each conversation so far
        for (std::size_t row = 0; row < count; ++row) {
            Call call{.wait_s = at(c.wait_s, row, common_.wait_s),
                      .retry_uniform = at(c.retry_uniform, row, common_.retry_uniform),
                      .price_tolerance = at(c.price_tolerance, row, common_.price_tolerance),
                      .region_id = at(c.region_id, row, common_.region_id),
                      .session_id = at(c.session_id, row, common_.session_id),
                      .conversation_id = at(c.conversation_id, row, common_.conversation_id),
                      .group_id = at(c.group_id, row, common_.group_id),
                      .group_tokens = at(c.group_tokens, row, common_.group_tokens),
                      .reusable_tokens = at(c.reusable_tokens, row, common_.reusable_tokens),
                      .predecessors = at(c.predecessors, row, common_.predecessors)};
            if (c.successor_start) {
                call.first_successor = static_cast<std::int32_t>(c.successor_start[row]);
                call.num_successors = static_cast<std::int32_t>(c.successor_start[row + 1] - c.successor_start[row]);
            }
            num_sessions_ = std::max(num_sessions_, call.session_id + 1);
            if (call.conversation_id >= num_conversations_) {
                num_conversations_ = call.conversation_id + 1;
                last.resize(static_cast<std::size_t>(num_conversations_), -1);
            }
            if (call.conversation_id >= 0) {
                call.previous = std::exchange(last[call.conversation_id], static_cast<std::int32_t>(row));
            }
            table->rows.push_back(call);
        }
        table->successor.assign(c.successor, c.successor + (c.successor_start ? c.successor_start[count] : 0));
        rows_ = table->rows;
        successor_ = table->successor;
    }

    const Call& operator[](std::int32_t row) const { return rows_.empty() ? common_ : rows_[row]; }
    bool empty() const { return rows_.empty(); }
    std::int32_t size() const { return static_cast<std::int32_t>(rows_.size()); }
    bool has_successors() const { return !successor_.empty(); }
    std::int32_t num_sessions() const { return num_sessions_; }
    std::int32_t num_conversations() const { return num_conversations_; }

    std::span<const std::int32_t> successors(std::int32_t row) const {
        const Call& call = (*this)[row];
        return {successor_.data() + call.first_successor, static_cast<std::size_t>(call.num_successors)};
    }

    // Call i of another episode stands in row[i] of this one. For each call that has a `number` (of its session or its
    // conversation) in both episodes: `visit(old, now)`, the number there and the number here.
    template <typename Visit>
    void for_each_number(std::int32_t Call::*number, const Calls& before, const std::int32_t* row,
                         const Visit& visit) const {
        for (std::int32_t i = 0; i < before.size(); ++i) {
            if (row[i] < 0) continue;
            const std::int32_t old = before[i].*number, now = (*this)[row[i]].*number;
            if (old >= 0 && now >= 0) visit(old, now);
        }
    }

    // Leading tokens of call `row` that equal the context of call `earlier`, over every call between them.
    std::int32_t common_tokens(std::int32_t row, std::int32_t earlier) const {
        std::int32_t common = std::numeric_limits<std::int32_t>::max();
        for (; row != earlier; row = (*this)[row].previous) {
            if (row < 0) return 0;
            common = std::min(common, (*this)[row].reusable_tokens);
        }
        return common;
    }

private:
    struct Table {
        std::vector<Call> rows;
        std::vector<std::int32_t> successor;
    };
    std::shared_ptr<Table> table_;
    std::span<const Call> rows_;  // of the table
    std::span<const std::int32_t> successor_;
    std::int32_t num_sessions_ = 0, num_conversations_ = 0;
    Call common_;
};

}  // namespace tokenfleet
