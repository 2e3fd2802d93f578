// What came of a request: the C++ mirror of envs/engine/reference/endings.py.
#pragma once

#include <cmath>
#include <cstdint>

#include "arrays.hpp"
#include "billing.hpp"
#include "clients.hpp"
#include "demand.hpp"
#include "overdue.hpp"
#include "prefetch.hpp"
#include "ties.hpp"

namespace tokenfleet {

class Endings {
public:
    Endings(const FleetArrays& arrays, Demand& demand, Clients& clients, Billing& billing, Overdue& overdue,
            const Outcome& outcome)
        : arrays_(arrays),
          demand_(demand),
          clients_(clients),
          billing_(billing),
          overdue_(overdue),
          outcome_(outcome),
          has_distances_(arrays.has_distances()),
          has_uploads_(arrays.has_uploads()),
          has_caches_(arrays.has_caches()) {}

    // One way between a request's client and the site that serves it.
    double network_s(std::int32_t index) const { return has_distances_ ? demand_.details[index].network_s : 0.0; }

    // How long a token of a request's prompt takes on the line of its client.
    double upload_token_s(std::int32_t index) const {
        return has_uploads_ ? arrays_.upload_token_s[demand_.calls[index].region_id] : 0.0;
    }

    void note_site(std::int32_t index, std::int64_t site) {
        if (!has_distances_) return;
        const std::int64_t region = demand_.calls[index].region_id;
        demand_.details[index].network_s = arrays_.network_s[region * arrays_.num_sites() + site];
    }

    // The first token has left its site.
    void first_token(std::int32_t index, std::int32_t hit_tokens) {
        Request& request = demand_.requests[index];
        if (has_caches_) demand_.details[index].billed_hit_tokens = hit_tokens;
        request.first_token_s += network_s(index);
        prefetch_successors(demand_, index);
        const double waited_s = ttft_s(request);
        outcome_(Outcome::first_tokens, request.class_id) += 1.0;
        outcome_(Outcome::ttft_sum_s, request.class_id) += waited_s;
        overdue_.first_token(index, waited_s);
    }

    // The last token of an answer leaves the site of `pool`, the pool with the model that gave the answer. Inlined, as
    // `end` is: calls would cost 1.6 % of everything.
    [[gnu::always_inline]] inline void complete(std::int32_t index, const Pool& pool, double at_site_s) {
        Request& request = demand_.requests[index];
        const double now_s = at_site_s + network_s(index);
        const bool in_slo = within_slo(request, now_s);
        const std::int32_t hit_tokens = has_caches_ ? demand_.details[index].billed_hit_tokens : 0;
        const double value_usd = end(index, now_s, Status::kCompleted, in_slo ? kInSlo : kLate, hit_tokens);
        if (const std::int64_t q = arrays_.classes[request.class_id].agreement; q >= 0) {
            outcome_(Outcome::in_agreement, q) += keeps_agreement(request, in_slo) ? 1.0 : 0.0;
        }
        outcome_(Outcome::delivered_tokens, pool.site) += request.output_tokens;
        double paid_usd = in_slo ? value_usd : value_usd * arrays_.classes[request.class_id].late_value_fraction;
        if (pool.is_variant) [[unlikely]]
            paid_usd -= quality_loss_usd(request, pool, paid_usd);
        if (billing_.pay(request, index, paid_usd) && clients_.end_session(index)) {
            outcome_(Outcome::budget_ended, request.class_id) += 1.0;
        }
        clients_.succeed(index, now_s);
    }

    // An attempt has come to nothing.
    void fail(std::int32_t index, double now_s, Status how) {
        if (clients_.fail(index, now_s, how)) {
            outcome_(Outcome::retries, demand_.requests[index].class_id) += 1.0;
            overdue_.retry(index, now_s);
        } else {
            lose(index, now_s, how);
        }
    }

    // Its client does not try again.
    [[gnu::noinline]] void lose(std::int32_t index, double now_s, Status how) {
        end(index, now_s, how, how == Status::kDeclined ? kDeclined : how == Status::kRefused ? kRefused : kExpired, 0);
    }

private:
    // Where the requests that end in one way are counted, by class.
    struct Ending {
        Outcome::Field count, prompt_tokens, output_tokens, value_usd;
    };
    static constexpr Ending kInSlo{Outcome::completed_in_slo, Outcome::prompt_tokens_in_slo,
                                   Outcome::output_tokens_in_slo, Outcome::value_in_slo_usd};
    static constexpr Ending kLate{Outcome::completed_late, Outcome::prompt_tokens_late, Outcome::output_tokens_late,
                                  Outcome::value_late_usd};
    static constexpr Ending kDeclined{Outcome::declined, Outcome::prompt_tokens_declined,
                                      Outcome::output_tokens_declined, Outcome::value_declined_usd};
    static constexpr Ending kRefused{Outcome::refused, Outcome::prompt_tokens_lost, Outcome::output_tokens_lost,
                                     Outcome::value_lost_usd};
    static constexpr Ending kExpired{Outcome::expired, Outcome::prompt_tokens_lost, Outcome::output_tokens_lost,
                                     Outcome::value_lost_usd};

    const FleetArrays& arrays_;
    Demand& demand_;
    Clients& clients_;
    Billing& billing_;
    Overdue& overdue_;
    const Outcome outcome_;
    bool has_distances_, has_uploads_, has_caches_;

    // A request has come to its end; returns its price.
    [[gnu::always_inline]] inline double end(std::int32_t index, double now_s, Status how, const Ending& ending,
                                             std::int32_t hit_tokens) {
        Request& request = demand_.requests[index];
        const double value_usd = billing_.value_usd(request, hit_tokens);
        overdue_.remove(index);
        request.status = how;
        request.finished_s = now_s;
        demand_.end(index);
        outcome_(ending.count, request.class_id) += 1.0;
        outcome_(ending.prompt_tokens, request.class_id) += request.prompt_tokens;
        outcome_(ending.output_tokens, request.class_id) += request.output_tokens;
        outcome_(ending.value_usd, request.class_id) += value_usd;
        return value_usd;
    }

    // What is paid less because the variant has answered.
    [[gnu::noinline]] double quality_loss_usd(const Request& request, const Pool& pool, double paid_usd) const {
        const double loss_usd = paid_usd * (1.0 - pool.quality);
        outcome_(Outcome::variant_tokens, pool.variant) += request.output_tokens;
        outcome_(Outcome::quality_loss_usd, pool.variant) += loss_usd;
        return loss_usd;
    }

    static double ttft_s(const Request& request) { return request.first_token_s - request.asked_s; }

    // Whether an answer is in time as the class's agreement counts: by its first token, or by the whole SLO.
    bool keeps_agreement(const Request& request, bool in_slo) const {
        const double limit_s = arrays_.classes[request.class_id].agreement_ttft_s;
        return std::isfinite(limit_s) ? !exceeds(ttft_s(request), limit_s) : in_slo;
    }

    bool within_slo(const Request& request, double now_s) const {
        const RequestClass& limits = arrays_.classes[request.class_id];
        const bool in_ttft = !exceeds(ttft_s(request), limits.ttft_s);
        // Without a limit inf * 0 would be NaN for a one-token answer.
        const bool in_tpot = request.output_tokens == 1 ||
                             !exceeds(now_s - request.first_token_s, limits.tpot_s * (request.output_tokens - 1));
        return in_ttft && in_tpot && !exceeds(now_s - request.asked_s, limits.deadline_s);
    }
};

}  // namespace tokenfleet
