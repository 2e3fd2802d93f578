// Python face of the native engine; envs/engine/native.py is its only user and has checked every shape.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

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

// Columns of a FleetArrays object, by attribute name.
class Columns {
public:
    explicit Columns(nb::handle arrays) : arrays_(arrays) {}

    template <typename T>
    Array<const T> column(const char* name) const {
        return nb::cast<Array<const T>>(arrays_.attr(name));
    }
    double real(const char* name, std::size_t i) const { return column<double>(name).data()[i]; }
    std::int64_t integer(const char* name, std::size_t i) const { return column<std::int64_t>(name).data()[i]; }
    std::size_t size(const char* name) const { return column<double>(name).size(); }

private:
    nb::handle arrays_;
};

std::vector<Pool> read_pools(const Columns& c, std::int64_t& num_replicas) {
    std::vector<Pool> pools;
    for (std::size_t p = 0; p < c.size("wake_s"); ++p) {
        const auto real = [&](const char* name) { return c.real(name, p); };
        const auto integer = [&](const char* name) { return c.integer(name, p); };
        pools.push_back({
            .site = integer("site"),
            .row = integer("row"),
            .replicas = integer("replicas"),
            .first_replica = num_replicas,
            .max_batch = integer("max_batch"),
            .token_budget = integer("token_budget"),
            .kv_tokens = integer("kv_tokens"),
            .clock_latency_ticks = integer("clock_latency_ticks"),
            .wake_s = real("wake_s"),
            .t0_s = real("t0_s"),
            .decode_s = real("decode_s"),
            .context_s = real("context_s"),
            .prefill_s = real("prefill_s"),
            .prefill_attention_s = real("prefill_attention_s"),
            .prefill_memory_fraction = real("prefill_memory_fraction"),
            .static_w = real("static_w"),
            .floor_w = real("floor_w"),
            .weight_j = real("weight_j"),
            .context_j = real("context_j"),
            .token_j = real("token_j"),
            .attention_j = real("attention_j"),
            .limit_w = real("limit_w"),
            .idle_w = real("idle_w"),
            .asleep_w = real("asleep_w"),
            .host_w = real("host_w"),
            .host_asleep_w = real("host_asleep_w"),
            .voltage_floor_fraction = real("voltage_floor_fraction"),
            .clock_floor_fraction = real("clock_floor_fraction"),
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
            .output_weight = c.integer("output_weight", k),
            .deferrable = c.column<bool>("deferrable").data()[k],
        });
    }
    return classes;
}

std::vector<Site> read_sites(const Columns& c) {
    std::vector<Site> sites;
    for (std::size_t s = 0; s < c.size("pue"); ++s) {
        sites.push_back({
            .pue = c.real("pue", s),
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

// A name that the Python table does not have raises KeyError: the two tables cannot drift apart unnoticed.
ViewLayout read_view_layout(nb::handle layout) {
    const auto at = [&](const char* name) { return nb::cast<std::int64_t>(layout.attr("offsets")[name]); };
    return {
        .waiting_requests = at("waiting_requests"),
        .running_requests = at("running_requests"),
        .unprefilled_tokens = at("unprefilled_tokens"),
        .kv_reserved_fraction = at("kv_reserved_fraction"),
        .awake_replicas = at("awake_replicas"),
        .waking_replicas = at("waking_replicas"),
        .clock_fraction = at("clock_fraction"),
        .pool_power_w = at("pool_power_w"),
        .generated_tokens = at("generated_tokens"),
        .arrived = at("arrived"),
        .held_requests = at("held_requests"),
        .completed_in_slo = at("completed_in_slo"),
        .completed_late = at("completed_late"),
        .refused = at("refused"),
        .expired = at("expired"),
        .ttft_mean_s = at("ttft_mean_s"),
        .site_power_w = at("site_power_w"),
        .power_over_cap = at("power_over_cap"),
        .braked = at("braked"),
        .over_cap_s = at("over_cap_s"),
        .dark_remaining_s = at("dark_remaining_s"),
        .row_power_over_cap = at("row_power_over_cap"),
        .row_braked = at("row_braked"),
        .row_over_cap_s = at("row_over_cap_s"),
        .row_dark_remaining_s = at("row_dark_remaining_s"),
        .exogenous = at("cap_w"),
        .width = nb::cast<std::int64_t>(layout.attr("width")),
    };
}

OutcomeLayout read_outcome_layout(nb::handle layout) {
    const auto at = [&](const char* name) { return nb::cast<std::int64_t>(layout.attr("offsets")[name]); };
    return {
        .energy_j = at("energy_j"),
        .power_w = at("power_w"),
        .above_cap_s = at("above_cap_s"),
        .over_cap_w = at("over_cap_w"),
        .brakes = at("brakes"),
        .trips = at("trips"),
        .row_power_w = at("row_power_w"),
        .row_above_cap_s = at("row_above_cap_s"),
        .row_over_cap_w = at("row_over_cap_w"),
        .row_brakes = at("row_brakes"),
        .row_trips = at("row_trips"),
        .it_energy_j = at("it_energy_j"),
        .generated_tokens = at("generated_tokens"),
        .prefilled_tokens = at("prefilled_tokens"),
        .arrived = at("arrived"),
        .completed_in_slo = at("completed_in_slo"),
        .completed_late = at("completed_late"),
        .refused = at("refused"),
        .expired = at("expired"),
        .prompt_tokens_in_slo = at("prompt_tokens_in_slo"),
        .output_tokens_in_slo = at("output_tokens_in_slo"),
        .prompt_tokens_late = at("prompt_tokens_late"),
        .output_tokens_late = at("output_tokens_late"),
        .prompt_tokens_lost = at("prompt_tokens_lost"),
        .output_tokens_lost = at("output_tokens_lost"),
        .first_tokens = at("first_tokens"),
        .ttft_sum_s = at("ttft_sum_s"),
        .width = nb::cast<std::int64_t>(layout.attr("width")),
    };
}

FleetArrays read_arrays(nb::handle arrays) {
    const Columns c(arrays);
    FleetArrays fleet;
    fleet.tick_s = nb::cast<double>(arrays.attr("tick_s"));
    fleet.horizon_ticks = nb::cast<std::int64_t>(arrays.attr("horizon_ticks"));
    fleet.pools = read_pools(c, fleet.num_replicas);
    fleet.classes = read_classes(c);
    fleet.sites = read_sites(c);
    fleet.nodes = read_nodes(c);
    const auto row_cap_w = c.column<double>("row_cap_w");
    fleet.row_cap_w.assign(row_cap_w.data(), row_cap_w.data() + row_cap_w.size());
    const auto mask = c.column<bool>("route_mask");
    fleet.route_mask.assign(mask.data(), mask.data() + mask.size());
    fleet.view = read_view_layout(arrays.attr("view"));
    fleet.outcome = read_outcome_layout(arrays.attr("outcome"));
    return fleet;
}

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

    void reset(std::int64_t index, Array<const double> arrival_s, Array<const std::int32_t> prompt_tokens,
               Array<const std::int32_t> output_tokens, Array<const std::int32_t> class_id, Array<const double> cap_w,
               Array<const double> rating_w, Array<const float> exogenous, Array<const double> decode_memory_fraction) {
        fleets_[index]->reset({static_cast<std::int64_t>(arrival_s.size()), arrival_s.data(), prompt_tokens.data(),
                               output_tokens.data(), class_id.data(), cap_w.data(), rating_w.data(),
                               exogenous.data(), decode_memory_fraction.data()});
    }

    void step(Array<const double> route_share, Array<const double> clock_fraction, Array<const double> awake_fraction,
              Array<const double> admit_rate_rps) {
        for (const auto& fleet : fleets_) {
            if (fleet->tick() >= arrays_.horizon_ticks) throw std::out_of_range("the episode is over: reset first");
        }
        const nb::gil_scoped_release unlocked;
        const auto k = static_cast<std::int64_t>(arrays_.classes.size());
        const auto p = static_cast<std::int64_t>(arrays_.pools.size());
        workers_.run(static_cast<std::int64_t>(fleets_.size()), [&](std::int64_t i) {
            fleets_[i]->step({route_share.data() + i * k * p, clock_fraction.data() + i * p,
                              awake_fraction.data() + i * p, admit_rate_rps.data() + i * k});
        });
    }

    // Copy a fleet's log into four arrays of its number of requests.
    void request_log(std::int64_t index, Array<std::int8_t> status, Array<std::int32_t> replica,
                     Array<double> first_token_s, Array<double> finished_s) const {
        const Fleet& fleet = *fleets_[index];
        for (std::size_t i = 0; i < fleet.requests.size(); ++i) {
            status.data()[i] = static_cast<std::int8_t>(fleet.status[i]);
            replica.data()[i] = fleet.replica_of[i];
            first_token_s.data()[i] = fleet.requests[i].first_token_s;
            finished_s.data()[i] = fleet.finished_s[i];
        }
    }

    std::int64_t num_requests(std::int64_t index) const {
        return static_cast<std::int64_t>(fleets_[index]->requests.size());
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
