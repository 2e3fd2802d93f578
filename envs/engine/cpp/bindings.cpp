// Python face of the native engine; envs/engine/native.py is its only user, and door.py has checked every shape.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fleet.hpp"
#include "python_arrays.hpp"
#include "workers.hpp"

namespace nb = nanobind;
using namespace tokenfleet;

namespace {

// Places of the controls in the list that `Engine::step` takes.
enum ControlIndex : std::size_t {
#define TOKENFLEET_INDEX(name, length) k_##name,
    TOKENFLEET_CONTROLS(TOKENFLEET_INDEX)
#undef TOKENFLEET_INDEX
        kNumControls
};

// What a control may be, both ends included.
struct Bounds {
    double low, high;

    // NaN lies outside of all bounds. Without a branch, so that the compiler takes many values at once.
    bool hold(const Array<const double>& values) const {
        bool inside = true;
        for (std::size_t i = 0; i < values.size(); ++i) {
            inside &= (values.data()[i] >= low) & (values.data()[i] <= high);
        }
        return inside;
    }
};

// Whether a batch is between two ticks; only ever asked by who holds the GIL.
class Turn {
public:
    explicit Turn(bool& taken) : taken_(taken) {
        if (taken_) {
            throw std::runtime_error(
                "the engine is in use by another thread, or was when this process was forked off it");
        }
        taken_ = true;
    }
    ~Turn() { taken_ = false; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    bool& taken_;
};

class Engine {
public:
    // The engine writes into `view` [N, V] and `outcome` [N, O], which the caller keeps alive. `control_bounds` are low
    // and high of each control, in their order.
    Engine(nb::handle arrays, Array<float> view, Array<double> outcome, std::int64_t threads,
           Array<const double> control_bounds)
        : arrays_(read_arrays(arrays)),
          view_(view.data()),
          outcome_(outcome.data()),
          demands_(view.shape(0)),
          fleets_(view.shape(0)),
          workers_(threads) {
        const double* bounds = control_bounds.data();
        for (std::size_t c = 0; c < bounds_.size(); ++c) bounds_[c] = {bounds[2 * c], bounds[2 * c + 1]};
    }

    // Read an Episode object, whose shapes door.py has checked; `clients` are columns of its request table.
    void reset(std::int64_t index, nb::handle episode, nb::handle clients) {
        const Turn turn(in_use_);
        const Columns e(episode), r(e.part("requests")), f(e.part("failures")), x(e.part("contexts"));
        const auto arrival_s = r.column<double>("arrival_s");
        const auto prompt_tokens = r.column<std::int32_t>("prompt_tokens");
        const auto output_tokens = r.column<std::int32_t>("output_tokens");
        const auto class_id = r.column<std::int32_t>("class_id");
#define TOKENFLEET_HOLD(name, length) const auto name = e.column<double>(#name);
        TOKENFLEET_EPISODE_SERIES(TOKENFLEET_HOLD)
#undef TOKENFLEET_HOLD
        const auto exogenous = e.column<float>("exogenous");
        const auto failure_tick = f.column<std::int64_t>("tick"), failed_replica = f.column<std::int64_t>("replica");
        const auto repaired_s = f.column<double>("repaired_s");
        const auto context_row = x.column<std::int64_t>("row"), holder = x.column<std::int64_t>("replica");
        const CallTable calls(clients);
        const EpisodeColumns columns{.num_requests = static_cast<std::int64_t>(arrival_s.size()),
                                     .num_failures = static_cast<std::int64_t>(repaired_s.size()),
                                     .num_contexts = static_cast<std::int64_t>(context_row.size()),
                                     .arrival_s = arrival_s.data(),
                                     .prompt_tokens = prompt_tokens.data(),
                                     .output_tokens = output_tokens.data(),
                                     .class_id = class_id.data(),
                                     .calls = calls.columns,
                                     .has_calls = !calls.empty(),
#define TOKENFLEET_SERIES(name, length) .name = name.data(),
                                     TOKENFLEET_EPISODE_SERIES(TOKENFLEET_SERIES)
#undef TOKENFLEET_SERIES
                                         .exogenous = exogenous.data(),
                                     .failure_tick = failure_tick.data(),
                                     .failed_replica = failed_replica.data(),
                                     .repaired_s = repaired_s.data(),
                                     .context_row = context_row.data(),
                                     .context_holder = holder.data()};
        fleets_[index].reset();  // it refers to its demand
        demands_[index].load(arrays_, columns);
        fleets_[index] = std::make_unique<Fleet>(arrays_, columns, demands_[index], view_ + index * arrays_.view.width,
                                                 outcome_ + index * arrays_.outcome.width);
    }

    // Advance the fleets that move, `[N]`, by a tick; nothing happens to the others. False, and nothing has happened to
    // any, if a control lies outside of its bounds.
    bool step(const std::vector<Array<const double>>& controls, const Array<const bool>& moving) {
        const Turn turn(in_use_);
        for (std::size_t c = 0; c < bounds_.size(); ++c) {
            if (!bounds_[c].hold(controls[c])) return false;
        }
        const bool* moves = moving.data();
        for (std::int64_t i = 0; i < num_fleets(); ++i) {
            if (fleet(i).tick() >= arrays_.horizon_ticks && moves[i]) throw std::out_of_range("the episode is over: reset first");
        }
        const nb::gil_scoped_release unlocked;
        try {
            workers_.run(num_fleets(), [&](std::int64_t first, std::int64_t end) {
                for (std::int64_t i = first; i < end; ++i) {
                    if (moves[i]) {
                        step_one(i, controls);
                    } else {
                        std::fill_n(outcome_ + i * arrays_.outcome.width, arrays_.outcome.width, 0.0);
                    }
                }
            });
        } catch (...) {
            for (auto& fleet : fleets_) fleet.reset();  // some have stepped and some have not
            throw;
        }
        return true;
    }

    // Copy a fleet's log into five arrays of its number of requests.
    void request_log(std::int64_t index, Array<std::int8_t> status, Array<std::int32_t> replica, Array<double> asked_s,
                     Array<double> first_token_s, Array<double> finished_s) {
        const Turn turn(in_use_);
        const std::vector<Request>& requests = fleet(index).requests();
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const Request& request = requests[i];
            status.data()[i] = static_cast<std::int8_t>(request.status);
            replica.data()[i] = request.replica;
            asked_s.data()[i] = request.asked_s;
            first_token_s.data()[i] = request.first_token_s;
            finished_s.data()[i] = request.finished_s;
        }
    }

    std::int64_t num_requests(std::int64_t index) {
        const Turn turn(in_use_);
        return static_cast<std::int64_t>(fleet(index).requests().size());
    }

private:
    FleetArrays arrays_;
    float* view_;
    double* outcome_;
    std::vector<Demand> demands_;                 // [N]
    std::vector<std::unique_ptr<Fleet>> fleets_;  // [N]; nothing before the first reset, and after a step that failed
    std::array<Bounds, kNumControls> bounds_;
    Workers workers_;
    bool in_use_ = false;

    std::int64_t num_fleets() const { return static_cast<std::int64_t>(fleets_.size()); }

    const Fleet& fleet(std::int64_t index) const {
        if (fleets_[index] == nullptr) {
            throw std::runtime_error("fleet " + std::to_string(index) + " was never reset, or not since a step failed");
        }
        return *fleets_[index];
    }

    void step_one(std::int64_t i, const std::vector<Array<const double>>& controls) {
        const std::int64_t classes = arrays_.num_classes(), pools = arrays_.num_pools(), sites = arrays_.num_sites();
#define TOKENFLEET_ROW(name, length) .name = controls[k_##name].data() + i * (length),
        fleets_[i]->step({TOKENFLEET_CONTROLS(TOKENFLEET_ROW)});
#undef TOKENFLEET_ROW
    }
};

nb::tuple names(std::initializer_list<const char*> given) {
    nb::list list;
    for (const char* name : given) list.append(name);
    return nb::tuple(list);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The native engine; use tokenfleet.envs.engine.make_engine.";
#define TOKENFLEET_NAME(type, name) #name,
    m.attr("COLUMNS") = names({TOKENFLEET_POOL_COLUMNS(TOKENFLEET_NAME) TOKENFLEET_CLASS_COLUMNS(TOKENFLEET_NAME)
                                   TOKENFLEET_SITE_COLUMNS(TOKENFLEET_NAME) TOKENFLEET_NODE_COLUMNS(TOKENFLEET_NAME)
                                       TOKENFLEET_LINK_COLUMNS(TOKENFLEET_NAME)});
    m.attr("CALL_COLUMNS") = names({TOKENFLEET_CALL_COLUMNS(TOKENFLEET_NAME)});
#undef TOKENFLEET_NAME
    m.attr("NUM_TOKEN_KNOTS") = kTokenKnots;
#define TOKENFLEET_NAME(name, length) #name,
    m.attr("EPISODE_SERIES") = names({TOKENFLEET_EPISODE_SERIES(TOKENFLEET_NAME)});
    m.attr("CONTROLS") = names({TOKENFLEET_CONTROLS(TOKENFLEET_NAME)});
#undef TOKENFLEET_NAME
    nb::class_<Engine>(m, "Engine")
        .def(nb::init<nb::handle, Array<float>, Array<double>, std::int64_t, Array<const double>>(), nb::arg("arrays"),
             nb::arg("view"), nb::arg("outcome"), nb::arg("threads"), nb::arg("control_bounds"))
        .def("reset", &Engine::reset)
        .def("step", &Engine::step)
        .def("request_log", &Engine::request_log)
        .def("num_requests", &Engine::num_requests);
}
