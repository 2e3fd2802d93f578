// Python face of the native engine; envs/engine/native.py is its only user and has checked every shape.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "workers.hpp"

namespace nb = nanobind;
using namespace tokenfleet;

namespace {

template <typename T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

// Columns of a Python object, by attribute name.
class Columns {
public:
    explicit Columns(nb::handle object) : object_(nb::borrow(object)) {}

    template <typename T>
    Array<const T> column(const char* name) const {
        return nb::cast<Array<const T>>(object_.attr(name));
    }
    std::vector<double> reals(const char* name) const {
        const auto values = column<double>(name);
        return {values.data(), values.data() + values.size()};
    }
    double real(const char* name, std::size_t i) const { return column<double>(name).data()[i]; }
    Knots knots(const char* name, std::size_t i) const {
        Knots values;
        std::copy_n(column<double>(name).data() + i * kTokenKnots, kTokenKnots, values.begin());
        return values;
    }
    std::int64_t integer(const char* name, std::size_t i) const { return column<std::int64_t>(name).data()[i]; }
    nb::object part(const char* name) const { return object_.attr(name); }
    std::size_t size(const char* name) const { return column<double>(name).size(); }

private:
    nb::object object_;
};

std::vector<Pool> read_pools(const Columns& c, std::int64_t& num_replicas) {
    std::vector<Pool> pools;
    for (std::size_t p = 0; p < c.size("wake_s"); ++p) {
        const auto real = [&](const char* name) { return c.real(name, p); };
        const auto integer = [&](const char* name) { return c.integer(name, p); };
        const auto flag = [&](const char* name) { return c.column<bool>(name).data()[p]; };
        pools.push_back({
            .site = integer("site"),
            .row = integer("row"),
            .whole_site_row = integer("whole_site_row"),
            .replicas = integer("replicas"),
            .first_replica = num_replicas,
            .max_batch = integer("max_batch"),
            .token_budget = integer("token_budget"),
            .kv_tokens = integer("kv_tokens"),
            .watermark_tokens = integer("watermark_tokens"),
            .prefix_block_tokens = integer("prefix_block_tokens"),
            .host_cache_tokens = integer("host_cache_tokens"),
            .clock_latency_ticks = integer("clock_latency_ticks"),
            .hand_off_to = integer("hand_off_to"),
            .context_limit_tokens = integer("context_limit_tokens"),
            .host_load_s = real("host_load_s"),
            .kv_bytes_per_token = real("kv_bytes_per_token"),
            .prompt_token_s = real("prompt_token_s"),
            .kv_grows = flag("kv_grows"),
            .takes_over = flag("takes_over"),
            .migrates_prefixes = flag("migrates_prefixes"),
            .wake_s = real("wake_s"),
            .host_s = real("host_s"),
            .decode_s = real("decode_s"),
            .context_s = real("context_s"),
            .mixed_context_s = real("mixed_context_s"),
            .prefill_attention_s = real("prefill_attention_s"),
            .prefill_memory_fraction = real("prefill_memory_fraction"),
            .static_w = real("static_w"),
            .floor_w = real("floor_w"),
            .context_j = real("context_j"),
            .token_j = real("token_j"),
            .attention_j = real("attention_j"),
            .limit_w = real("limit_w"),
            .token_s = c.knots("token_s", p),
            .token_memory_share = c.knots("token_memory_share", p),
            .work_j = c.knots("work_j", p),
            .idle_w = real("idle_w"),
            .asleep_w = real("asleep_w"),
            .host_w = real("host_w"),
            .host_w_per_board_w = real("host_w_per_board_w"),
            .host_asleep_w = real("host_asleep_w"),
            .voltage_floor_fraction = real("voltage_floor_fraction"),
            .clock_floor_fraction = real("clock_floor_fraction"),
            .core_byte_fraction = real("core_byte_fraction"),
            .core_context_fraction = real("core_context_fraction"),
            .knee_fraction = real("knee_fraction"),
            .shoulder_slope = real("shoulder_slope"),
        });
        num_replicas += pools.back().replicas;
    }
    return pools;
}

std::vector<RequestClass> read_classes(const Columns& c) {
    std::vector<RequestClass> classes;
    for (std::size_t k = 0; k < c.size("patience_s"); ++k) {
        classes.push_back({
            .ttft_s = c.real("ttft_s", k),
            .tpot_s = c.real("tpot_s", k),
            .deadline_s = c.real("deadline_s", k),
            .patience_s = c.real("patience_s", k),
            .backoff_s = c.real("backoff_s", k),
            .backoff_factor = c.real("backoff_factor", k),
            .backoff_jitter = c.real("backoff_jitter", k),
            .usd_per_input_token = c.real("usd_per_input_token", k),
            .usd_per_output_token = c.real("usd_per_output_token", k),
            .cached_input_fraction_of_price = c.real("cached_input_fraction_of_price", k),
            .late_value_fraction = c.real("late_value_fraction", k),
            .session_budget_usd = c.real("session_budget_usd", k),
            .lowest_price_factor = c.real("lowest_price_factor", k),
            .highest_price_factor = c.real("highest_price_factor", k),
            .output_weight = c.integer("output_weight", k),
            .max_attempts = c.integer("max_attempts", k),
            .priced = c.integer("priced", k),
            .deferrable = c.column<bool>("deferrable").data()[k],
        });
    }
    return classes;
}

std::vector<Site> read_sites(const Columns& c) {
    std::vector<Site> sites;
    for (std::size_t s = 0; s < c.size("pue"); ++s) {
        sites.push_back({
            .solar = c.integer("solar", s),
            .battery = c.integer("battery", s),
            .room = c.integer("room", s),
            .design_outdoor_c = c.real("design_outdoor_c", s),
            .room_supply_c = c.real("room_supply_c", s),
            .room_k_per_w = c.real("room_k_per_w", s),
            .room_response = c.real("room_response", s),
            .room_limit_c = c.real("room_limit_c", s),
            .room_release_c = c.real("room_release_c", s),
            .derate_clock_fraction = c.real("derate_clock_fraction", s),
            .battery_limit_w = c.real("battery_limit_w", s),
            .battery_charge_efficiency = c.real("battery_charge_efficiency", s),
            .battery_discharge_efficiency = c.real("battery_discharge_efficiency", s),
            .battery_capacity_j = c.real("battery_capacity_j", s),
            .battery_lowest_j = c.real("battery_lowest_j", s),
            .battery_highest_j = c.real("battery_highest_j", s),
            .battery_initial_j = c.real("battery_initial_j", s),
        });
    }
    return sites;
}

std::vector<NodeLimits> read_nodes(const Columns& c) {
    std::vector<NodeLimits> nodes;
    for (std::size_t i = 0; i < c.size("restart_s"); ++i) {
        nodes.push_back({
            .meter_window_ticks = c.integer("meter_window_ticks", i),
            .control_lag_ticks = c.integer("control_lag_ticks", i),
            .brake_delay_s = c.real("brake_delay_s", i),
            .brake_clock_fraction = c.real("brake_clock_fraction", i),
            .recovery_ratio = c.real("recovery_ratio", i),
            .release_fraction = c.real("release_fraction", i),
            .release_delay_s = c.real("release_delay_s", i),
            .pickup_ratio = c.real("pickup_ratio", i),
            .trip_exponent = c.real("trip_exponent", i),
            .trip_heat_s = c.real("trip_heat_s", i),
            .cooling_s = c.real("cooling_s", i),
            .restart_s = c.real("restart_s", i),
        });
    }
    return nodes;
}

#define TOKENFLEET_READ(name) columns.name = at(#name);

// A name that the Python table does not have raises KeyError: the two tables cannot drift apart unnoticed.
ViewLayout read_view_layout(nb::handle layout) {
    const auto at = [&](const char* name) { return nb::cast<std::int64_t>(layout.attr("offsets")[name]); };
    ViewLayout columns;
    TOKENFLEET_VIEW_FIELDS(TOKENFLEET_READ)
    columns.exogenous = at("cap_w");
    columns.row_cap_w = at("row_cap_w");
    columns.width = nb::cast<std::int64_t>(layout.attr("width"));
    return columns;
}

OutcomeLayout read_outcome_layout(nb::handle layout) {
    const auto at = [&](const char* name) { return nb::cast<std::int64_t>(layout.attr("offsets")[name]); };
    OutcomeLayout columns;
    TOKENFLEET_OUTCOME_FIELDS(TOKENFLEET_READ)
    columns.width = nb::cast<std::int64_t>(layout.attr("width"));
    return columns;
}

#undef TOKENFLEET_READ

FleetArrays read_arrays(nb::handle arrays) {
    const Columns c(arrays);
    FleetArrays fleet;
    fleet.tick_s = nb::cast<double>(arrays.attr("tick_s"));
    fleet.horizon_ticks = nb::cast<std::int64_t>(arrays.attr("horizon_ticks"));
    fleet.pools = read_pools(c, fleet.num_replicas);
    fleet.classes = read_classes(c);
    fleet.sites = read_sites(c);
    fleet.nodes = read_nodes(c);
    const auto mask = c.column<bool>("route_mask");
    fleet.route_mask.assign(mask.data(), mask.data() + mask.size());
    fleet.network_s = c.reals("network_s");
    fleet.upload_token_s = nb::cast<double>(arrays.attr("upload_token_s"));
    fleet.kv_latency_s = c.reals("kv_latency_s");
    fleet.kv_token_s = c.reals("kv_token_s");
    fleet.view = read_view_layout(arrays.attr("view"));
    fleet.outcome = read_outcome_layout(arrays.attr("outcome"));
    return fleet;
}

// Columns of a request table about clients; the dictionary has those in which some request differs from the default.
class CallTable {
public:
    explicit CallTable(nb::handle table) : table_(nb::cast<nb::dict>(table)) {
        read("wait_s", columns.wait_s);
        read("retry_uniform", columns.retry_uniform);
        read("price_tolerance", columns.price_tolerance);
        read("region_id", columns.region_id);
        read("session_id", columns.session_id);
        read("conversation_id", columns.conversation_id);
        read("group_id", columns.group_id);
        read("group_tokens", columns.group_tokens);
        read("reusable_tokens", columns.reusable_tokens);
        read("predecessors", columns.predecessors);
        read("successor_start", columns.successor_start);
        read("successor", columns.successor);
    }

    CallColumns columns;  // as long as the dictionary lives; a column that had to be converted would not, and raises

    bool empty() const { return table_.size() == 0; }

private:
    nb::dict table_;

    template <typename T>
    void read(const char* name, const T*& column) {
        if (table_.contains(name)) column = nb::cast<Array<const T>>(table_[name], false).data();
    }
};

class Engine {
public:
    // The engine writes into `view` [N, V] and `outcome` [N, O], which the caller keeps alive.
    Engine(nb::handle arrays, Array<float> view, Array<double> outcome, std::int64_t threads)
        : arrays_(read_arrays(arrays)), workers_(threads) {
        const auto n = static_cast<std::int64_t>(view.shape(0));
        for (std::int64_t i = 0; i < n; ++i) {
            fleets_.push_back(std::make_unique<Fleet>(arrays_, view.data() + i * arrays_.view.width,
                                                      outcome.data() + i * arrays_.outcome.width));
        }
    }

    // Read an Episode object, whose shapes native.py has checked; `clients` are columns of its request table.
    void reset(std::int64_t index, nb::handle episode, nb::handle clients) {
        const Columns e(episode), r(e.part("requests")), f(e.part("failures")), x(e.part("contexts"));
        const auto arrival_s = r.column<double>("arrival_s");
        const auto prompt_tokens = r.column<std::int32_t>("prompt_tokens");
        const auto output_tokens = r.column<std::int32_t>("output_tokens");
        const auto class_id = r.column<std::int32_t>("class_id");
        const auto cap_w = e.column<double>("cap_w"), rating_w = e.column<double>("rating_w");
        const auto row_cap_w = e.column<double>("row_cap_w"), row_rating_w = e.column<double>("row_rating_w");
        const auto solar_w = e.column<double>("solar_w"), outdoor_c = e.column<double>("outdoor_c");
        const auto pue = e.column<double>("pue"), fixed_w = e.column<double>("fixed_w");
        const auto host_power_factor = e.column<double>("host_power_factor");
        const auto exogenous = e.column<float>("exogenous");
        const auto decode_memory_fraction = e.column<double>("decode_memory_fraction");
        const auto failure_tick = f.column<std::int64_t>("tick"), failed_replica = f.column<std::int64_t>("replica");
        const auto repaired_s = f.column<double>("repaired_s");
        const auto context_row = x.column<std::int64_t>("row"), holder = x.column<std::int64_t>("replica");
        const CallTable calls(clients);
        fleets_[index]->demand.calls.load(calls.columns, calls.empty() ? 0 : arrival_s.size());
        fleets_[index]->reset({.num_requests = static_cast<std::int64_t>(arrival_s.size()),
                               .num_failures = static_cast<std::int64_t>(repaired_s.size()),
                               .num_contexts = static_cast<std::int64_t>(context_row.size()),
                               .arrival_s = arrival_s.data(),
                               .prompt_tokens = prompt_tokens.data(),
                               .output_tokens = output_tokens.data(),
                               .class_id = class_id.data(),
                               .cap_w = cap_w.data(),
                               .rating_w = rating_w.data(),
                               .row_cap_w = row_cap_w.data(),
                               .row_rating_w = row_rating_w.data(),
                               .solar_w = solar_w.data(),
                               .outdoor_c = outdoor_c.data(),
                               .pue = pue.data(),
                               .fixed_w = fixed_w.data(),
                               .host_power_factor = host_power_factor.data(),
                               .exogenous = exogenous.data(),
                               .decode_memory_fraction = decode_memory_fraction.data(),
                               .failure_tick = failure_tick.data(),
                               .failed_replica = failed_replica.data(),
                               .repaired_s = repaired_s.data(),
                               .context_row = context_row.data(),
                               .context_holder = holder.data()});
    }

    void step(Array<const double> route_share, Array<const double> clock_fraction, Array<const double> awake_fraction,
              Array<const double> admit_rate_rps, Array<const double> battery_power_w,
              Array<const double> prefix_affinity, Array<const double> token_price_factor) {
        for (const auto& fleet : fleets_) {
            if (fleet->tick() >= arrays_.horizon_ticks) throw std::out_of_range("the episode is over: reset first");
        }
        const nb::gil_scoped_release unlocked;
        const auto k = static_cast<std::int64_t>(arrays_.classes.size());
        const auto p = static_cast<std::int64_t>(arrays_.pools.size());
        const auto s = static_cast<std::int64_t>(arrays_.sites.size());
        workers_.run(static_cast<std::int64_t>(fleets_.size()), [&](std::int64_t i) {
            if (i + 1 < static_cast<std::int64_t>(fleets_.size())) fleets_[i + 1]->bring_itself_near();
            fleets_[i]->step({route_share.data() + i * k * p, clock_fraction.data() + i * p,
                              awake_fraction.data() + i * p, admit_rate_rps.data() + i * k,
                              battery_power_w.data() + i * s, prefix_affinity.data() + i * k,
                              token_price_factor.data() + i * k});
        });
    }

    // Copy a fleet's log into five arrays of its number of requests.
    void request_log(std::int64_t index, Array<std::int8_t> status, Array<std::int32_t> replica, Array<double> asked_s,
                     Array<double> first_token_s, Array<double> finished_s) const {
        const Fleet& fleet = *fleets_[index];
        for (std::size_t i = 0; i < fleet.demand.requests.size(); ++i) {
            const Request& request = fleet.demand.requests[i];
            status.data()[i] = static_cast<std::int8_t>(request.status);
            replica.data()[i] = request.replica;
            asked_s.data()[i] = request.asked_s;
            first_token_s.data()[i] = request.first_token_s;
            finished_s.data()[i] = request.finished_s;
        }
    }

    std::int64_t num_requests(std::int64_t index) const {
        return static_cast<std::int64_t>(fleets_[index]->demand.requests.size());
    }

private:
    FleetArrays arrays_;
    std::vector<std::unique_ptr<Fleet>> fleets_;
    Workers workers_;
};

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The native engine; use tokenfleet.envs.engine.make_engine.";
    nb::class_<Engine>(m, "Engine")
        .def(nb::init<nb::handle, Array<float>, Array<double>, std::int64_t>(), nb::arg("arrays"), nb::arg("view"),
             nb::arg("outcome"), nb::arg("threads"))
        .def("reset", &Engine::reset)
        .def("step", &Engine::step)
        .def("request_log", &Engine::request_log)
        .def("num_requests", &Engine::num_requests);
}
