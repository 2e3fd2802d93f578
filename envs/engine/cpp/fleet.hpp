// One fleet through time: the C++ mirror of envs/engine/reference/fleet.py, whose docstring specifies a tick.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "power_delivery.hpp"
#include "replica.hpp"

namespace tokenfleet {

enum class Status : std::int8_t { kPending, kCompleted, kRefused, kExpired };

// One environment's row of each control array.
struct ControlsRow {
    const double* route_share;     // [K, P]
    const double* clock_fraction;  // [P]
    const double* awake_fraction;  // [P]
    const double* admit_rate_rps;  // [K]
};

// What chance decided for the episode; sizes are checked by the bindings.
struct EpisodeColumns {
    std::int64_t num_requests;
    const double* arrival_s;
    const std::int32_t* prompt_tokens;
    const std::int32_t* output_tokens;
    const std::int32_t* class_id;
    const double* cap_w;                   // [H, S]
    const double* rating_w;                // [H, S]
    const float* exogenous;                // [H + 1, E]
    const double* decode_memory_fraction;  // [P]
};

class Fleet {
public:
    std::vector<Request> requests;
    std::vector<Status> status;
    std::vector<std::int32_t> replica_of;
    std::vector<double> finished_s;

    Fleet(const FleetArrays& arrays, float* view, double* outcome)
        : arrays_(arrays), view_(view), outcome_(outcome), power_(arrays) {
        replicas_.resize(static_cast<std::size_t>(arrays.num_replicas));
        physics_.resize(arrays.pools.size());
        clock_fraction_.resize(arrays.pools.size());
        pool_is_open_.resize(arrays.pools.size());
        share_.resize(arrays.route_mask.size());
        route_credit_.resize(arrays.route_mask.size());
        held_.resize(arrays.classes.size());
        admission_credit_.resize(arrays.classes.size());
        credited_s_.resize(arrays.classes.size());
    }

    void reset(const EpisodeColumns& episode) {
        load_requests(episode);
        cap_w_.assign(episode.cap_w, episode.cap_w + arrays_.horizon_ticks * num_sites());
        rating_w_.assign(episode.rating_w, episode.rating_w + arrays_.horizon_ticks * num_sites());
        const std::int64_t width = exogenous_width();
        exogenous_.assign(episode.exogenous, episode.exogenous + (arrays_.horizon_ticks + 1) * width);
        decode_memory_fraction_.assign(episode.decode_memory_fraction, episode.decode_memory_fraction + num_pools());
        tick_ = 0;
        next_request_ = 0;
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            clock_fraction_[p] = 1.0;
            physics_[p] = physics_at(pool(p), decode_memory_fraction_[p], 1.0);
            for (auto& replica : replicas_of(p)) replica.reset(pool(p).max_batch);
        }
        for (std::int64_t k = 0; k < num_classes(); ++k) {
            held_[k] = RequestQueue{};
            admission_credit_[k] = 1.0;
            credited_s_[k] = 0.0;
        }
        std::fill(route_credit_.begin(), route_credit_.end(), 0.0);
        power_.reset();
        std::fill(outcome_, outcome_ + arrays_.outcome.width, 0.0);
        write_view();
    }

    void step(const ControlsRow& controls) {
        const double start_s = static_cast<double>(tick_) * arrays_.tick_s;
        const double end_s = static_cast<double>(tick_ + 1) * arrays_.tick_s;
        std::fill(outcome_, outcome_ + arrays_.outcome.width, 0.0);
        apply_power_states(start_s, controls.awake_fraction);
        apply_clocks(controls.clock_fraction);
        find_available_share(controls.route_share);
        serve_arrivals(start_s, end_s, controls.admit_rate_rps);
        finish_tick(end_s);
        read_meters(end_s);
        ++tick_;
        write_view();
    }

    std::int64_t tick() const { return tick_; }

    // What a replica asks and reports.

    std::int64_t output_weight(std::int32_t k) const { return arrays_.classes[k].output_weight; }
    double patience_s(std::int32_t k) const { return arrays_.classes[k].patience_s; }

    void on_first_token(const Request& request) {
        outcome_[arrays_.outcome.first_tokens + request.class_id] += 1.0;
        outcome_[arrays_.outcome.ttft_sum_s + request.class_id] += request.first_token_s - request.arrival_s;
    }
    void on_complete(std::int32_t index, double now_s) {
        const OutcomeLayout& o = arrays_.outcome;
        if (within_slo(requests[index], now_s)) {
            end(index, now_s, Status::kCompleted, o.completed_in_slo, o.prompt_tokens_in_slo, o.output_tokens_in_slo);
        } else {
            end(index, now_s, Status::kCompleted, o.completed_late, o.prompt_tokens_late, o.output_tokens_late);
        }
    }
    void on_expired(std::int32_t index, double now_s) { lose(index, now_s, Status::kExpired); }
    void on_lost(std::int32_t index, double now_s) { lose(index, now_s, Status::kRefused); }

private:
    using FleetReplica = Replica<Fleet>;
    struct Span {
        FleetReplica *first, *last;
        FleetReplica* begin() const { return first; }
        FleetReplica* end() const { return last; }
    };
    struct Release {
        double time_s;
        std::int32_t index;
    };

    const FleetArrays& arrays_;
    float* view_;
    double* outcome_;
    std::vector<double> cap_w_, rating_w_;  // [H, S]
    std::vector<float> exogenous_;
    std::vector<double> decode_memory_fraction_;
    std::int64_t tick_ = 0, next_request_ = 0;
    std::vector<FleetReplica> replicas_;
    std::vector<Physics> physics_;        // [P] at the clock in force
    std::vector<double> clock_fraction_;  // [P]
    std::vector<std::uint8_t> pool_is_open_;  // [P] has an awake replica
    std::vector<double> share_, route_credit_;  // [K, P]
    std::vector<RequestQueue> held_;            // [K]
    std::vector<double> admission_credit_, credited_s_;  // [K]
    std::vector<Release> released_;
    PowerDelivery power_;

    std::int64_t num_sites() const { return static_cast<std::int64_t>(arrays_.sites.size()); }
    std::int64_t num_pools() const { return static_cast<std::int64_t>(arrays_.pools.size()); }
    std::int64_t num_classes() const { return static_cast<std::int64_t>(arrays_.classes.size()); }
    std::int64_t exogenous_width() const { return arrays_.view.width - arrays_.view.exogenous; }
    const Pool& pool(std::int64_t p) const { return arrays_.pools[p]; }
    Span replicas_of(std::int64_t p) {
        FleetReplica* first = replicas_.data() + pool(p).first_replica;
        return {first, first + pool(p).replicas};
    }

    void load_requests(const EpisodeColumns& e) {
        const auto count = static_cast<std::size_t>(e.num_requests);
        constexpr double nan = std::numeric_limits<double>::quiet_NaN();
        requests.resize(count);
        for (std::size_t i = 0; i < count; ++i) {
            requests[i] = {e.arrival_s[i], nan, e.prompt_tokens[i], e.output_tokens[i], e.class_id[i], -1};
        }
        status.assign(count, Status::kPending);
        replica_of.assign(count, -1);
        finished_s.assign(count, nan);
    }

    // 1. Power states and clocks.

    void apply_power_states(double now_s, const double* awake_fraction) {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            pool_is_open_[p] = 0;
            if (power_.is_dark(pool(p), now_s)) continue;
            const Span span = replicas_of(p);
            for (auto& replica : span) {
                if (replica.state == State::kDark) wake(replica, p, now_s);
            }
            const double wanted = awake_fraction[p] * static_cast<double>(pool(p).replicas);
            follow_target(span, p, now_s, static_cast<std::int64_t>(std::ceil(wanted - 1e-9)));
            for (auto& replica : span) {
                if (replica.state == State::kWaking && replica.ready_s <= now_s) replica.state = State::kAwake;
                if (replica.state == State::kDraining && replica.idle()) replica.state = State::kAsleep;
                pool_is_open_[p] |= replica.state == State::kAwake;
            }
        }
    }

    // Bring the number of replicas that are awake or waking to `target`, the cheapest change first.
    void follow_target(const Span& span, std::int64_t p, double now_s, std::int64_t target) {
        std::int64_t up = 0;
        for (const auto& replica : span) up += replica.state == State::kAwake || replica.state == State::kWaking;
        if (up == target) return;
        for (const State state : {State::kDraining, State::kAsleep}) {
            for (auto& replica : span) {
                if (up >= target || replica.state != state) continue;
                if (state == State::kDraining) {
                    replica.state = State::kAwake;
                } else {
                    wake(replica, p, now_s);
                }
                ++up;
            }
        }
        for (const State state : {State::kWaking, State::kAwake}) {
            for (FleetReplica* replica = span.last; replica-- != span.first;) {
                if (up <= target || replica->state != state) continue;
                replica->state = state == State::kWaking ? State::kAsleep : State::kDraining;
                --up;
            }
        }
    }

    void wake(FleetReplica& replica, std::int64_t p, double now_s) {
        replica.state = State::kWaking;
        replica.ready_s = now_s + pool(p).wake_s;
    }

    void apply_clocks(const double* clock_fraction) {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            const double asked = std::min(std::max(clock_fraction[p], pool(p).clock_floor_fraction), 1.0);
            const double clock = power_.clock_in_force(p, asked);
            if (clock == clock_fraction_[p]) continue;
            clock_fraction_[p] = clock;
            physics_[p] = physics_at(pool(p), decode_memory_fraction_[p], clock);
            for (auto& replica : replicas_of(p)) replica.on_new_clock();
        }
    }

    // 2. Demand.

    // Shares over the pools that can take requests now; a row of zeros where none can.
    void find_available_share(const double* route_share) {
        for (std::int64_t k = 0; k < num_classes(); ++k) {
            double total = 0.0;
            for (std::int64_t p = 0; p < num_pools(); ++p) {
                const std::int64_t i = k * num_pools() + p;
                share_[i] = arrays_.route_mask[i] && pool_is_open_[p] ? route_share[i] : 0.0;
                total += share_[i];
            }
            if (total <= 0.0) total = 1.0;
            for (std::int64_t p = 0; p < num_pools(); ++p) share_[k * num_pools() + p] /= total;
        }
    }

    // Arrivals and releases of the tick in order of time; at a tie, the release goes first.
    void serve_arrivals(double start_s, double end_s, const double* admit_rate_rps) {
        release(start_s, admit_rate_rps);
        std::size_t turn = 0;
        while (true) {
            const double arrival_s = next_arrival_s(end_s);
            if (turn < released_.size() && released_[turn].time_s <= arrival_s) {
                dispatch(released_[turn].index, released_[turn].time_s);
                ++turn;
            } else if (arrival_s < kNever) {
                arrive(admit_rate_rps);
            } else {
                return;
            }
        }
    }

    double next_arrival_s(double end_s) const {
        const auto next = static_cast<std::size_t>(next_request_);
        return next < requests.size() && requests[next].arrival_s < end_s ? requests[next].arrival_s : kNever;
    }

    void arrive(const double* admit_rate_rps) {
        const auto index = static_cast<std::int32_t>(next_request_++);
        const Request& request = requests[index];
        const std::int32_t k = request.class_id;
        outcome_[arrays_.outcome.arrived + k] += 1.0;
        if (arrays_.classes[k].deferrable) {
            held_[k].push(requests, index);
        } else if (admit(k, request.arrival_s, admit_rate_rps[k])) {
            dispatch(index, request.arrival_s);
        } else {
            lose(index, request.arrival_s, Status::kRefused);
        }
    }

    // Token bucket one second deep (at least one request).
    bool admit(std::int32_t k, double now_s, double rate_rps) {
        if (rate_rps == kNever) return true;
        const double depth = std::max(1.0, rate_rps);
        const double credit = std::min(depth, admission_credit_[k] + rate_rps * (now_s - credited_s_[k]));
        credited_s_[k] = now_s;
        const bool admitted = credit >= 1.0;
        admission_credit_[k] = admitted ? credit - 1.0 : credit;
        return admitted;
    }

    // Held requests that leave in this tick, evenly spaced over it, oldest first.
    void release(double start_s, const double* rate_rps) {
        released_.clear();
        for (std::int32_t k = 0; k < num_classes(); ++k) {
            RequestQueue& held = held_[k];
            while (!held.empty() && start_s - requests[held.head].arrival_s > arrays_.classes[k].patience_s) {
                lose(held.pop(requests), start_s, Status::kExpired);
            }
            const std::int64_t count = release_count(k, rate_rps[k]);
            const double gap_s = arrays_.tick_s / static_cast<double>(count);
            for (std::int64_t i = 0; i < count; ++i) {
                released_.push_back({start_s + (static_cast<double>(i) + 0.5) * gap_s, held.pop(requests)});
            }
        }
        std::stable_sort(released_.begin(), released_.end(),
                         [](const Release& a, const Release& b) { return a.time_s < b.time_s; });
    }

    // How many held requests the rate lets go; the unused part of a request carries over.
    std::int64_t release_count(std::int32_t k, double rate_rps) {
        if (!arrays_.classes[k].deferrable) return 0;
        const std::int64_t waiting = held_[k].size;
        if (rate_rps == kNever) return waiting;
        const double credit = admission_credit_[k] + rate_rps * arrays_.tick_s;
        const double allowed = std::min(static_cast<double>(waiting), std::floor(credit));
        admission_credit_[k] = std::min(credit - allowed, 1.0);
        return static_cast<std::int64_t>(allowed);
    }

    void dispatch(std::int32_t index, double now_s) {
        const Request& request = requests[index];
        const std::int64_t p = choose_pool(request.class_id);
        if (p < 0 || request.prompt_tokens + request.output_tokens > pool(p).kv_tokens) {
            lose(index, now_s, Status::kRefused);
            return;
        }
        FleetReplica* chosen = nullptr;
        const Span span = replicas_of(p);
        for (auto& replica : span) {
            while (replica.next_event_s <= now_s) replica.on_boundary(*this, pool(p), physics_[p]);
            if (replica.state != State::kAwake) continue;
            if (chosen == nullptr || replica.work_tokens < chosen->work_tokens) chosen = &replica;
        }
        replica_of[index] = static_cast<std::int32_t>(chosen - replicas_.data());
        chosen->take(*this, pool(p), physics_[p], index, now_s);
    }

    // Smooth weighted round robin: exact shares in the long run, no two bursts to the same pool.
    std::int64_t choose_pool(std::int32_t k) {
        const double* share = &share_[k * num_pools()];
        double* credit = &route_credit_[k * num_pools()];
        std::int64_t chosen = -1;
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            if (share[p] <= 0.0) continue;
            credit[p] += share[p];
            if (chosen < 0 || credit[p] > credit[chosen]) chosen = p;
        }
        if (chosen >= 0) credit[chosen] -= 1.0;
        return chosen;
    }

    // 3. The rest of the tick.

    void finish_tick(double end_s) {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            double energy_j = 0.0;
            std::int64_t generated = 0, prefilled = 0;
            for (auto& replica : replicas_of(p)) {
                while (replica.next_event_s < end_s) replica.on_boundary(*this, pool(p), physics_[p]);
                replica.read_meter(pool(p), end_s);
                energy_j += replica.take_energy_j() + host_w(replica, p) * arrays_.tick_s;
                generated += replica.take_generated_tokens();
                prefilled += replica.take_prefilled_tokens();
            }
            outcome_[arrays_.outcome.it_energy_j + p] = energy_j;
            outcome_[arrays_.outcome.generated_tokens + p] = static_cast<double>(generated);
            outcome_[arrays_.outcome.prefilled_tokens + p] = static_cast<double>(prefilled);
        }
    }

    double host_w(const FleetReplica& replica, std::int64_t p) const {
        if (replica.state == State::kDark) return 0.0;
        return replica.state == State::kAsleep ? pool(p).host_asleep_w : pool(p).host_w;
    }

    bool within_slo(const Request& request, double now_s) const {
        const RequestClass& limits = arrays_.classes[request.class_id];
        const bool in_ttft = request.first_token_s - request.arrival_s <= limits.ttft_s;
        // Without a limit inf * 0 would be NaN for a one-token answer.
        const bool in_tpot = request.output_tokens == 1 ||
                             now_s - request.first_token_s <= limits.tpot_s * (request.output_tokens - 1);
        return in_ttft && in_tpot && now_s - request.arrival_s <= limits.deadline_s;
    }

    void lose(std::int32_t index, double now_s, Status how) {
        const OutcomeLayout& o = arrays_.outcome;
        end(index, now_s, how, how == Status::kRefused ? o.refused : o.expired, o.prompt_tokens_lost,
            o.output_tokens_lost);
    }

    // The columns say where to count the request and its tokens.
    void end(std::int32_t index, double now_s, Status how, std::int64_t count, std::int64_t prompt, std::int64_t output) {
        const Request& request = requests[index];
        status[index] = how;
        finished_s[index] = now_s;
        outcome_[count + request.class_id] += 1.0;
        outcome_[prompt + request.class_id] += request.prompt_tokens;
        outcome_[output + request.class_id] += request.output_tokens;
    }

    // 4. Meters, brake, breaker.

    void read_meters(double end_s) {
        const std::int64_t now = tick_ * num_sites();
        power_.read_meters(&cap_w_[now], &rating_w_[now], end_s, outcome_, [&](std::int64_t p) { go_dark(p, end_s); });
    }

    void go_dark(std::int64_t p, double now_s) {
        for (auto& replica : replicas_of(p)) {
            replica.drop_everything(*this, now_s);
            replica.state = State::kDark;
        }
    }

    // What the brain sees.

    void write_view() {
        const ViewLayout& v = arrays_.view;
        const OutcomeLayout& o = arrays_.outcome;
        for (std::int64_t p = 0; p < num_pools(); ++p) write_pool_view(p);
        for (std::int64_t k = 0; k < num_classes(); ++k) {
            view_[v.held_requests + k] = static_cast<float>(held_[k].size);
            view_[v.arrived + k] = static_cast<float>(outcome_[o.arrived + k]);
            view_[v.completed_in_slo + k] = static_cast<float>(outcome_[o.completed_in_slo + k]);
            view_[v.completed_late + k] = static_cast<float>(outcome_[o.completed_late + k]);
            view_[v.refused + k] = static_cast<float>(outcome_[o.refused + k]);
            view_[v.expired + k] = static_cast<float>(outcome_[o.expired + k]);
            const double first_tokens = std::max(outcome_[o.first_tokens + k], 1.0);
            view_[v.ttft_mean_s + k] = static_cast<float>(outcome_[o.ttft_sum_s + k] / first_tokens);
        }
        const double now_s = static_cast<double>(tick_) * arrays_.tick_s;
        const float* exogenous = exogenous_.data() + tick_ * exogenous_width();  // begins with the caps
        power_.write_view(now_s, exogenous, outcome_, view_);
        std::copy(exogenous, exogenous + exogenous_width(), view_ + v.exogenous);
    }

    void write_pool_view(std::int64_t p) {
        const ViewLayout& v = arrays_.view;
        std::int64_t waiting = 0, running = 0, unprefilled = 0, reserved = 0, awake = 0, waking = 0;
        for (const auto& replica : replicas_of(p)) {
            waiting += replica.waiting();
            running += replica.running();
            unprefilled += replica.unprefilled_tokens;
            reserved += replica.kv_reserved;
            awake += replica.state == State::kAwake;
            waking += replica.state == State::kWaking;
        }
        const auto capacity = static_cast<double>(pool(p).kv_tokens * pool(p).replicas);
        view_[v.waiting_requests + p] = static_cast<float>(waiting);
        view_[v.running_requests + p] = static_cast<float>(running);
        view_[v.unprefilled_tokens + p] = static_cast<float>(unprefilled);
        view_[v.kv_reserved_fraction + p] = static_cast<float>(static_cast<double>(reserved) / capacity);
        view_[v.awake_replicas + p] = static_cast<float>(awake);
        view_[v.waking_replicas + p] = static_cast<float>(waking);
        view_[v.clock_fraction + p] = static_cast<float>(clock_fraction_[p]);
        const double energy_j = outcome_[arrays_.outcome.it_energy_j + p];
        view_[v.pool_power_w + p] = static_cast<float>(energy_j / arrays_.tick_s);
        view_[v.generated_tokens + p] = static_cast<float>(outcome_[arrays_.outcome.generated_tokens + p]);
    }
};

}  // namespace tokenfleet
