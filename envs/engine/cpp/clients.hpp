// The clients of a fleet: the C++ mirror of envs/engine/reference/clients.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "calls.hpp"

namespace tokenfleet {

inline constexpr std::int32_t kCalls = -1;

// At `time_s` request `index` reaches `pool`, or is made by its client (kCalls).
struct Step {
    double time_s;
    std::int32_t index, pool;
};

class Clients {
public:
    std::vector<std::int64_t> thinking, away;  // [K]

    Clients(const FleetArrays& arrays, Demand& demand)
        : thinking(arrays.classes.size()), away(arrays.classes.size()), arrays_(arrays), demand_(demand) {}

    void reset() {
        std::fill(thinking.begin(), thinking.end(), 0);
        std::fill(away.begin(), away.end(), 0);
        const bool retries = std::any_of(arrays_.classes.begin(), arrays_.classes.end(),
                                         [](const RequestClass& k) { return k.max_attempts > 1; });
        const bool budgets = std::any_of(arrays_.classes.begin(), arrays_.classes.end(),
                                         [](const RequestClass& k) { return std::isfinite(k.session_budget_usd); });
        has_feedback = retries || budgets || demand_.calls.has_successors();
        ended_session_.assign(static_cast<std::size_t>(demand_.calls.num_sessions()), 0);
        steps_.clear();
    }

    // Whether what happens at a site can bring further calls, or end a session.
    bool has_feedback = false;

    double next_s() const { return steps_.empty() ? kNever : steps_.front().time_s; }

    Step take_step() {
        std::pop_heap(steps_.begin(), steps_.end(), is_later);
        const Step step = steps_.back();
        steps_.pop_back();
        --(step.pool != kCalls || demand_.requests[step.index].failed_attempts > 0 ? away : thinking)[class_of(step.index)];
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
        push({arrival_s, index, pool});
    }

    // A call has been answered: the calls that waited for it alone are made after their wait.
    void succeed(std::int32_t index, double now_s) {
        if (!demand_.calls.has_successors()) return;
        for (const std::int32_t row : demand_.calls.successors(index)) {
            Detail& waiting = demand_.details[row];
            // Answers that come from afar are not known in the order in which they arrive.
            waiting.last_answer_s = std::max(waiting.last_answer_s, now_s);
            if (--waiting.unfinished_predecessors > 0 || has_given_up(row)) continue;
            ++thinking[class_of(row)];
            push({waiting.last_answer_s + demand_.calls[row].wait_s, row, kCalls});
        }
    }

    // An attempt has failed; true if the client will try again, else its session ends.
    bool fail(std::int32_t index, double now_s, Status how) {
        Request& request = demand_.requests[index];
        request.last_failure = how;
        if (++request.failed_attempts < arrays_.classes[request.class_id].max_attempts && !has_given_up(index)) {
            ++away[request.class_id];
            push({now_s + back_off_s(index), index, kCalls});
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
    const FleetArrays& arrays_;
    Demand& demand_;
    std::vector<std::uint8_t> ended_session_;
    std::vector<Step> steps_;  // heap, the earliest first

    // An object rather than a function: a call of it is compiled away.
    static constexpr auto is_later = [](const Step& a, const Step& b) {
        return a.time_s > b.time_s || (a.time_s == b.time_s && a.index > b.index);
    };

    void push(const Step& step) {
        steps_.push_back(step);
        std::push_heap(steps_.begin(), steps_.end(), is_later);
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
