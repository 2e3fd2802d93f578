// Python face of the native engine; envs/engine/native.py is its only user.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "engine.hpp"

namespace nb = nanobind;
using namespace tokenfleet;

namespace {

nb::tuple names(std::initializer_list<const char*> given) {
    nb::list list;
    for (const char* name : given) list.append(name);
    return nb::tuple(list);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The native engine; use tokenfleet.envs.engine.make_engine.";
#define TOKENFLEET_NAME(type, name) #name,
    m.attr("COLUMNS") =
        names({TOKENFLEET_POOL_COLUMNS(TOKENFLEET_NAME) TOKENFLEET_MODEL_COLUMNS(TOKENFLEET_NAME)
                   TOKENFLEET_CLASS_COLUMNS(TOKENFLEET_NAME) TOKENFLEET_SITE_COLUMNS(TOKENFLEET_NAME)
                       TOKENFLEET_NODE_COLUMNS(TOKENFLEET_NAME) TOKENFLEET_LINK_COLUMNS(TOKENFLEET_NAME)});
    m.attr("CALL_COLUMNS") = names({TOKENFLEET_CALL_COLUMNS(TOKENFLEET_NAME)});
#undef TOKENFLEET_NAME
    nb::dict constants;
    constants["NUM_TOKEN_KNOTS"] = kTokenKnots;
    constants["LOWEST_CLOCK_FRACTION"] = kLowestClockFraction;
    constants["HALLEY_STEPS"] = kHalleySteps;
    constants["LEAST_SLOPE"] = kLeastSlope;
    constants["TIE_S"] = kTieS;
    constants["PENDING"] = static_cast<int>(Status::kPending);
    constants["COMPLETED"] = static_cast<int>(Status::kCompleted);
    constants["REFUSED"] = static_cast<int>(Status::kRefused);
    constants["EXPIRED"] = static_cast<int>(Status::kExpired);
    constants["DECLINED"] = static_cast<int>(Status::kDeclined);
    m.attr("CONSTANTS") = constants;
#define TOKENFLEET_NAME(name, length) #name,
    m.attr("EPISODE_SERIES") = names({TOKENFLEET_EPISODE_SERIES(TOKENFLEET_NAME)});
    m.attr("CONTROLS") = names({TOKENFLEET_CONTROLS(TOKENFLEET_NAME)});
#undef TOKENFLEET_NAME
    nb::class_<Snapshot>(m, "Snapshot")
        .def("state_bytes", [](const Snapshot& s) { return s.fleet().state_bytes(); })
        .def("live_bytes", [](const Snapshot& s) { return s.fleet().live_bytes(); });
    nb::class_<Engine>(m, "Engine")
        .def(nb::init<nb::handle, Array<float>, Array<double>, std::int64_t, std::vector<Array<const double>>,
                      std::vector<bool>, Array<const double>, Array<const double>>(),
             nb::arg("arrays"), nb::arg("view"), nb::arg("outcome"), nb::arg("threads"), nb::arg("neutral"),
             nb::arg("optional"), nb::arg("control_bounds"), nb::arg("series_bounds"))
        .def("reset", &Engine::reset)
        .def("step", &Engine::step, nb::arg("controls"), nb::arg("moving").none())
        .def("fork", &Engine::fork)
        .def("snapshot", &Engine::snapshot)
        .def("restore", &Engine::restore)
        .def("change_future", &Engine::change_future)
        .def("thinking", &Engine::thinking)
        .def("request_log", &Engine::request_log)
        .def("num_requests", &Engine::num_requests);
}
