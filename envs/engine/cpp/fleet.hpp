// One fleet through time: the C++ mirror of envs/engine/reference/fleet.py, whose docstring specifies a tick. What happens
// within a tick is in fleet_events.hpp, what has power and at which clocks in fleet_power.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "admission.hpp"
#include "agreements.hpp"
#include "arrays.hpp"
#include "billing.hpp"
#include "clients.hpp"
#include "controls.hpp"
#include "course.hpp"
#include "demand.hpp"
#include "endings.hpp"
#include "hand_offs.hpp"
#include "kv_moves.hpp"
#include "links.hpp"
#include "overdue.hpp"
#include "physics.hpp"
#include "pool_meter.hpp"
#include "pool_state.hpp"
#include "power_delivery.hpp"
#include "prefetch.hpp"
#include "replicas.hpp"
#include "router.hpp"
#include "view.hpp"

namespace tokenfleet {

// All sites, pools and replicas of one environment, for one episode.
class Fleet {
public:
    // Begin with everything awake and idle. `demand` is the episode's; `view` and `outcome` are the rows that it writes.
    Fleet(const FleetArrays& arrays, const EpisodeColumns& episode, Demand demand, float* view, double* outcome)
        : Fleet(arrays, Course(arrays, episode), std::move(demand), view, outcome) {
        for (PoolState& pool : pools_) {
            pool.physics = physics_at(pool.limits, course_.decode_memory_fraction[pool.index], 1.0);
            if (pool.variant == nullptr) continue;
            const double fraction = course_.variant_memory_fraction[pool.limits.variant];
            pool.variant_physics.make(physics_at(*pool.variant, fraction, 1.0));
        }
        load_contexts(episode);
        outcome_.clear();
        write_view();
    }

    // A copy of another fleet with the same arrays; it writes rows of its own.
    Fleet(const FleetArrays& arrays, const Fleet& other, float* view, double* outcome)
        : Fleet(arrays, Course(arrays), Demand(), view, outcome) {
        become(other);
    }

    Fleet(const Fleet&) = delete;  // its parts refer to each other
    Fleet& operator=(const Fleet&) = delete;

    // Take over the state of another fleet with the same arrays; what never changes is shared.
    void become(const Fleet& other) {
        view_.copy(other.view_);
        outcome_.copy(other.outcome_);
        course_ = other.course_;
        demand_ = other.demand_;
        clients_ = other.clients_;
        billing_ = other.billing_;
        overdue_ = other.overdue_;
        agreements_ = other.agreements_;
        admission_ = other.admission_;
        power_ = other.power_;
        in_order_of_time_ = other.in_order_of_time_;
        pools_ = other.pools_;  // as many as there are: each is assigned
        replicas_ = other.replicas_;
        router_ = other.router_;
        tick_ = other.tick_;
        next_request_ = other.next_request_;
    }

    // Memory of what changes in an episode, but for a few numbers of each site, class, replica and window.
    std::size_t state_bytes() const { return parts_bytes() + demand_.bytes(); }

    // The same, of the requests only those under way.
    std::size_t live_bytes() const { return parts_bytes() + demand_.live_bytes(); }

    // Go on in another episode that agrees with this one up to now. Request i stands in row[i] of it, in the same order, or
    // nowhere (-1) if it has not been made and no client is thinking about it.
    void change_future(const EpisodeColumns& episode, const std::int32_t* row) {
        const Demand before = std::move(demand_);
        demand_ = Demand();
        demand_.load(arrays_, episode);
        demand_.continue_from(before, row);
        course_.change_future(Course(arrays_, episode));
        clients_.change_future(before, row);
        billing_.change_future(before, row);
        overdue_.renumber(row);
        admission_.renumber(row);
        for (Replica& replica : replicas_.all()) replica.renumber(row);
        router_.change_future(before, row);
        if (clients_.has_feedback && !in_order_of_time_) replicas_.begin_order_of_time();
        in_order_of_time_ |= clients_.has_feedback;
    }

    // Give up the demand, whose memory another fleet fills anew; this fleet can do nothing more.
    Demand release_demand() { return std::move(demand_); }

    // Calls that clients are thinking about.
    std::vector<std::int32_t> thinking() const { return clients_.thought_of(); }

    std::int64_t tick() const { return tick_; }
    const std::vector<Request>& requests() const { return demand_.requests; }

    // Advance by one tick.
    void step(const ControlsRow& controls) {
        for (std::size_t i = 0; i < kArrivalsAhead; ++i) prefetch_arrival(demand_, next_request_ + i);
        for (const Replica& replica : replicas_.all()) replica.prefetch();
        clients_.prefetch();
        const SiteTick tick = course_.at(tick_, controls);
        outcome_.clear();
        break_and_repair(tick.start_s);
        apply_power_states(tick.start_s, controls);
        apply_clocks(controls.clock_fraction);
        router_.set_shares(controls.route_share, controls.prefix_affinity);
        admission_.set_rates(controls.admit_rate_rps);
        billing_.set_prices(controls.token_price_factor);
        run(tick.start_s, tick.end_s);
        meter(tick.end_s);
        read_meters(tick);
        overdue_.look(tick.end_s);
        agreements_.account(tick_, outcome_);
        ++tick_;
        write_view();
    }

private:
    const FleetArrays& arrays_;
    const View view_;
    const Outcome outcome_;
    Course course_;
    Demand demand_;
    Clients clients_;
    Billing billing_;
    Overdue overdue_;
    Agreements agreements_;
    Endings endings_;
    Admission admission_;
    KvMoves kv_moves_;
    HandOffs hand_offs_;
    PowerDelivery power_;
    bool in_order_of_time_;  // see replicas.hpp
    std::vector<PoolState> pools_;
    Replicas replicas_;
    Router router_;
    std::int64_t tick_ = 0;
    std::size_t next_request_ = 0;

    // At rest and without physics.
    Fleet(const FleetArrays& arrays, Course course, Demand demand, float* view, double* outcome)
        : arrays_(arrays),
          view_(arrays.view, view),
          outcome_(arrays.outcome, outcome),
          course_(std::move(course)),
          demand_(std::move(demand)),
          clients_(arrays, demand_),
          billing_(arrays, demand_),
          overdue_(arrays, demand_, billing_, outcome_),
          agreements_(arrays),
          endings_(arrays, demand_, clients_, billing_, overdue_, outcome_),
          admission_(arrays, demand_),
          kv_moves_(arrays, outcome_),
          hand_offs_(arrays, demand_, clients_, endings_, kv_moves_),
          power_(arrays),
          in_order_of_time_(clients_.has_feedback || arrays.has_hand_offs()),
          pools_(make_pools()),
          replicas_(arrays, pools_, in_order_of_time_),
          router_(arrays, demand_, replicas_) {}

    std::size_t parts_bytes() const {
        std::size_t bytes = sizeof(*this) + pools_.size() * sizeof(PoolState);
        bytes += clients_.bytes() + overdue_.bytes() + router_.bytes();
        for (const Replica& replica : replicas_.all()) bytes += replica.bytes();
        return bytes;
    }

    std::vector<PoolState> make_pools() {
        std::vector<PoolState> pools;
        for (std::int64_t p = 0; p < arrays_.num_pools(); ++p) {
            pools.push_back({{p, arrays_, demand_, endings_, hand_offs_}, {}});
        }
        return pools;
    }

    // What calls before the episode have left in prefix caches.
    void load_contexts(const EpisodeColumns& episode) {
        for (std::int64_t x = 0; x < episode.num_contexts; ++x) {
            const auto index = static_cast<std::int32_t>(episode.context_row[x]);
            const std::int64_t holder = episode.context_holder[x];
            replicas_[holder].remember(index);
            router_.move_home(index, static_cast<std::int32_t>(holder));
        }
    }

    // Failures, power states and clocks: fleet_power.hpp.

    void break_and_repair(double now_s);
    void apply_power_states(double now_s, const ControlsRow& controls);
    void apply_clocks(const double* clock_fraction);
    void go_dark(std::int64_t p, double now_s);
    void stop(Replica& replica, double now_s, State state);

    // Demand: fleet_events.hpp.

    void run(double start_s, double end_s);
    double next_arrival_s() const;
    void take_step();
    void call(std::int32_t index, double now_s);
    bool quote(std::int32_t index, std::int32_t k);
    void dispatch(std::int32_t index, double now_s);
    double fetch_prefix(std::int32_t index, std::int64_t p, double now_s);
    void enter(std::int32_t index, std::int64_t p, double now_s);

    // Meters, brake, breaker.

    void meter(double end_s) {
        for (PoolState& pool : pools_) {
            meter_pool(pool, replicas_, arrays_.tick_s, end_s, course_.host_power_factor[pool.limits.site], outcome_);
        }
    }

    void read_meters(const SiteTick& tick) {
        for (const std::int64_t p : power_.read_meters(tick, outcome_)) go_dark(p, tick.end_s);
        for (PoolState& pool : pools_) {
            std::int64_t running = 0;
            for (const Replica& replica : replicas_.of(pool.index)) running += replica.running_tokens();
            outcome_(Outcome::running_tokens_change, pool.index) = static_cast<double>(running - pool.running_tokens);
            pool.running_tokens = running;
        }
    }

    // What a policy sees.

    void write_view() {
        for (const PoolState& pool : pools_) {
            const std::int64_t p = pool.index;
            write_pool(view_, pool.limits, p, replicas_.of(p));
            view_.set(View::clock_fraction, p, pool.clock_fraction);
            view_.set(View::pool_power_w, p, outcome_(Outcome::it_energy_j, p) / arrays_.tick_s);
            view_.set(View::generated_tokens, p, outcome_(Outcome::generated_tokens, p));
        }
        write_classes(view_, arrays_, outcome_, clients_, admission_, billing_);
        agreements_.write_view(view_);
        const double now_s = static_cast<double>(tick_) * arrays_.tick_s;
        const float* exogenous = course_.exogenous(tick_);
        const float* row_cap_w = exogenous + (arrays_.view.row_cap_w - arrays_.view.exogenous);
        power_.write_view(now_s, exogenous, row_cap_w, outcome_, view_);
        view_.set_exogenous(exogenous);
    }
};

}  // namespace tokenfleet
