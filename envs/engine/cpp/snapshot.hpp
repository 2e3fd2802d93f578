// A fleet that stands still: what others can be brought back to.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "fleet.hpp"

namespace tokenfleet {

class Snapshot {
public:
    // A snapshot keeps the arrays of the fleet, and so outlives the fleet's engine.
    Snapshot(std::shared_ptr<const FleetArrays> arrays, const Fleet& fleet)
        : arrays_(std::move(arrays)),
          view_(static_cast<std::size_t>(arrays_->view.width)),
          outcome_(static_cast<std::size_t>(arrays_->outcome.width)),
          fleet_(*arrays_, fleet, view_.data(), outcome_.data()) {}

    const Fleet& fleet() const { return fleet_; }

private:
    std::shared_ptr<const FleetArrays> arrays_;
    std::vector<float> view_;
    std::vector<double> outcome_;
    Fleet fleet_;
};

}  // namespace tokenfleet
