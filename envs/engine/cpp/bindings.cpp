// Python face of the native engine; envs/engine/native.py is its only user and has checked every shape.
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

// Entry i of a column, as the field's type says.
void read(const Columns& c, const char* name, std::size_t i, double& value) { value = c.real(name, i); }
void read(const Columns& c, const char* name, std::size_t i, std::int64_t& value) { value = c.integer(name, i); }
void read(const Columns& c, const char* name, std::size_t i, bool& value) { value = c.column<bool>(name).data()[i]; }
void read(const Columns& c, const char* name, std::size_t i, Knots& value) { value = c.knots(name, i); }

// A whole column.
template <typename T, typename Source>
void read_all(const Columns& c, const char* name, std::vector<T>& values) {
    const auto column = c.column<Source>(name);
    values.assign(column.data(), column.data() + column.size());
}
void read(const Columns& c, const char* name, std::vector<double>& values) {
    read_all<double, double>(c, name, values);
}
void read(const Columns& c, const char* name, std::vector<std::uint8_t>& values) {
    read_all<std::uint8_t, bool>(c, name, values);
}

#define TOKENFLEET_READ(type, name) read(c, #name, i, row.name);

void read_row(const Columns& c, std::size_t i, Pool& row) { TOKENFLEET_POOL_COLUMNS(TOKENFLEET_READ) }
void read_row(const Columns& c, std::size_t i, RequestClass& row) { TOKENFLEET_CLASS_COLUMNS(TOKENFLEET_READ) }
void read_row(const Columns& c, std::size_t i, Site& row) { TOKENFLEET_SITE_COLUMNS(TOKENFLEET_READ) }
void read_row(const Columns& c, std::size_t i, NodeLimits& row) { TOKENFLEET_NODE_COLUMNS(TOKENFLEET_READ) }

#undef TOKENFLEET_READ

// One struct for every entry of the columns, of which `sized` is one of doubles.
template <typename Row>
std::vector<Row> read_rows(const Columns& c, const char* sized) {
    std::vector<Row> rows(c.size(sized));
    for (std::size_t i = 0; i < rows.size(); ++i) read_row(c, i, rows[i]);
    return rows;
}

// A name that the Python table does not have raises KeyError: the two tables cannot drift apart unnoticed.
std::int64_t read_offset(nb::handle layout, const char* name) {
    return nb::cast<std::int64_t>(layout.attr("offsets")[name]);
}

#define TOKENFLEET_READ(name) read_offset(layout, #name),

View::Layout read_view_layout(nb::handle layout) {
    return {.offsets = {TOKENFLEET_VIEW_FIELDS(TOKENFLEET_READ)},
            .exogenous = read_offset(layout, "cap_w"),
            .row_cap_w = read_offset(layout, "row_cap_w"),
            .width = nb::cast<std::int64_t>(layout.attr("width"))};
}

Outcome::Layout read_outcome_layout(nb::handle layout) {
    return {.offsets = {TOKENFLEET_OUTCOME_FIELDS(TOKENFLEET_READ)},
            .width = nb::cast<std::int64_t>(layout.attr("width"))};
}

#undef TOKENFLEET_READ

FleetArrays read_arrays(nb::handle arrays) {
    const Columns c(arrays);
    FleetArrays fleet;
    fleet.tick_s = nb::cast<double>(arrays.attr("tick_s"));
    fleet.horizon_ticks = nb::cast<std::int64_t>(arrays.attr("horizon_ticks"));
    fleet.pools = read_rows<Pool>(c, "wake_s");
    for (Pool& pool : fleet.pools) {
        pool.first_replica = fleet.num_replicas;
        fleet.num_replicas += pool.replicas;
    }
    fleet.classes = read_rows<RequestClass>(c, "patience_s");
    fleet.sites = read_rows<Site>(c, "pue");
    fleet.nodes = read_rows<NodeLimits>(c, "restart_s");
#define TOKENFLEET_READ(type, name) read(c, #name, fleet.name);
    TOKENFLEET_LINK_COLUMNS(TOKENFLEET_READ)
#undef TOKENFLEET_READ
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
          fleets_(view.shape(0)),
          workers_(threads) {
        const double* bounds = control_bounds.data();
        for (std::size_t c = 0; c < bounds_.size(); ++c) bounds_[c] = {bounds[2 * c], bounds[2 * c + 1]};
    }

    // Read an Episode object, whose shapes native.py has checked; `clients` are columns of its request table.
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
        fleets_[index].reset();  // its memory may be what the new one takes
        fleets_[index] = std::make_unique<Fleet>(arrays_, columns, view_ + index * arrays_.view.width,
                                                 outcome_ + index * arrays_.outcome.width);
    }

    // Advance every fleet by a tick; false, and nothing has happened, if a control lies outside of its bounds.
    bool step(const std::vector<Array<const double>>& controls) {
        const Turn turn(in_use_);
        for (std::size_t c = 0; c < bounds_.size(); ++c) {
            if (!bounds_[c].hold(controls[c])) return false;
        }
        for (std::int64_t i = 0; i < num_fleets(); ++i) {
            if (fleet(i).tick() >= arrays_.horizon_ticks) throw std::out_of_range("the episode is over: reset first");
        }
        const nb::gil_scoped_release unlocked;
        try {
            workers_.run(num_fleets(), [&](std::int64_t first, std::int64_t end) {
                for (std::int64_t i = first; i < end; ++i) step_one(i, controls);
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
#undef TOKENFLEET_NAME
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
