// What calls cost: the C++ mirror of envs/engine/reference/billing.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "demand.hpp"
#include "links.hpp"

namespace tokenfleet {

class Billing : DemandLink {
public:
    std::vector<double> factor;  // [K] on the list price, for the calls of the tick

    Billing(const FleetArrays& arrays, Demand& demand)
        : DemandLink(arrays, demand),
          factor(arrays.classes.size(), 1.0),
          paid_usd_(arrays.has_budgets() ? static_cast<std::size_t>(demand.calls.num_sessions()) : 0) {
        set_prices(factor.data());
    }

    // Sessions have other numbers in another episode, in which request i stands in row[i].
    void change_future(const Demand& before, const std::int32_t* row) {
        if (!arrays_.has_budgets()) return;
        const std::vector<double> paid_usd = std::exchange(paid_usd_, {});
        paid_usd_.assign(static_cast<std::size_t>(demand_.calls.num_sessions()), 0.0);
        demand_.calls.for_each_number(&Call::session_id, before.calls, row,
                                      [&](std::int32_t old, std::int32_t now) { paid_usd_[now] = paid_usd[old]; });
    }

    // Factors on the list price, [K], for the calls of a tick.
    void set_prices(const double* token_price_factor) {
        for (std::size_t k = 0; k < factor.size(); ++k) {
            const RequestClass& c = arrays_.classes[k];
            factor[k] = std::min(std::max(token_price_factor[k], c.lowest_price_factor), c.highest_price_factor);
        }
    }

    // Tell a client the price of the call that it makes now; whether it accepts.
    bool quote(std::int32_t index, std::int32_t k) {
        demand_.requests[index].price_factor = factor[k];
        return factor[k] <= demand_.calls[index].price_tolerance;
    }

    // Price of a request, as it was quoted, with so many prompt tokens found in the prefix cache.
    double value_usd(const Request& request, std::int32_t hit_tokens) const {
        const RequestClass& c = arrays_.classes[request.class_id];
        const double fresh = request.prompt_tokens - hit_tokens;
        const double input_usd = (fresh + hit_tokens * c.cached_input_fraction_of_price) * c.usd_per_input_token;
        const double output_usd = request.output_tokens * c.usd_per_output_token;
        return (input_usd + output_usd) * request.price_factor;
    }

    // A session pays for a call; whether that has used up its budget.
    bool pay(const Request& request, std::int32_t index, double usd) {
        const std::int32_t session = paid_usd_.empty() ? -1 : demand_.calls[index].session_id;
        if (session < 0) return false;
        paid_usd_[session] += usd;
        return paid_usd_[session] >= arrays_.classes[request.class_id].session_budget_usd;
    }

private:
    std::vector<double> paid_usd_;  // by session; empty without budgets
};

}  // namespace tokenfleet
