// One fleet through time: the C++ mirror of envs/engine/reference/fleet.py, whose docstring specifies a tick.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "admission.hpp"
#include "arrays.hpp"
#include "billing.hpp"
#include "calls.hpp"
#include "clients.hpp"
#include "course.hpp"
#include "earliest.hpp"
#include "endings.hpp"
#include "kv_moves.hpp"
#include "power_delivery.hpp"
#include "power_states.hpp"
#include "replica.hpp"
#include "router.hpp"
#include "view.hpp"

namespace tokenfleet {

// One environment's row of each control array.
struct ControlsRow {
#define TOKENFLEET_POINTER(name, length) const double* name;
    TOKENFLEET_CONTROLS(TOKENFLEET_POINTER)
#undef TOKENFLEET_POINTER
};

class Fleet {
public:
    Demand demand;  // its calls are loaded before `reset`

    std::int64_t tick() const { return tick_; }

    Fleet(const FleetArrays& arrays, float* view, double* outcome)
        : arrays_(arrays),
          view_(view),
          outcome_(outcome),
          course_(arrays),
          power_(arrays),
          kv_moves_(arrays, outcome),
          clients_(arrays, demand),
          billing_(arrays, demand),
          admission_(arrays),
          router_(arrays, demand),
          endings_(arrays, demand, clients_, billing_, outcome),
          replicas_(static_cast<std::size_t>(arrays.num_replicas)),
          physics_(arrays.pools.size()),
          clock_fraction_(arrays.pools.size()),
          pool_is_open_(arrays.pools.size()) {}

    Fleet(const Fleet&) = delete;  // its parts refer to each other
    Fleet& operator=(const Fleet&) = delete;

    void reset(const EpisodeColumns& episode) {
        load_requests(episode);
        course_.load(episode);
        clients_.reset();
        billing_.reset();
        admission_.reset();
        router_.reset();
        power_.reset();
        in_order_of_time_ = clients_.has_feedback || arrays_.any_pool([](const Pool& p) { return p.hand_off_to >= 0; });
        next_boundary_.reset(in_order_of_time_ ? replicas_.size() : 1);
        next_event_s_.assign(replicas_.size(), kNever);
        running_tokens_.assign(arrays_.pools.size(), 0);
        tick_ = 0;
        next_request_ = 0;
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            clock_fraction_[p] = 1.0;
            physics_[p] = at_clock(pool(p), course_.decode_memory_fraction[p], 1.0);
            for (auto& replica : replicas_of(p)) replica.reset(pool(p));
        }
        load_contexts(episode);
        std::fill(outcome_, outcome_ + arrays_.outcome.width, 0.0);
        write_view();
    }

    // To be called some time before `step`.
    [[gnu::always_inline]] inline void bring_itself_near() const {
        for (const auto& replica : replicas_) replica.bring_itself_near();
    }

    void step(const ControlsRow& controls) {
        // A heap's first and its four children: the next two for certain.
        for (const auto& replica : replicas_) replica.bring_completions_near(*this, 5);
        const SiteTick tick = course_.at(tick_, controls.battery_power_w);
        std::fill(outcome_, outcome_ + arrays_.outcome.width, 0.0);
        break_and_repair(tick.start_s);
        apply_power_states(tick.start_s, controls.awake_fraction);
        apply_clocks(controls.clock_fraction);
        router_.set_shares(controls.route_share, pool_is_open_, controls.prefix_affinity);
        admission_.set_rates(controls.admit_rate_rps);
        billing_.set_prices(controls.token_price_factor);
        run(tick.start_s, tick.end_s);
        finish_tick(tick.end_s);
        power_.read_meters(tick, outcome_, [&](std::int64_t p) { go_dark(p, tick.end_s); });
        count_running_tokens();
        ++tick_;
        write_view();
    }

    // What a replica asks and reports.

    std::int64_t output_weight(std::int32_t k) const { return arrays_.classes[k].output_weight; }
    double patience_s(std::int32_t k) const { return arrays_.classes[k].patience_s; }
    Prompt prompt(std::int32_t index) const {
        const Call& call = demand.calls[index];
        return {index,
                call.conversation_id,
                call.group_id,
                call.group_tokens,
                demand.requests[index].prompt_tokens,
                demand.details[index].cache.migrated_tokens};
    }
    void on_first_token(std::int32_t index, std::int32_t hit_tokens) {
        endings_.first_token(demand.requests[index], index, hit_tokens);
    }
    void on_complete(std::int32_t index, double at_site_s) {
        endings_.complete(demand.requests[index], index, pool(router_.pool_of[demand.requests[index].replica]).site, at_site_s);
    }
    void on_expired(std::int32_t index, double now_s) { fail(index, now_s, Status::kExpired); }
    void on_lost(std::int32_t index, double now_s) { fail(index, now_s, Status::kRefused); }

    // A pool has prefilled a request that another pool decodes: its KV cache goes there.
    void on_hand_off(std::int32_t index, double now_s) {
        const std::int64_t p = router_.pool_of[demand.requests[index].replica], q = pool(p).hand_off_to;
        router_.prefer_nothing(index);
        endings_.note_site(index, pool(q).site);
        const double way_s = kv_moves_.send(p, q, demand.requests[index].prompt_tokens);
        clients_.travel(index, static_cast<std::int32_t>(q), now_s + way_s);
    }

    // What the router asks.

    // Pass every boundary of a pool up to now, where that has not been done in order of time.
    void catch_up(std::int64_t p, double now_s) {
        if (in_order_of_time_) return;
        const std::int64_t first = pool(p).first_replica, end = first + pool(p).replicas;
        for (std::int64_t r = first; r < end; ++r) {
            if (next_event_s_[r] <= now_s) pass_boundaries(r, p, now_s);
        }
    }

    // Leading tokens of a request that a replica holds now.
    std::int64_t cached_tokens(std::int64_t r, std::int32_t index, double now_s) {
        const std::int64_t p = router_.pool_of[r];
        catch_up(p, now_s);
        return replicas_[r].cached_tokens(*this, pool(p), index, now_s);
    }

private:
    using FleetReplica = Replica<Fleet>;

    const FleetArrays& arrays_;
    float* view_;
    double* outcome_;
    Course course_;
    PowerDelivery power_;
    KvMoves kv_moves_;
    Clients clients_;
    Billing billing_;
    Admission admission_;
    Router router_;
    Endings endings_;
    std::int64_t tick_ = 0, next_request_ = 0;
    std::size_t num_roots_ = 0;  // requests that wait for no other; they stand first
    std::vector<FleetReplica> replicas_;
    std::vector<double> next_event_s_;        // of each replica
    std::vector<Physics> physics_;            // [P] at the clock in force
    std::vector<double> clock_fraction_;      // [P]
    std::vector<std::uint8_t> pool_is_open_;  // [P] has an awake replica
    std::vector<std::int64_t> running_tokens_;  // [P] at the end of the last tick
    bool in_order_of_time_ = false;  // what happens at one replica can bring something to another
    Earliest next_boundary_;         // of every replica; kept only if in_order_of_time_

    std::int64_t num_pools() const { return static_cast<std::int64_t>(arrays_.pools.size()); }
    const Pool& pool(std::int64_t p) const { return arrays_.pools[p]; }
    std::span<FleetReplica> replicas_of(std::int64_t p) {
        return {replicas_.data() + pool(p).first_replica, static_cast<std::size_t>(pool(p).replicas)};
    }
    std::size_t index_of(const FleetReplica& replica) const {
        return static_cast<std::size_t>(&replica - replicas_.data());
    }

    void load_requests(const EpisodeColumns& e) {
        const auto count = static_cast<std::size_t>(e.num_requests);
        num_roots_ = static_cast<std::size_t>(std::lower_bound(e.arrival_s, e.arrival_s + count, kNever) - e.arrival_s);
        remake(demand.requests, count);
        for (std::size_t i = 0; i < count; ++i) {
            demand.requests[i] = {.arrival_s = e.arrival_s[i],
                                  .prompt_tokens = e.prompt_tokens[i],
                                  .output_tokens = e.output_tokens[i],
                                  .class_id = e.class_id[i]};
        }
        const bool kv_grows = arrays_.any_pool([](const Pool& p) { return p.kv_grows; });
        const bool detailed = kv_grows || arrays_.has_caches() || arrays_.has_distances() ||
                              demand.calls.has_successors() || Billing::moves_prices(arrays_);
        remake(demand.details, detailed ? count : 0);
        for (std::size_t i = 0; i < demand.details.size(); ++i) {
            demand.details[i] = {.unfinished_predecessors = demand.calls[static_cast<std::int32_t>(i)].predecessors};
        }
    }

    // What calls before the episode have left in prefix caches.
    void load_contexts(const EpisodeColumns& e) {
        for (std::int64_t x = 0; x < e.num_contexts; ++x) {
            const auto index = static_cast<std::int32_t>(e.context_row[x]);
            const auto holder = static_cast<std::int32_t>(e.context_holder[x]);
            replicas_[holder].remember(*this, index, demand.calls[index].reusable_tokens);
            router_.move_home(index, holder);
        }
    }

    // 1. Failures, power states and clocks.

    // What is repaired is switched off and may be woken.
    void break_and_repair(double now_s) {
        if (!course_.has_failures()) return;
        for (auto& replica : replicas_) {
            if (replica.state == State::kFailed && replica.ready_s <= now_s) replica.state = State::kAsleep;
        }
        while (const Failure* failure = course_.take_failure(tick_)) {
            FleetReplica& replica = replicas_[failure->replica];
            stop(replica, now_s, State::kFailed);
            replica.ready_s = failure->repaired_s;
        }
    }

    void apply_power_states(double now_s, const double* awake_fraction) {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            pool_is_open_[p] = 0;
            if (power_.is_dark(pool(p), now_s)) continue;
            const std::span<FleetReplica> replicas = replicas_of(p);
            follow(replicas, pool(p), awake_fraction[p], now_s);
            for (auto& replica : replicas) {
                pool_is_open_[p] |= replica.state == State::kAwake;
                note(index_of(replica));
            }
        }
    }

    void apply_clocks(const double* clock_fraction) {
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            const double asked = std::min(std::max(clock_fraction[p], pool(p).clock_floor_fraction), 1.0);
            const double clock = power_.clock_in_force(p, asked);
            if (clock == clock_fraction_[p]) continue;
            clock_fraction_[p] = clock;
            physics_[p] = at_clock(pool(p), course_.decode_memory_fraction[p], clock);
            for (auto& replica : replicas_of(p)) {
                replica.on_new_clock();
                note(index_of(replica));
            }
        }
    }

    // 2. Demand.

    // Everything from `start_s` to just before `end_s`, in order of time; at a tie, in the order of the cases. Where no
    // answer brings a further call and no pool hands off, a pool's iterations are left to when a request reaches it and to
    // the end of the tick.
    void run(double start_s, double end_s) {
        const auto expire = [&](std::int32_t index) { fail(index, start_s, Status::kExpired); };
        const std::vector<Release>& released = admission_.release(demand.requests, start_s, expire);
        std::size_t turn = 0;
        while (true) {
            const double release_s = turn < released.size() ? released[turn].time_s : kNever;
            const double step_s = clients_.next_s(), arrival_s = next_arrival_s();
            const double next_s = std::min(release_s, std::min(step_s, arrival_s));
            if (in_order_of_time_ && next_boundary_.time_s() <= next_s && next_boundary_.time_s() < end_s) {
                pass_boundaries(next_boundary_.index(), router_.pool_of[next_boundary_.index()], next_boundary_.time_s());
            } else if (next_s >= end_s) {
                return;
            } else if (release_s == next_s) {
                dispatch(released[turn++].index, release_s);
            } else if (step_s == next_s) {
                take_step();
            } else {
                call(static_cast<std::int32_t>(next_request_++), arrival_s);
            }
        }
    }

    double next_arrival_s() const {
        const auto next = static_cast<std::size_t>(next_request_);
        return next < num_roots_ ? demand.requests[next].arrival_s : kNever;
    }

    // Pass the next boundary of a replica and every further one up to `until_s`.
    void pass_boundaries(std::size_t r, std::int64_t p, double until_s) {
        replicas_[r].pass_boundaries(*this, pool(p), physics_[p], until_s);
        note(r);
    }

    // Keep what is asked of every replica in dense arrays, to be called when it may have changed.
    void note(std::size_t r) {
        const FleetReplica& replica = replicas_[r];
        next_event_s_[r] = replica.next_event_s;
        router_.load_tokens[r] = replica.state == State::kAwake ? replica.work_tokens : Router::kClosed;
        if (in_order_of_time_) next_boundary_.set(r, replica.next_event_s);
    }

    void take_step() {
        const Step step = clients_.take_step();
        if (step.pool != kCalls) {
            enter(step.index, step.pool, step.time_s);
        } else if (!clients_.has_given_up(step.index)) {
            call(step.index, step.time_s);
        } else if (demand.requests[step.index].failed_attempts > 0) {
            endings_.lose(demand.requests[step.index], step.index, step.time_s, demand.requests[step.index].last_failure);
        }
    }

    // A client makes a call, or tries it again.
    void call(std::int32_t index, double now_s) {
        Request& request = demand.requests[index];
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
            admission_.hold(demand.requests, index);
        } else if (admission_.admit(k, now_s)) {
            dispatch(index, now_s);
        } else {
            fail(index, now_s, Status::kRefused);
        }
    }

    // Choose a pool and send the request there.
    void dispatch(std::int32_t index, double now_s) {
        if (!demand.details.empty()) {
            demand.details[index].progress = {};
            demand.details[index].cache = {};
        }
        const std::int64_t p = router_.choose_pool(*this, demand.requests[index], index, now_s);
        if (p < 0) return fail(index, now_s, Status::kRefused);
        endings_.note_site(index, pool(p).site);
        double way_s = endings_.network_s(index) + demand.requests[index].prompt_tokens * endings_.upload_token_s(index);
        if (pool(p).migrates_prefixes) way_s = std::max(way_s, fetch_prefix(index, p, now_s));
        if (way_s > 0.0) return clients_.travel(index, static_cast<std::int32_t>(p), now_s + way_s);
        enter(index, p, now_s);
    }

    // Send for what a replica elsewhere holds of the request's conversation, if that pays; how long it takes.
    double fetch_prefix(std::int32_t index, std::int64_t p, double now_s) {
        const std::int32_t holder = router_.holder(demand.requests[index], index);
        if (holder < 0 || router_.preferred(index) >= 0) return 0.0;
        const std::int64_t q = router_.pool_of[holder], tokens = cached_tokens(holder, index, now_s);
        if (!kv_moves_.beats_computing(q, p, tokens)) return 0.0;
        demand.details[index].cache.migrated_tokens = static_cast<std::int32_t>(tokens);
        return kv_moves_.send(q, p, tokens);
    }

    // A request reaches its pool; none of whose replicas may be awake any more.
    void enter(std::int32_t index, std::int64_t p, double now_s) {
        catch_up(p, now_s);
        const std::int64_t r = router_.choose_replica(index, p, pool(p).takes_over && demand.details[index].progress.computed);
        if (r < 0) return fail(index, now_s, Status::kRefused);
        demand.requests[index].replica = static_cast<std::int32_t>(r);
        replicas_[r].take(*this, pool(p), physics_[p], index, now_s);
        note(r);
    }

    void fail(std::int32_t index, double now_s, Status how) { endings_.fail(demand.requests[index], index, now_s, how); }

    // 3. The rest of the tick.

    void finish_tick(double end_s) {
        const double last_s = std::nextafter(end_s, 0.0);  // a boundary at the end of the tick belongs to the next
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            BoardEnergy boards;
            double host_j = 0.0;
            Counts counts;
            const std::int64_t first = pool(p).first_replica, end = first + pool(p).replicas;
            for (std::int64_t r = first; r < end; ++r) {
                FleetReplica& replica = replicas_[r];
                if (next_event_s_[r] <= last_s) pass_boundaries(r, p, last_s);
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
            write_counts(counts, p);
        }
    }

    // What the servers around boards that took `boards_j` took in the tick.
    double host_j(const FleetReplica& replica, std::int64_t p, double boards_j) const {
        double steady_w = replica.state == State::kAsleep ? pool(p).host_asleep_w : pool(p).host_w;
        if (replica.state == State::kDark || replica.state == State::kFailed) steady_w = 0.0;
        const double host_j = steady_w * arrays_.tick_s + pool(p).host_w_per_board_w * boards_j;
        return host_j * course_.host_power_factor[pool(p).site];
    }

    void write_counts(const Counts& counts, std::int64_t p) {
        const OutcomeLayout& o = arrays_.outcome;
        outcome_[o.generated_tokens + p] = static_cast<double>(counts.generated_tokens);
        outcome_[o.prefilled_tokens + p] = static_cast<double>(counts.prefilled_tokens);
        outcome_[o.prefix_hit_tokens + p] = static_cast<double>(counts.prefix_hit_tokens);
        outcome_[o.host_hit_tokens + p] = static_cast<double>(counts.host_hit_tokens);
        outcome_[o.migrated_tokens + p] = static_cast<double>(counts.migrated_tokens);
        outcome_[o.handed_off_tokens + p] = static_cast<double>(counts.handed_off_tokens);
        outcome_[o.taken_over_tokens + p] = static_cast<double>(counts.taken_over_tokens);
        outcome_[o.preemptions + p] = static_cast<double>(counts.preemptions);
        outcome_[o.preempted_tokens + p] = static_cast<double>(counts.preempted_tokens);
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

    // A replica loses its power and with it every request.
    void stop(FleetReplica& replica, double now_s, State state) {
        const std::size_t r = index_of(replica);
        outcome_[arrays_.outcome.dropped_tokens + router_.pool_of[r]] += static_cast<double>(replica.running_tokens(*this));
        replica.drop_everything(*this, now_s);
        replica.state = state;
        note(r);
    }

    // What the brain sees.

    void write_view() {
        const ViewLayout& v = arrays_.view;
        for (std::int64_t p = 0; p < num_pools(); ++p) {
            write_pool(view_, arrays_, p, replicas_of(p));
            view_[v.clock_fraction + p] = static_cast<float>(clock_fraction_[p]);
            view_[v.pool_power_w + p] = static_cast<float>(outcome_[arrays_.outcome.it_energy_j + p] / arrays_.tick_s);
            view_[v.generated_tokens + p] = static_cast<float>(outcome_[arrays_.outcome.generated_tokens + p]);
        }
        write_classes(view_, arrays_, outcome_, clients_, admission_, billing_);
        const double now_s = static_cast<double>(tick_) * arrays_.tick_s;
        const float* exogenous = course_.exogenous(tick_);
        power_.write_view(now_s, exogenous, exogenous + (v.row_cap_w - v.exogenous), outcome_, view_);
        std::copy(exogenous, exogenous + course_.exogenous_width(), view_ + v.exogenous);
    }
};

}  // namespace tokenfleet
