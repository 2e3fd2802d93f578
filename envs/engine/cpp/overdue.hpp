// Requests under way that can no longer be answered within their SLO: the C++ mirror of envs/engine/reference/overdue.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "billing.hpp"
#include "demand.hpp"
#include "links.hpp"
#include "ties.hpp"

namespace tokenfleet {

// Requests of a class before its limits, in the order in which they were made. They pass each limit in this order.
class BeforeLimits {
public:
    BeforeLimits(double ttft_s, double deadline_s) : ttft_{ttft_s}, deadline_{deadline_s} {}

    void push(std::int32_t index) {
        if (ttft_.limit_s < kNever || deadline_.limit_s < kNever) rows_.push_back(index);
    }

    // Visit those that pass a limit by `now_s`, for the last time: first that of the first token, then the deadline.
    template <typename VisitTtft, typename VisitDeadline>
    void pass(const std::vector<Request>& requests, double now_s, const VisitTtft& late_token,
              const VisitDeadline& late_end) {
        pass(ttft_, requests, now_s, late_token);
        pass(deadline_, requests, now_s, late_end);
        const std::size_t first = std::min(ttft_.first_of(rows_), deadline_.first_of(rows_));
        if (first < rows_.size() && (first < kFewRows || 2 * first < rows_.size())) return;
        // The erasure moves no more rows than it drops.
        rows_.erase(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(first));
        for (Limit* limit : {&ttft_, &deadline_}) limit->first -= std::min(limit->first, first);
    }

    // Requests stand in other rows now.
    void renumber(const std::int32_t* row) {
        const std::size_t first = std::min(ttft_.first_of(rows_), deadline_.first_of(rows_));
        for (std::size_t i = first; i < rows_.size(); ++i) rows_[i] = row[rows_[i]];
    }

    std::size_t bytes() const { return rows_.size() * sizeof(std::int32_t); }

private:
    static constexpr std::size_t kFewRows = 64;  // not worth being moved out of the way

    struct Limit {
        double limit_s;
        std::size_t first = 0;  // of the rows that have not passed it; 0 without a limit

        std::size_t first_of(const std::vector<std::int32_t>& rows) const {
            return limit_s < kNever ? first : rows.size();
        }
    };
    Limit ttft_, deadline_;
    std::vector<std::int32_t> rows_;

    template <typename Visit>
    void pass(Limit& limit, const std::vector<Request>& requests, double now_s, const Visit& visit) {
        while (limit.first < rows_.size() && exceeds(now_s - requests[rows_[limit.first]].asked_s, limit.limit_s)) {
            visit(rows_[limit.first++]);
        }
    }
};

struct OverdueLinks : DemandLink {
    const Billing& billing_;
    const Outcome outcome_;

    OverdueLinks(const FleetArrays& arrays, Demand& demand, const Billing& billing, const Outcome& outcome)
        : DemandLink(arrays, demand), billing_(billing), outcome_(outcome) {}
    OverdueLinks(const OverdueLinks&) = default;
    OverdueLinks& operator=(const OverdueLinks&) { return *this; }
};

class Overdue : OverdueLinks {
public:
    Overdue(const FleetArrays& arrays, Demand& demand, const Billing& billing, const Outcome& outcome)
        : OverdueLinks(arrays, demand, billing, outcome), sum_usd_(arrays.classes.size()) {
        for (const RequestClass& k : arrays.classes) {
            before_.emplace_back(k.ttft_s, k.deadline_s);
        }
    }

    std::size_t bytes() const {
        std::size_t bytes = 0;
        for (const BeforeLimits& before : before_) bytes += before.bytes();
        return bytes;
    }

    // Requests stand in other rows now.
    void renumber(const std::int32_t* row) {
        for (BeforeLimits& before : before_) before.renumber(row);
    }

    // A request is made for the first time.
    void watch(std::int32_t index, std::int32_t k) { before_[k].push(index); }

    // Its first token is on its way, and comes so long after the call.
    void first_token(std::int32_t index, double ttft_s) {
        Request& request = demand_.requests[index];
        request.has_first_token = true;
        if (exceeds(ttft_s, arrays_.classes[request.class_id].ttft_s)) [[unlikely]]
            add(index);
    }

    // An attempt has failed; another one has to bring another first token.
    [[gnu::noinline]] void retry(std::int32_t index, double now_s) {
        Request& request = demand_.requests[index];
        request.has_first_token = false;
        if (exceeds(now_s - request.asked_s, arrays_.classes[request.class_id].ttft_s)) add(index);
    }

    // A tick ends: find those whose limits have passed in it, and write down the sum.
    [[gnu::noinline]] void look(double end_s) {
        const std::vector<Request>& requests = demand_.requests;
        for (std::size_t k = 0; k < sum_usd_.size(); ++k) {
            const auto late_token = [&](std::int32_t index) {
                if (!requests[index].has_first_token) add(index);
            };
            before_[k].pass(requests, end_s, late_token, [&](std::int32_t index) { add(index); });
            outcome_(Outcome::overdue_usd, static_cast<std::int64_t>(k)) = sum_usd_[k];
        }
    }

    // Count a request as overdue, if it is under way.
    [[gnu::noinline]] void add(std::int32_t index) {
        Request& request = demand_.requests[index];
        if (request.is_overdue || request.status != Status::kPending) return;
        request.is_overdue = true;
        count(request, +1.0);
    }

    // Count a request no longer, and say whether it was overdue.
    bool remove(std::int32_t index) {
        const bool was_overdue = demand_.requests[index].is_overdue;
        if (was_overdue) [[unlikely]]
            forget(index);
        return was_overdue;
    }

private:
    std::vector<BeforeLimits> before_;  // [K]
    std::vector<double> sum_usd_;       // [K]

    [[gnu::noinline]] void forget(std::int32_t index) {
        Request& request = demand_.requests[index];
        request.is_overdue = false;
        count(request, -1.0);
    }

    void count(const Request& request, double sign) {
        const double change_usd = sign * billing_.value_usd(request, 0);
        sum_usd_[request.class_id] += change_usd;
        outcome_(Outcome::overdue_change_usd, request.class_id) += change_usd;
    }
};

}  // namespace tokenfleet
