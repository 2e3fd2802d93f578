// The clients of a fleet: the C++ mirror of envs/engine/reference/clients.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "arrays.hpp"

namespace tokenfleet {

// A column of the request table; an empty one stands for a default that every request shares.
template <typename T>
class Column {
public:
    explicit Column(T common) : common_(common) {}
    void assign(const T* values, std::size_t count) { values_.assign(values, values + count); }
    T operator[](std::int32_t row) const { return values_.empty() ? common_ : values_[static_cast<std::size_t>(row)]; }
    bool empty() const { return values_.empty(); }
    const std::vector<T>& values() const { return values_; }

private:
    std::vector<T> values_;
    T common_;
};

// What the request table says of clients; see envs/traces/table.py.
struct ClientColumns {
    Column<std::int32_t> region_id{0}, session_id{-1}, predecessors{0};
    Column<std::int32_t> conversation_id{-1}, reusable_tokens{0}, group_id{-1}, group_tokens{0};
    Column<double> wait_s{0.0}, retry_uniform{0.5}, price_tolerance{std::numeric_limits<double>::infinity()};
    std::vector<std::int64_t> successor_start;
    std::vector<std::int32_t> successor;

    std::size_t num_sessions() const {
        const std::vector<std::int32_t>& sessions = session_id.values();
        return sessions.empty() ? 0 : static_cast<std::size_t>(*std::max_element(sessions.begin(), sessions.end()) + 1);
    }
};

inline constexpr std::int32_t kCalls = -1;

enum class Status : std::int8_t { kPending, kCompleted, kRefused, kExpired, kDeclined };

// At `time_s` request `index` reaches `pool`, or is made by its client (kCalls).
struct Step {
    double time_s;
    std::int32_t index, pool;
};

class Clients {
public:
    std::vector<double> asked_s;
    std::vector<std::int64_t> thinking, away;  // [K]

    void reset(const FleetArrays& arrays, const ClientColumns& columns, const std::int32_t* class_id, std::size_t count) {
        arrays_ = &arrays;
        columns_ = &columns;
        class_id_.assign(class_id, class_id + count);
        asked_s.assign(count, std::numeric_limits<double>::quiet_NaN());
        thinking.assign(arrays.classes.size(), 0);
        away.assign(arrays.classes.size(), 0);
        last_answer_s_.assign(columns.predecessors.values().size(), 0.0);
        unfinished_predecessors_ = columns.predecessors.values();
        const bool retries = std::any_of(arrays.classes.begin(), arrays.classes.end(),
                                         [](const RequestClass& k) { return k.max_attempts > 1; });
        failed_attempts_.assign(retries ? count : 0, 0);
        last_failure_.assign(retries ? count : 0, Status::kPending);
        const bool budgets = std::any_of(arrays.classes.begin(), arrays.classes.end(),
                                         [](const RequestClass& k) { return std::isfinite(k.session_budget_usd); });
        has_feedback = retries || budgets || !columns.successor.empty();
        ended_session_.assign(columns.num_sessions(), 0);
        steps_.clear();
    }

    // Whether what happens at a site can bring further calls, or end a session.
    bool has_feedback = false;

    double next_s() const { return steps_.empty() ? kNever : steps_.front().time_s; }

    Step take_step() {
        std::pop_heap(steps_.begin(), steps_.end(), is_later);
        const Step step = steps_.back();
        steps_.pop_back();
        --(step.pool != kCalls || failed_attempts(step.index) > 0 ? away : thinking)[class_of(step.index)];
        return step;
    }

    // Note that a call is made; true if it is made for the first time.
    bool ask(std::int32_t index, double now_s) {
        const bool first = std::isnan(asked_s[index]);
        if (first) asked_s[index] = now_s;
        return first;
    }

    void travel(std::int32_t index, std::int32_t pool, double arrival_s) {
        ++away[class_of(index)];
        push({arrival_s, index, pool});
    }

    // A call has been answered: the calls that waited for it alone are made after their wait.
    void succeed(std::int32_t index, double now_s) {
        if (columns_->successor.empty()) return;
        for (std::int64_t e = columns_->successor_start[index]; e < columns_->successor_start[index + 1]; ++e) {
            const std::int32_t row = columns_->successor[e];
            // Answers that come from afar are not known in the order in which they arrive.
            last_answer_s_[row] = std::max(last_answer_s_[row], now_s);
            if (--unfinished_predecessors_[row] > 0 || has_given_up(row)) continue;
            ++thinking[class_of(row)];
            push({last_answer_s_[row] + columns_->wait_s[row], row, kCalls});
        }
    }

    // An attempt has failed; true if the client will try again, else its session ends.
    bool fail(std::int32_t index, double now_s, Status how) {
        const std::int32_t k = class_of(index);
        if (!last_failure_.empty()) last_failure_[index] = how;
        if (!failed_attempts_.empty() && ++failed_attempts_[index] < arrays_->classes[k].max_attempts &&
            !has_given_up(index)) {
            ++away[k];
            push({now_s + back_off_s(index), index, kCalls});
            return true;
        }
        end_session(index);
        return false;
    }

    // The request's session makes no further call; true if that is new.
    bool end_session(std::int32_t index) {
        const std::int32_t session = columns_->session_id[index];
        if (session < 0 || ended_session_[session]) return false;
        ended_session_[session] = 1;
        return true;
    }

    bool has_given_up(std::int32_t index) const {
        const std::int32_t session = columns_->session_id[index];
        return session >= 0 && ended_session_[session];
    }

    std::int64_t failed_attempts(std::int32_t index) const {
        return failed_attempts_.empty() ? 0 : failed_attempts_[index];
    }

    // How the last attempt failed, of a call that has failed and may be tried again.
    Status last_failure(std::int32_t index) const { return last_failure_[index]; }

private:
    const FleetArrays* arrays_ = nullptr;
    const ClientColumns* columns_ = nullptr;
    std::vector<std::int32_t> class_id_, unfinished_predecessors_;
    std::vector<double> last_answer_s_;  // of the predecessors that have completed
    std::vector<std::int64_t> failed_attempts_;
    std::vector<Status> last_failure_;
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

    std::int32_t class_of(std::int32_t index) const { return class_id_[index]; }

    double back_off_s(std::int32_t index) const {
        const RequestClass& k = arrays_->classes[class_of(index)];
        double wait_s = k.backoff_s;
        for (std::int64_t n = 1; n < failed_attempts_[index]; ++n) wait_s *= k.backoff_factor;
        return wait_s * (1.0 + k.backoff_jitter * (2.0 * columns_->retry_uniform[index] - 1.0));
    }
};

}  // namespace tokenfleet
