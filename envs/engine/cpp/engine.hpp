// A batch of fleets that step together: what Python calls, on arrays whose shapes checks.py has checked.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bounds.hpp"
#include "fleet.hpp"
#include "fleet_events.hpp"
#include "fleet_power.hpp"
#include "python_arrays.hpp"
#include "snapshot.hpp"
#include "workers.hpp"

namespace tokenfleet {

inline bool same_shape(const Array<const double>& a, const Array<const double>& b) {
    return a.ndim() == b.ndim() && std::equal(a.shape_ptr(), a.shape_ptr() + a.ndim(), b.shape_ptr());
}

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
    // The engine writes into `view` [N, V] and `outcome` [N, O], which the caller keeps alive. `neutral` has an array for
    // each control: its shape is what a given one must have, and where `optional` says so its values stand for a control
    // that is left out. Bounds are low and high of each control and of each series, in their order, the exogenous ones
    // last.
    Engine(nb::handle arrays, Array<float> view, Array<double> outcome, std::int64_t threads,
           std::vector<Array<const double>> neutral, std::vector<bool> optional, Array<const double> control_bounds,
           Array<const double> series_bounds)
        : shared_arrays_(std::make_shared<const FleetArrays>(read_arrays(arrays))),
          arrays_(*shared_arrays_),
          view_(view.data()),
          outcome_(outcome.data()),
          fleets_(view.shape(0)),
          neutral_(std::move(neutral)),
          optional_(std::move(optional)),
          control_bounds_(read_bounds<kNumControls>(control_bounds)),
          series_bounds_(read_bounds<kNumSeries>(series_bounds)),
          workers_(threads) {}

    // Read an Episode object, whose shapes checks.py has checked; `clients` are columns of its request table. False, and
    // nothing has happened, if a series lies outside of its bounds.
    bool reset(std::int64_t index, nb::handle episode, nb::handle clients) {
        const Turn turn(in_use_);
        const EpisodeSource source(episode, clients);
        if (!hold_all(series_bounds_, arrays_, source.columns)) return false;
        Demand demand;  // in the memory of the episode before
        if (fleets_[index] != nullptr) demand = fleets_[index]->release_demand();
        fleets_[index].reset();
        demand.load(arrays_, source.columns);
        fleets_[index] =
            std::make_unique<Fleet>(arrays_, source.columns, std::move(demand), view_row(index), outcome_row(index));
        return true;
    }

    // Let each fleet of `targets` go on as the fleet of `sources` beside it. False, and nothing has happened, unless there are
    // as many sources as targets, all of them fleets, no fleet is in both, and none twice in `targets`.
    bool fork(nb::handle sources, nb::handle targets) {
        const Turn turn(in_use_);
        std::vector<std::int64_t> source, target;
        if (!nb::try_cast(sources, source) || !nb::try_cast(targets, target) || !are_apart(source, target))
            return false;
        const auto count = static_cast<std::int64_t>(target.size());
        for (const std::int64_t index : source) static_cast<void>(fleet(index));
        const nb::gil_scoped_release unlocked;
        try {
            workers_.run(count, [&](std::int64_t first, std::int64_t end) {
                for (std::int64_t i = first; i < end; ++i) put(target[i], fleet(source[i]));
            });
        } catch (...) {
            for (const std::int64_t index : target) fleets_[index].reset();  // some are whole and some are not
            throw;
        }
        return true;
    }

    std::unique_ptr<Snapshot> snapshot(std::int64_t index) {
        const Turn turn(in_use_);
        return std::make_unique<Snapshot>(shared_arrays_, fleet(index));
    }

    // Let a fleet go on from a snapshot, which may be another engine's with the same arrays.
    void restore(std::int64_t index, const Snapshot& snapshot) {
        const Turn turn(in_use_);
        try {
            put(index, snapshot.fleet());
        } catch (...) {
            fleets_[index].reset();
            throw;
        }
    }

    // Advance the fleets that move, `[N]`, or all, by a tick; nothing happens to the others. False, and nothing has happened
    // to any, if a control is no array of its shape within its bounds.
    bool step(const nb::tuple& controls, const std::optional<Array<const bool>>& moving) {
        const Turn turn(in_use_);
        std::array<Array<const double>, kNumControls> given;
        for (std::size_t c = 0; c < given.size(); ++c) {
            if (controls[c].is_none() && optional_[c]) {
                given[c] = neutral_[c];
            } else if (!nb::try_cast(controls[c], given[c]) || !same_shape(given[c], neutral_[c]) ||
                       !control_bounds_[c].hold(given[c].data(), static_cast<std::int64_t>(given[c].size()))) {
                return false;
            }
        }
        const auto moves = [mask = moving ? moving->data() : nullptr](std::int64_t i) { return !mask || mask[i]; };
        for (std::int64_t i = 0; i < num_fleets(); ++i) {
            const bool is_over = fleet(i).tick() >= arrays_.horizon_ticks;
            if (is_over && moves(i)) throw std::out_of_range("the episode is over: reset first");
        }
        const nb::gil_scoped_release unlocked;
        try {
            workers_.run(num_fleets(), [&](std::int64_t first, std::int64_t end) {
                for (std::int64_t i = first; i < end; ++i) {
                    if (moves(i)) {
                        step_one(i, given);
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

    // Let a fleet go on in another episode that agrees with its own up to now; `row` is where its requests stand there.
    void change_future(std::int64_t index, nb::handle episode, nb::handle clients, Array<const std::int32_t> row) {
        const Turn turn(in_use_);
        const EpisodeSource source(episode, clients);
        static_cast<void>(fleet(index));
        try {
            fleets_[index]->change_future(source.columns, row.data());
        } catch (...) {
            fleets_[index].reset();
            throw;
        }
    }

    // Calls that a fleet's clients are thinking about.
    std::vector<std::int32_t> thinking(std::int64_t index) {
        const Turn turn(in_use_);
        return fleet(index).thinking();
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
    std::shared_ptr<const FleetArrays> shared_arrays_;  // with snapshots
    const FleetArrays& arrays_;
    float* view_;
    double* outcome_;
    std::vector<std::unique_ptr<Fleet>> fleets_;  // [N]; nothing before the first reset, and after what failed halfway
    std::vector<Array<const double>> neutral_;    // of each control
    std::vector<bool> optional_;                  // whether it may be left out
    std::array<Bounds, kNumControls> control_bounds_;
    std::array<Bounds, kNumSeries> series_bounds_;
    Workers workers_;
    bool in_use_ = false;

    float* view_row(std::int64_t index) const { return view_ + index * arrays_.view.width; }
    double* outcome_row(std::int64_t index) const { return outcome_ + index * arrays_.outcome.width; }

    bool are_apart(const std::vector<std::int64_t>& sources, const std::vector<std::int64_t>& targets) const {
        std::vector<bool> is_target(fleets_.size());
        const auto exists = [&](std::int64_t index) { return 0 <= index && index < num_fleets(); };
        for (const std::int64_t index : targets) {
            if (!exists(index) || is_target[index]) return false;
            is_target[index] = true;
        }
        return sources.size() == targets.size() &&
               std::ranges::all_of(sources, [&](std::int64_t index) { return exists(index) && !is_target[index]; });
    }

    // Let a fleet take over the state of another, in the memory that it has.
    void put(std::int64_t index, const Fleet& other) {
        if (fleets_[index] == nullptr) {
            fleets_[index] = std::make_unique<Fleet>(arrays_, other, view_row(index), outcome_row(index));
        } else {
            fleets_[index]->become(other);
        }
    }

    std::int64_t num_fleets() const { return static_cast<std::int64_t>(fleets_.size()); }

    const Fleet& fleet(std::int64_t index) const {
        if (fleets_[index] == nullptr) {
            throw std::runtime_error("fleet " + std::to_string(index) + " was never reset, or not since a step failed");
        }
        return *fleets_[index];
    }

    void step_one(std::int64_t i, const std::array<Array<const double>, kNumControls>& controls) {
        const std::int64_t classes = arrays_.num_classes(), pools = arrays_.num_pools(), sites = arrays_.num_sites();
#define TOKENFLEET_ROW(name, length) .name = controls[k_##name].data() + i * (length),
        fleets_[i]->step({TOKENFLEET_CONTROLS(TOKENFLEET_ROW)});
#undef TOKENFLEET_ROW
    }
};

}  // namespace tokenfleet
