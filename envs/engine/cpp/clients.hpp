// The clients of a fleet: the C++ mirror of envs/engine/reference/clients.py.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "links.hpp"
#include "prefetch.hpp"
#include "quad_heap.hpp"

namespace tokenfleet {

inline constexpr std::int32_t kCalls = -1;

// At `time_s` request `index` reaches `pool`, or is made by its client (kCalls).
struct Step {
    double time_s;
    std::int32_t index, pool;
};

// The earliest first, the lower request at a tie.
struct StepOrder {
    using Item = Step;
    static constexpr Step kLast{kNever, std::numeric_limits<std::int32_t>::max(), 0};  // a wait may be for ever

    static bool before(const Step& a, const Step& b) {
        // No time is negative, and so their bits are in order as they are.
        const auto a_bits = std::bit_cast<std::int64_t>(a.time_s), b_bits = std::bit_cast<std::int64_t>(b.time_s);
        if (a_bits == b_bits) [[unlikely]]
            return a.index < b.index;
        return a_bits < b_bits;
    }
};

class Clients : DemandLink {
public:
    std::vector<std::int64_t> thinking, away;  // [K]

    // Whether what happens at a site can bring further calls, or end a session.
    bool has_feedback;

    Clients(const FleetArrays& arrays, Demand& demand)
        : DemandLink(arrays, demand),
          thinking(arrays.classes.size()),
          away(arrays.classes.size()),
          has_feedback(arrays.has_retries() || arrays.has_budgets() || demand.calls.has_successors()),
          ended_session_(static_cast<std::size_t>(demand.calls.num_sessions())) {}

    // In another episode, requests stand in other rows, and thinking clients make their calls at other times.
    void change_future(const Demand& before, const std::int32_t* row) {
        has_feedback |= demand_.calls.has_successors();
        const std::vector<std::uint8_t> ended = std::exchange(ended_session_, {});
        ended_session_.assign(static_cast<std::size_t>(demand_.calls.num_sessions()), 0);
        demand_.calls.for_each_number(&Call::session_id, before.calls, row,
                                      [&](std::int32_t old, std::int32_t now) { ended_session_[now] = ended[old]; });
        const QuadHeap<StepOrder> steps = steps_;
        steps_.clear();
        for (std::size_t i = 0; i < steps.size(); ++i) {
            Step step = steps[i];
            step.index = row[step.index];
            if (is_thought_of(step)) {
                step.time_s = demand_.details[step.index].last_answer_s + demand_.calls[step.index].wait_s;
            }
            steps_.push(step);
        }
    }

    // Calls that will be made for the first time, in no order.
    std::vector<std::int32_t> thought_of() const {
        std::vector<std::int32_t> rows;
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            if (is_thought_of(steps_[i])) rows.push_back(steps_[i].index);
        }
        return rows;
    }

    std::size_t bytes() const { return steps_.bytes() + ended_session_.size(); }

    double next_s() const { return steps_.first().time_s; }

    // To be called some time before a tick.
    [[gnu::always_inline]] inline void prefetch() const {
        const std::size_t count = std::min(kStepsAhead, steps_.size());
        for (std::size_t i = 0; i < count; ++i) prefetch_request(demand_, steps_[i].index);
    }

    Step take_step() {
        const Step step = steps_.pop();
        const Request& request = demand_.requests[step.index];
        --(step.pool != kCalls || request.failed_attempts > 0 ? away : thinking)[request.class_id];
        return step;
    }

    // Note that a call is made; true if it is made for the first time.
    bool ask(std::int32_t index, double now_s) {
        Request& request = demand_.requests[index];
        const bool first = std::isnan(request.asked_s);
        if (first) request.asked_s = now_s;
        return first;
    }

    void travel(std::int32_t index, std::int32_t pool, double arrival_s) {
        ++away[class_of(index)];
        steps_.push({arrival_s, index, pool});
    }

    // A call has been answered: the calls that waited for it alone are made after their wait.
    void succeed(std::int32_t index, double now_s) {
        if (!demand_.calls.has_successors()) return;
        for (const std::int32_t row : demand_.calls.successors(index)) {
            demand_.tell(row);
            Detail& waiting = demand_.details[row];
            // Answers that come from afar are not known in the order in which they arrive.
            waiting.last_answer_s = std::max(waiting.last_answer_s, now_s);
            if (--waiting.unfinished_predecessors > 0 || has_given_up(row)) continue;
            ++thinking[class_of(row)];
            steps_.push({waiting.last_answer_s + demand_.calls[row].wait_s, row, kCalls});
        }
    }

    // An attempt has failed; true if the client will try again, else its session ends.
    bool fail(std::int32_t index, double now_s, Status how) {
        Request& request = demand_.requests[index];
        request.last_failure = how;
        if (++request.failed_attempts < arrays_.classes[request.class_id].max_attempts && !has_given_up(index)) {
            ++away[request.class_id];
            steps_.push({now_s + back_off_s(index), index, kCalls});
            return true;
        }
        end_session(index);
        return false;
    }

    // The request's session makes no further call; true if that is new.
    bool end_session(std::int32_t index) {
        const std::int32_t session = demand_.calls[index].session_id;
        if (session < 0 || ended_session_[session]) return false;
        ended_session_[session] = 1;
        return true;
    }

    bool has_given_up(std::int32_t index) const {
        const std::int32_t session = demand_.calls[index].session_id;
        return session >= 0 && ended_session_[session];
    }

private:
    std::vector<std::uint8_t> ended_session_;
    QuadHeap<StepOrder> steps_;  // what clients will do next

    bool is_thought_of(const Step& step) const {
        return step.pool == kCalls && std::isnan(demand_.requests[step.index].asked_s);
    }

    std::int32_t class_of(std::int32_t index) const { return demand_.requests[index].class_id; }

    double back_off_s(std::int32_t index) const {
        const Request& request = demand_.requests[index];
        const RequestClass& k = arrays_.classes[request.class_id];
        double wait_s = k.backoff_s;
        for (std::int32_t n = 1; n < request.failed_attempts; ++n) wait_s *= k.backoff_factor;
        return wait_s * (1.0 + k.backoff_jitter * (2.0 * demand_.calls[index].retry_uniform - 1.0));
    }
};

}  // namespace tokenfleet
