// What calls cost: the C++ mirror of envs/engine/reference/billing.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "arrays.hpp"
#include "clients.hpp"
#include "request.hpp"

namespace tokenfleet {

class Billing {
public:
    std::vector<double> factor;  // [K] on the list price, for the calls of the tick

    void reset(const FleetArrays& arrays, const ClientColumns& columns, std::size_t requests) {
        arrays_ = &arrays;
        columns_ = &columns;
        const auto is_list_price = [](const RequestClass& k) { return k.lowest_price_factor == 1.0 && k.highest_price_factor == 1.0; };
        const auto has_budget = [](const RequestClass& k) { return std::isfinite(k.session_budget_usd); };
        const bool list_prices = std::all_of(arrays.classes.begin(), arrays.classes.end(), is_list_price);
        quoted_.assign(list_prices ? 0 : requests, 1.0);
        const bool budgets = std::any_of(arrays.classes.begin(), arrays.classes.end(), has_budget);
        paid_usd_.assign(budgets ? columns.num_sessions() : 0, 0.0);
        factor.assign(arrays.classes.size(), 1.0);
        set_prices(factor.data());
    }

    // Factors on the list price, [K], for the calls of a tick.
    void set_prices(const double* token_price_factor) {
        for (std::size_t k = 0; k < factor.size(); ++k) {
            const RequestClass& c = arrays_->classes[k];
            factor[k] = std::min(std::max(token_price_factor[k], c.lowest_price_factor), c.highest_price_factor);
        }
    }

    // Tell a client the price of the call that it makes now; whether it accepts.
    bool quote(std::int32_t index, std::int32_t k) {
        if (!quoted_.empty()) quoted_[index] = factor[k];
        return factor[k] <= columns_->price_tolerance[index];
    }

    // Price of a request, as it was quoted, with so many prompt tokens found in the prefix cache.
    double value_usd(const Request& request, std::int32_t index, std::int32_t hit_tokens) const {
        const RequestClass& c = arrays_->classes[request.class_id];
        const double fresh = request.prompt_tokens - hit_tokens;
        const double input_usd = (fresh + hit_tokens * c.cached_input_fraction_of_price) * c.usd_per_input_token;
        const double output_usd = request.output_tokens * c.usd_per_output_token;
        return (input_usd + output_usd) * (quoted_.empty() ? 1.0 : quoted_[index]);
    }

    // A session pays for a call; whether that has used up its budget.
    bool pay(const Request& request, std::int32_t index, double usd) {
        const std::int32_t session = paid_usd_.empty() ? -1 : columns_->session_id[index];
        if (session < 0) return false;
        paid_usd_[session] += usd;
        return paid_usd_[session] >= arrays_->classes[request.class_id].session_budget_usd;
    }

private:
    const FleetArrays* arrays_ = nullptr;
    const ClientColumns* columns_ = nullptr;
    std::vector<double> quoted_;    // by request; empty where every price is the list price
    std::vector<double> paid_usd_;  // by session; empty without budgets
};

}  // namespace tokenfleet
