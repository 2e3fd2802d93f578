// One fleet through time: the C++ mirror of envs/engine/reference/fleet.py, whose docstring specifies a tick.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "arrays.hpp"
#include "billing.hpp"
#include "clients.hpp"
#include "earliest.hpp"
#include "kv_moves.hpp"
#include "power_delivery.hpp"
#include "replica.hpp"

namespace tokenfleet {

// One environment's row of each control array.
struct ControlsRow {
    const double* route_share;     // [K, P]
    const double* clock_fraction;  // [P]
    const double* awake_fraction;  // [P]
    const double* admit_rate_rps;  // [K]
    const double* battery_power_w;  // [S]
    const double* prefix_affinity;  // [K]
    const double* token_price_factor;  // [K]
};

// What chance decided for the episode; sizes are checked by the bindings.
struct EpisodeColumns {
    std::int64_t num_requests, num_failures, num_contexts;
    const double* arrival_s;
    const std::int32_t* prompt_tokens;
    const std::int32_t* output_tokens;
    const std::int32_t* class_id;
    const double* cap_w;                   // [H, S]
    const double* rating_w;                // [H, S]
    const double* row_cap_w;               // [H, W]
    const double* row_rating_w;            // [H, W]
    const double* solar_w;                 // [H, S]
    const double* outdoor_c;               // [H, S]
    const double* pue;                     // [H, S]
    const double* fixed_w;                 // [S]
    const double* host_power_factor;       // [S]
    const float* exogenous;                // [H + 1, E]
    const double* decode_memory_fraction;  // [P]
    const std::int64_t* failure_tick;      // [F]
    const std::int64_t* failed_replica;    // [F]
    const double* repaired_s;              // [F]
    const std::int64_t* context_row;       // [X]
    const std::int64_t* context_holder;    // [X]
};

class Fleet {
public:
    std::vector<Request> requests;
    std::vector<Progress> progress;  // of all requests if KV grows anywhere, else empty
    std::vector<CacheUse> cache_use;  // of all requests if any pool has a prefix cache, else empty
    Calls calls;
    std::vector<Status> status;
    std::vector<std::int32_t> replica_of;
    std::vector<double> finished_s;
    ClientColumns client_columns;  // loaded before `reset`

    const std::vector<double>& asked_s() const { return clients_.asked_s; }

    Fleet(const FleetArrays& arrays, float* view, double* outcome)
        : arrays_(arrays), view_(view), outcome_(outcome), power_(arrays), kv_moves_(arrays, outcome) {
        replicas_.resize(static_cast<std::size_t>(arrays.num_replicas));
        for (std::size_t p = 0; p < arrays.pools.size(); ++p) {
            pool_of_.insert(pool_of_.end(), static_cast<std::size_t>(arrays.pools[p].replicas), static_cast<std::int64_t>(p));
        }
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
        load_failures(episode);
        clients_.reset(arrays_, client_columns, episode.class_id, static_cast<std::size_t>(episode.num_requests));
        in_order_of_time_ = clients_.has_feedback || any_pool([](const Pool& p) { return p.hand_off_to >= 0; });
        billing_.reset(arrays_, client_columns, static_cast<std::size_t>(episode.num_requests));
        running_tokens_.assign(arrays_.pools.size(), 0);
        next_boundary_.reset(in_order_of_time_ ? replicas_.size() : 1);
        next_event_s_.assign(replicas_.size(), kNever);
        load_tokens_.assign(replicas_.size(), 0);
        const std::int64_t site_ticks = arrays_.horizon_ticks * num_sites();
        cap_w_.assign(episode.cap_w, episode.cap_w + site_ticks);
        rating_w_.assign(episode.rating_w, episode.rating_w + site_ticks);
        const std::int64_t row_ticks = arrays_.horizon_ticks * num_rows();
        row_cap_w_.assign(episode.row_cap_w, episode.row_cap_w + row_ticks);
        row_rating_w_.assign(episode.row_rating_w, episode.row_rating_w + row_ticks);
        solar_w_.assign(episode.solar_w, episode.solar_w + site_ticks);
        outdoor_c_.assign(episode.outdoor_c, episode.outdoor_c + site_ticks);
        pue_.assign(episode.pue, episode.pue + site_ticks);
        fixed_w_.assign(episode.fixed_w, episode.fixed_w + num_sites());
        host_power_factor_.assign(episode.host_power_factor, episode.host_power_factor + num_sites());
        const std::int64_t width = exogenous_width();
        exogenous_.assign(episode.exogenous, episode.exogenous + (arrays_.horizon_ticks + 1) * width);
        decode_memory_fraction_.assign(episode.decode_memory_fraction, episode.decode_memory_fraction + num_pools());
        tick_ = 0;
        next_request_ = 0;
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            clock_fraction_[p] = 1.0;
            physics_[p] = physics_at(pool(p), decode_memory_fraction_[p], 1.0);
            for (auto& replica : replicas_of(p)) replica.reset(pool(p));
        }
        load_contexts(episode);
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
        break_and_repair(start_s);
        apply_power_states(start_s, controls.awake_fraction);
        apply_clocks(controls.clock_fraction);
        find_available_share(controls.route_share);
        admit_rate_rps_ = controls.admit_rate_rps;
        prefix_affinity_ = controls.prefix_affinity;
        billing_.set_prices(controls.token_price_factor);
        run(start_s, end_s);
        finish_tick(end_s);
        read_meters(start_s, end_s, controls.battery_power_w);
        count_running_tokens();
        ++tick_;
        write_view();
    }

    std::int64_t tick() const { return tick_; }

    // What a replica asks and reports.

    std::int64_t output_weight(std::int32_t k) const { return arrays_.classes[k].output_weight; }
    Prompt prompt(std::int32_t index) const {
        const ClientColumns& c = client_columns;
        return {index,
                c.conversation_id[index],
                c.group_id[index],
                c.group_tokens[index],
                requests[index].prompt_tokens,
                cache_use[index].migrated_tokens};
    }
    double patience_s(std::int32_t k) const { return arrays_.classes[k].patience_s; }

    void on_first_token(std::int32_t index, std::int32_t hit_tokens) {
        Request& request = requests[index];
        if (!billed_hit_tokens_.empty()) billed_hit_tokens_[index] = hit_tokens;
        request.first_token_s += network_of(index);
        outcome_[arrays_.outcome.first_tokens + request.class_id] += 1.0;
        outcome_[arrays_.outcome.ttft_sum_s + request.class_id] += ttft_s(index);
    }
    void on_complete(std::int32_t index, double at_site_s) {
        const OutcomeLayout& o = arrays_.outcome;
        const Request& request = requests[index];
        const double now_s = at_site_s + network_of(index);
        const bool in_slo = within_slo(index, now_s);
        const Columns columns = in_slo
            ? Columns{o.completed_in_slo, o.prompt_tokens_in_slo, o.output_tokens_in_slo, o.value_in_slo_usd}
            : Columns{o.completed_late, o.prompt_tokens_late, o.output_tokens_late, o.value_late_usd};
        const double value_usd = end(index, now_s, Status::kCompleted, columns, billed_hit_tokens_.empty() ? 0 : billed_hit_tokens_[index]);
        outcome_[o.delivered_tokens + pool(pool_of_[replica_of[index]]).site] += request.output_tokens;
        const double paid_usd = in_slo ? value_usd : value_usd * arrays_.classes[request.class_id].late_value_fraction;
        if (billing_.pay(request, index, paid_usd) && clients_.end_session(index)) {
            outcome_[o.budget_ended + request.class_id] += 1.0;
        }
        clients_.succeed(index, now_s);
    }
    // A pool has prefilled a request that another pool decodes: its KV cache goes there.
    void on_hand_off(std::int32_t index, double now_s) {
        const std::int64_t p = pool_of_[replica_of[index]], q = pool(p).hand_off_to;
        if (!preferred_replica_.empty()) preferred_replica_[index] = -1;
        note_distance(index, q);
        const double way_s = kv_moves_.send(p, q, requests[index].prompt_tokens);
        clients_.travel(index, static_cast<std::int32_t>(q), now_s + way_s);
    }
    void on_expired(std::int32_t index, double now_s) { fail(index, now_s, Status::kExpired); }
    void on_lost(std::int32_t index, double now_s) { fail(index, now_s, Status::kRefused); }

private:
    using FleetReplica = Replica<Fleet>;
    struct Span {
        FleetReplica *first, *last;
        FleetReplica* begin() const { return first; }
        FleetReplica* end() const { return last; }
    };
    static constexpr std::int64_t kClosed = std::numeric_limits<std::int64_t>::max();
    struct Columns {
        std::int64_t count, prompt_tokens, output_tokens, value_usd;  // of the outcome, for class 0
    };
    struct Release {
        double time_s;
        std::int32_t index;
    };

    const FleetArrays& arrays_;
    float* view_;
    double* outcome_;
    std::vector<double> cap_w_, rating_w_, solar_w_, outdoor_c_, pue_;  // [H, S]
    std::vector<double> row_cap_w_, row_rating_w_;                      // [H, W]
    std::vector<double> fixed_w_, host_power_factor_;                   // [S]
    std::vector<float> exogenous_;
    std::vector<double> decode_memory_fraction_;
    std::int64_t tick_ = 0, next_request_ = 0;
    std::size_t num_roots_ = 0;  // requests that wait for no other; they stand first
    std::vector<FleetReplica> replicas_;
    std::vector<std::int64_t> pool_of_;   // of each replica
    std::vector<double> next_event_s_;     // of each replica
    std::vector<std::int64_t> load_tokens_;  // work of each replica; kClosed if it takes no requests
    std::vector<Physics> physics_;        // [P] at the clock in force
    std::vector<double> clock_fraction_;  // [P]
    std::vector<std::uint8_t> pool_is_open_;  // [P] has an awake replica
    std::vector<double> share_, route_credit_;  // [K, P]
    std::vector<RequestQueue> held_;            // [K]
    std::vector<double> admission_credit_, credited_s_;  // [K]
    std::vector<Release> released_;
    PowerDelivery power_;
    KvMoves kv_moves_;
    const double *admit_rate_rps_ = nullptr, *prefix_affinity_ = nullptr;  // [K]
    std::vector<std::int32_t> home_replica_;       // of each conversation, -1 before its first call
    std::vector<std::int32_t> preferred_replica_;  // of each request that returns to it, else -1; empty without caches
    Clients clients_;
    Billing billing_;
    std::vector<std::int32_t> billed_hit_tokens_;  // by request, when its first token came; empty without prefix caches
    std::vector<std::int64_t> running_tokens_;     // [P] at the end of the last tick
    bool in_order_of_time_ = false;  // what happens at one replica can bring something to another
    Earliest next_boundary_;         // of every replica; kept only if in_order_of_time_
    std::vector<double> network_s_;  // one way between client and site, by request; empty without distances
    struct Failure {
        std::int64_t tick, replica;
        double repaired_s;
    };
    std::vector<Failure> failures_;
    std::size_t next_failure_ = 0;

    std::int64_t num_sites() const { return static_cast<std::int64_t>(arrays_.sites.size()); }
    std::int64_t num_rows() const { return static_cast<std::int64_t>(arrays_.nodes.size()) - num_sites(); }
    std::int64_t num_pools() const { return static_cast<std::int64_t>(arrays_.pools.size()); }
    std::int64_t num_classes() const { return static_cast<std::int64_t>(arrays_.classes.size()); }
    std::int64_t exogenous_width() const { return arrays_.view.width - arrays_.view.exogenous; }
    const Pool& pool(std::int64_t p) const { return arrays_.pools[p]; }
    Span replicas_of(std::int64_t p) {
        FleetReplica* first = replicas_.data() + pool(p).first_replica;
        return {first, first + pool(p).replicas};
    }

    std::size_t index_of(const FleetReplica& replica) const {
        return static_cast<std::size_t>(&replica - replicas_.data());
    }

    template <typename Is>
    bool any_pool(Is is) const {
        return std::any_of(arrays_.pools.begin(), arrays_.pools.end(), is);
    }

    void load_requests(const EpisodeColumns& e) {
        const auto count = static_cast<std::size_t>(e.num_requests);
        constexpr double nan = std::numeric_limits<double>::quiet_NaN();
        requests.resize(count);
        num_roots_ = static_cast<std::size_t>(std::lower_bound(e.arrival_s, e.arrival_s + count, kNever) - e.arrival_s);
        for (std::size_t i = 0; i < count; ++i) {
            requests[i] = {e.arrival_s[i], nan, e.prompt_tokens[i], e.output_tokens[i], e.class_id[i], -1};
        }
        progress.assign(any_pool([](const Pool& p) { return p.kv_grows; }) ? count : 0, Progress{});
        const bool caches = any_pool([](const Pool& p) { return p.prefix_block_tokens > 0; });
        cache_use.assign(caches ? count : 0, CacheUse{});
        const std::vector<std::int32_t>& conversations = client_columns.conversation_id.values();
        if (caches) calls.reset(conversations, client_columns.reusable_tokens.values());
        const bool returns = caches && !conversations.empty();
        preferred_replica_.assign(returns ? count : 0, -1);
        const std::int32_t last = returns ? *std::max_element(conversations.begin(), conversations.end()) : -1;
        home_replica_.assign(static_cast<std::size_t>(last + 1), -1);
        billed_hit_tokens_.assign(caches ? count : 0, 0);
        status.assign(count, Status::kPending);
        replica_of.assign(count, -1);
        finished_s.assign(count, nan);
        const bool distances = std::any_of(arrays_.network_s.begin(), arrays_.network_s.end(), [](double s) { return s > 0.0; });
        network_s_.assign(distances ? count : 0, 0.0);
    }

    void load_failures(const EpisodeColumns& e) {
        failures_.clear();
        next_failure_ = 0;
        for (std::int64_t f = 0; f < e.num_failures; ++f) {
            failures_.push_back({e.failure_tick[f], e.failed_replica[f], e.repaired_s[f]});
        }
    }

    // What calls before the episode have left in prefix caches.
    void load_contexts(const EpisodeColumns& e) {
        for (std::int64_t x = 0; x < e.num_contexts; ++x) {
            const auto index = static_cast<std::int32_t>(e.context_row[x]);
            const auto holder = static_cast<std::int32_t>(e.context_holder[x]);
            replicas_[holder].remember(*this, index, client_columns.reusable_tokens[index]);
            if (!home_replica_.empty()) home_replica_[client_columns.conversation_id[index]] = holder;
        }
    }

    // 1. Failures, power states and clocks.

    // What is repaired is switched off and may be woken.
    void break_and_repair(double now_s) {
        if (failures_.empty()) return;
        for (auto& replica : replicas_) {
            if (replica.state == State::kFailed && replica.ready_s <= now_s) replica.state = State::kAsleep;
        }
        for (; next_failure_ < failures_.size() && failures_[next_failure_].tick <= tick_; ++next_failure_) {
            FleetReplica& replica = replicas_[failures_[next_failure_].replica];
            stop(replica, now_s, State::kFailed);
            replica.ready_s = failures_[next_failure_].repaired_s;
        }
    }

    // A replica loses its power and with it every request.
    void stop(FleetReplica& replica, double now_s, State state) {
        const std::int64_t p = pool_of_[index_of(replica)];
        outcome_[arrays_.outcome.dropped_tokens + p] += static_cast<double>(replica.running_tokens(*this));
        replica.drop_everything(*this, now_s);
        replica.state = state;
        note(index_of(replica));
    }

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
                if (replica.state == State::kDraining && replica.idle()) {
                    replica.state = State::kAsleep;
                    replica.forget_prefixes();
                }
                pool_is_open_[p] |= replica.state == State::kAwake;
                note(index_of(replica));
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
            for (auto& replica : replicas_of(p)) {
                replica.on_new_clock();
                note(index_of(replica));
            }
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

    // Everything from `start_s` to just before `end_s`, in order of time; at a tie, in the order of the cases. Where no
    // answer brings a further call and no pool hands off, a pool's iterations are left to when a request reaches it and to
    // the end of the tick.
    void run(double start_s, double end_s) {
        release(start_s, admit_rate_rps_);
        std::size_t turn = 0;
        while (true) {
            const double release_s = turn < released_.size() ? released_[turn].time_s : kNever;
            const double step_s = clients_.next_s(), arrival_s = next_arrival_s();
            const double next_s = std::min(release_s, std::min(step_s, arrival_s));
            if (in_order_of_time_ && next_boundary_.time_s() <= next_s && next_boundary_.time_s() < end_s) {
                pass_boundary(next_boundary_.index(), pool_of_[next_boundary_.index()]);
            } else if (next_s >= end_s) {
                return;
            } else if (release_s == next_s) {
                dispatch(released_[turn++].index, release_s);
            } else if (step_s == next_s) {
                take_step();
            } else {
                call(static_cast<std::int32_t>(next_request_++), arrival_s);
            }
        }
    }

    double next_arrival_s() const {
        const auto next = static_cast<std::size_t>(next_request_);
        return next < num_roots_ ? requests[next].arrival_s : kNever;
    }

    void pass_boundary(std::size_t r, std::int64_t p) {
        replicas_[r].on_boundary(*this, pool(p), physics_[p]);
        note(r);
    }

    // Keep what is asked of every replica in dense arrays, to be called when it may have changed.
    void note(std::size_t r) {
        const FleetReplica& replica = replicas_[r];
        next_event_s_[r] = replica.next_event_s;
        load_tokens_[r] = replica.state == State::kAwake ? replica.work_tokens : kClosed;
        if (in_order_of_time_) next_boundary_.set(r, replica.next_event_s);
    }

    void take_step() {
        const Step step = clients_.take_step();
        if (step.pool != kCalls) {
            enter(step.index, step.pool, step.time_s);
        } else if (!clients_.has_given_up(step.index)) {
            call(step.index, step.time_s);
        } else if (clients_.failed_attempts(step.index) > 0) {
            lose(step.index, step.time_s, clients_.last_failure(step.index));
        }
    }

    // A client makes a call, or tries it again.
    void call(std::int32_t index, double now_s) {
        Request& request = requests[index];
        const std::int32_t k = request.class_id;
        request.arrival_s = now_s;
        if (clients_.ask(index, now_s)) {
            outcome_[arrays_.outcome.arrived + k] += 1.0;
            outcome_[arrays_.outcome.prompt_tokens_asked + k] += request.prompt_tokens;
            outcome_[arrays_.outcome.output_tokens_asked + k] += request.output_tokens;
        }
        if (!billing_.quote(index, k)) {
            fail(index, now_s, Status::kDeclined);
        } else if (arrays_.classes[k].deferrable) {
            held_[k].push(requests, index);
        } else if (admit(k, now_s, admit_rate_rps_[k])) {
            dispatch(index, now_s);
        } else {
            fail(index, now_s, Status::kRefused);
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
                fail(held.pop(requests), start_s, Status::kExpired);
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

    // Choose a pool and send the request there.
    void dispatch(std::int32_t index, double now_s) {
        const Request& request = requests[index];
        if (!progress.empty()) progress[index] = {};
        if (!cache_use.empty()) cache_use[index] = {};
        std::int64_t p = choose_pool(request.class_id);
        if (p >= 0 && !preferred_replica_.empty()) p = return_home(index, p, now_s);
        if (p < 0 || request.prompt_tokens + request.output_tokens > pool(p).context_limit_tokens) {
            fail(index, now_s, Status::kRefused);
            return;
        }
        note_distance(index, p);
        double way_s = network_of(index);
        if (pool(p).migrates_prefixes) way_s = std::max(way_s, fetch_prefix(index, p, now_s));
        if (way_s > 0.0) return clients_.travel(index, static_cast<std::int32_t>(p), now_s + way_s);
        enter(index, p, now_s);
    }

    void note_distance(std::int32_t index, std::int64_t p) {
        if (network_s_.empty()) return;
        network_s_[index] = arrays_.network_s[client_columns.region_id[index] * num_sites() + pool(p).site];
    }

    // Send for what a replica elsewhere holds of the request's conversation, if that pays; how long it takes.
    double fetch_prefix(std::int32_t index, std::int64_t p, double now_s) {
        const std::int32_t conversation = client_columns.conversation_id[index];
        const std::int32_t holder = conversation >= 0 && !home_replica_.empty() ? home_replica_[conversation] : -1;
        if (holder < 0 || preferred_replica_[index] >= 0) return 0.0;
        const std::int64_t q = pool_of_[holder];
        if (!arrays_.route_mask[requests[index].class_id * num_pools() + q]) return 0.0;
        catch_up(q, now_s);
        const std::int64_t tokens = replicas_[holder].cached_tokens(*this, pool(q), index, now_s);
        if (!kv_moves_.beats_computing(q, p, tokens)) return 0.0;
        cache_use[index].migrated_tokens = static_cast<std::int32_t>(tokens);
        return kv_moves_.send(q, p, tokens);
    }

    // The pool of the replica that last served the request's conversation, if it should return there; else `p`.
    std::int64_t return_home(std::int32_t index, std::int64_t p, double now_s) {
        const Request& request = requests[index];
        const std::int32_t conversation = client_columns.conversation_id[index];
        const std::int32_t home = conversation >= 0 ? home_replica_[conversation] : -1;
        preferred_replica_[index] = -1;
        if (home < 0) return p;
        const std::int64_t q = pool_of_[home];
        double* credit = &route_credit_[request.class_id * num_pools()];
        if (share_[request.class_id * num_pools() + q] <= 0.0 || replicas_[home].state != State::kAwake) return p;
        catch_up(p, now_s);
        catch_up(q, now_s);
        const std::int64_t cached = replicas_[home].cached_tokens(*this, pool(q), index, now_s);
        if (cached == 0 || request.prompt_tokens + request.output_tokens > pool(q).context_limit_tokens) return p;
        const double least = static_cast<double>(load_tokens_[least_loaded(p)]);
        const double allowed = least + prefix_affinity_[request.class_id] * static_cast<double>(cached);
        if (static_cast<double>(load_tokens_[home]) > allowed) return p;
        preferred_replica_[index] = home;
        credit[p] += 1.0;
        credit[q] -= 1.0;
        return q;
    }

    // Pass every boundary of a pool up to now, where that has not been done in order of time.
    void catch_up(std::int64_t p, double now_s) {
        if (in_order_of_time_) return;
        const std::int64_t first = pool(p).first_replica, end = first + pool(p).replicas;
        for (std::int64_t r = first; r < end; ++r) {
            while (next_event_s_[r] <= now_s) pass_boundary(r, p);
        }
    }

    std::int64_t least_loaded(std::int64_t p) const {
        const auto first = load_tokens_.begin() + pool(p).first_replica;
        return std::min_element(first, first + pool(p).replicas) - load_tokens_.begin();
    }

    double network_of(std::int32_t index) const { return network_s_.empty() ? 0.0 : network_s_[index]; }

    // A request reaches its pool; none of whose replicas may be awake any more.
    void enter(std::int32_t index, std::int64_t p, double now_s) {
        catch_up(p, now_s);
        std::int64_t r = preferred_replica_.empty() ? -1 : preferred_replica_[index];
        if (r < 0 || load_tokens_[r] == kClosed) r = least_loaded(p);
        if (load_tokens_[r] == kClosed) return fail(index, now_s, Status::kRefused);
        const bool is_computed = pool(p).takes_over && progress[index].computed;
        if (!preferred_replica_.empty() && client_columns.conversation_id[index] >= 0 && !is_computed) {
            home_replica_[client_columns.conversation_id[index]] = static_cast<std::int32_t>(r);
        }
        FleetReplica& chosen = replicas_[r];
        replica_of[index] = static_cast<std::int32_t>(r);
        chosen.take(*this, pool(p), physics_[p], index, now_s);
        note(r);
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
            BoardEnergy boards;
            double host_j = 0.0;
            Counts counts;
            const std::int64_t first = pool(p).first_replica, end = first + pool(p).replicas;
            for (std::int64_t r = first; r < end; ++r) {
                FleetReplica& replica = replicas_[r];
                while (next_event_s_[r] < end_s) pass_boundary(r, p);
                replica.read_meter(pool(p), end_s);
                const BoardEnergy energy = replica.take_energy();
                boards.busy_j += energy.busy_j;
                boards.idle_j += energy.idle_j;
                boards.asleep_j += energy.asleep_j;
                host_j += this->host_j(replica, p, energy.busy_j + energy.idle_j + energy.asleep_j);
                counts += replica.take_counts();
            }
            outcome_[arrays_.outcome.busy_energy_j + p] = boards.busy_j;
            outcome_[arrays_.outcome.idle_energy_j + p] = boards.idle_j;
            outcome_[arrays_.outcome.asleep_energy_j + p] = boards.asleep_j;
            outcome_[arrays_.outcome.host_energy_j + p] = host_j;
            outcome_[arrays_.outcome.it_energy_j + p] = boards.busy_j + boards.idle_j + boards.asleep_j + host_j;
            outcome_[arrays_.outcome.generated_tokens + p] = static_cast<double>(counts.generated_tokens);
            outcome_[arrays_.outcome.prefilled_tokens + p] = static_cast<double>(counts.prefilled_tokens);
            outcome_[arrays_.outcome.prefix_hit_tokens + p] = static_cast<double>(counts.prefix_hit_tokens);
            outcome_[arrays_.outcome.host_hit_tokens + p] = static_cast<double>(counts.host_hit_tokens);
            outcome_[arrays_.outcome.migrated_tokens + p] = static_cast<double>(counts.migrated_tokens);
            outcome_[arrays_.outcome.handed_off_tokens + p] = static_cast<double>(counts.handed_off_tokens);
            outcome_[arrays_.outcome.taken_over_tokens + p] = static_cast<double>(counts.taken_over_tokens);
            outcome_[arrays_.outcome.preemptions + p] = static_cast<double>(counts.preemptions);
            outcome_[arrays_.outcome.preempted_tokens + p] = static_cast<double>(counts.preempted_tokens);
        }
    }

    // What the servers around boards that took `boards_j` took in the tick.
    double host_j(const FleetReplica& replica, std::int64_t p, double boards_j) const {
        double steady_w = replica.state == State::kAsleep ? pool(p).host_asleep_w : pool(p).host_w;
        if (replica.state == State::kDark || replica.state == State::kFailed) steady_w = 0.0;
        const double host_j = steady_w * arrays_.tick_s + pool(p).host_w_per_board_w * boards_j;
        return host_j * host_power_factor_[pool(p).site];
    }

    double ttft_s(std::int32_t index) const { return requests[index].first_token_s - clients_.asked_s[index]; }

    bool within_slo(std::int32_t index, double now_s) const {
        const Request& request = requests[index];
        const RequestClass& limits = arrays_.classes[request.class_id];
        const bool in_ttft = ttft_s(index) <= limits.ttft_s;
        // Without a limit inf * 0 would be NaN for a one-token answer.
        const bool in_tpot = request.output_tokens == 1 ||
                             now_s - request.first_token_s <= limits.tpot_s * (request.output_tokens - 1);
        return in_ttft && in_tpot && now_s - clients_.asked_s[index] <= limits.deadline_s;
    }

    // An attempt has come to nothing.
    void fail(std::int32_t index, double now_s, Status how) {
        const OutcomeLayout& o = arrays_.outcome;
        if (clients_.fail(index, now_s, how)) {
            outcome_[o.retries + requests[index].class_id] += 1.0;
        } else {
            lose(index, now_s, how);
        }
    }

    void lose(std::int32_t index, double now_s, Status how) {
        const OutcomeLayout& o = arrays_.outcome;
        const Columns columns = how == Status::kDeclined
            ? Columns{o.declined, o.prompt_tokens_declined, o.output_tokens_declined, o.value_declined_usd}
            : Columns{how == Status::kRefused ? o.refused : o.expired, o.prompt_tokens_lost, o.output_tokens_lost, o.value_lost_usd};
        end(index, now_s, how, columns, 0);
    }

    // A request has come to its end; returns its price.
    double end(std::int32_t index, double now_s, Status how, const Columns& columns, std::int32_t hit_tokens) {
        const Request& request = requests[index];
        const double value_usd = billing_.value_usd(request, index, hit_tokens);
        status[index] = how;
        finished_s[index] = now_s;
        outcome_[columns.count + request.class_id] += 1.0;
        outcome_[columns.prompt_tokens + request.class_id] += request.prompt_tokens;
        outcome_[columns.output_tokens + request.class_id] += request.output_tokens;
        outcome_[columns.value_usd + request.class_id] += value_usd;
        return value_usd;
    }

    // 4. Meters, brake, breaker.

    void read_meters(double start_s, double end_s, const double* battery_power_w) {
        const std::int64_t now = tick_ * num_sites(), now_rows = tick_ * num_rows();
        const SiteTick tick{.start_s = start_s,
                            .end_s = end_s,
                            .cap_w = &cap_w_[now],
                            .rating_w = &rating_w_[now],
                            .row_cap_w = row_cap_w_.data() + now_rows,
                            .row_rating_w = row_rating_w_.data() + now_rows,
                            .solar_w = &solar_w_[now],
                            .outdoor_c = &outdoor_c_[now],
                            .pue = &pue_[now],
                            .fixed_w = fixed_w_.data(),
                            .battery_power_w = battery_power_w};
        power_.read_meters(tick, outcome_, [&](std::int64_t p) { go_dark(p, end_s); });
    }

    void count_running_tokens() {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            std::int64_t running = 0;
            for (const auto& replica : replicas_of(p)) running += replica.running_tokens(*this);
            outcome_[arrays_.outcome.running_tokens_change + p] = static_cast<double>(running - running_tokens_[p]);
            running_tokens_[p] = running;
        }
    }

    void go_dark(std::int64_t p, double now_s) {
        for (auto& replica : replicas_of(p)) {
            if (replica.state != State::kFailed) stop(replica, now_s, State::kDark);
        }
    }

    // What the brain sees.

    void write_view() {
        const ViewLayout& v = arrays_.view;
        const OutcomeLayout& o = arrays_.outcome;
        for (std::int64_t p = 0; p < num_pools(); ++p) write_pool_view(p);
        for (std::int64_t k = 0; k < num_classes(); ++k) {
            view_[v.held_requests + k] = static_cast<float>(held_[k].size);
            view_[v.thinking_calls + k] = static_cast<float>(clients_.thinking[k]);
            view_[v.away_requests + k] = static_cast<float>(clients_.away[k]);
            const std::int64_t priced = arrays_.classes[k].priced;
            if (priced >= 0) {
                view_[v.token_price_factor + priced] = static_cast<float>(billing_.factor[k]);
                view_[v.declined + priced] = static_cast<float>(outcome_[o.declined + k]);
            }
            view_[v.retries + k] = static_cast<float>(outcome_[o.retries + k]);
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
        power_.write_view(now_s, exogenous, exogenous + (v.row_cap_w - v.exogenous), outcome_, view_);
        std::copy(exogenous, exogenous + exogenous_width(), view_ + v.exogenous);
    }

    void write_pool_view(std::int64_t p) {
        const ViewLayout& v = arrays_.view;
        std::int64_t waiting = 0, running = 0, unprefilled = 0, kv_used = 0, cached = 0, awake = 0, waking = 0, failed = 0;
        for (auto& replica : replicas_of(p)) {
            waiting += replica.waiting();
            running += replica.running();
            unprefilled += replica.unprefilled_tokens;
            kv_used += replica.kv_used(pool(p));
            cached += replica.cached_tokens(pool(p));
            awake += replica.state == State::kAwake;
            waking += replica.state == State::kWaking;
            failed += replica.state == State::kFailed;
        }
        const auto capacity = static_cast<double>(pool(p).kv_tokens * pool(p).replicas);
        view_[v.waiting_requests + p] = static_cast<float>(waiting);
        view_[v.running_requests + p] = static_cast<float>(running);
        view_[v.unprefilled_tokens + p] = static_cast<float>(unprefilled);
        view_[v.kv_reserved_fraction + p] = static_cast<float>(static_cast<double>(kv_used) / capacity);
        view_[v.cached_fraction + p] = static_cast<float>(static_cast<double>(cached) / capacity);
        view_[v.awake_replicas + p] = static_cast<float>(awake);
        view_[v.waking_replicas + p] = static_cast<float>(waking);
        view_[v.failed_replicas + p] = static_cast<float>(failed);
        view_[v.clock_fraction + p] = static_cast<float>(clock_fraction_[p]);
        const double energy_j = outcome_[arrays_.outcome.it_energy_j + p];
        view_[v.pool_power_w + p] = static_cast<float>(energy_j / arrays_.tick_s);
        view_[v.generated_tokens + p] = static_cast<float>(outcome_[arrays_.outcome.generated_tokens + p]);
    }
};

}  // namespace tokenfleet
